/* byte_level.c: bytes as visible characters, the alphabet of byte-level BPE: normalizer, pre-tokenizer, decoder.
 * Source: formats.md §3 "Byte-level map": 21-7E, A1-AC, AE-FF stand for themselves, the other 68 bytes follow from
 * U+0100. */
#include <stdlib.h>

#include "base/mem.h"
#include "text/component_rows.h"
#include "text/cut.h"
#include "text/utf8.h"

/* GPT-2's expression, as formats.md §3 describes its alternatives. */
#define GPT2_REGEX "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* The 68: 00-20 -> 100-120, 7F-A0 -> 121-142, AD -> 143. */
static uint32_t char_of_byte(unsigned char b)
{
    return b <= 0x20 ? 0x100u + b : b >= 0x7F && b <= 0xA0 ? 0x121u + b - 0x7F : b == 0xAD ? 0x143u : b;
}

/* -1: the character stands for no byte. */
static int byte_of_char(uint32_t c)
{
    if (c >= 0x100)
        return c <= 0x120 ? (int)(c - 0x100) : c <= 0x142 ? (int)(c - 0x121 + 0x7F) : c == 0x143 ? 0xAD : -1;
    return char_of_byte((unsigned char)c) == c ? (int)c : -1;
}

static void add_mapped(const char *text, size_t length, qd_str *out)
{
    char chunk[256];
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        used += qd_utf8_put(char_of_byte((unsigned char)text[i]), chunk + used);
        if (used > sizeof chunk - 4 || i + 1 == length) {
            qd_str_add_bytes(out, chunk, used);
            used = 0;
        }
    }
}

static qd_code map_apply(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    (void)state;
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < in->count; i++) {
        size_t start = out->text.length;
        add_mapped(qd_piece_text(in, i), in->items[i].length, &out->text);
        code = qd_pieces_close(out, start, in->items[i].place, err);
    }
    return code;
}

typedef struct byte_level {
    bool add_prefix_space;
    qd_pattern *pattern; /* NULL: the text is not cut */
} byte_level;

static void destroy(void *state)
{
    byte_level *b = state;
    if (b == NULL)
        return;
    qd_pattern_destroy(b->pattern);
    free(b);
}

static qd_code parse(const json_t *object, void **out_state, qd_error *err)
{
    bool use_regex;
    byte_level *b = NULL;
    qd_code code = qd_json_bool(object, "use_regex", true, &use_regex, err);
    if (code == QD_OK)
        code = qd_alloc(1, sizeof *b, (void **)&b, err);
    if (code == QD_OK)
        code = qd_json_bool(object, "add_prefix_space", true, &b->add_prefix_space, err);
    if (code == QD_OK && use_regex)
        code = qd_pattern_compile(GPT2_REGEX, &b->pattern, err);
    if (code == QD_OK)
        *out_state = b;
    else
        destroy(b);
    return code;
}

static qd_code add_spaces(const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < in->count; i++) {
        const char *text = qd_piece_text(in, i);
        size_t start = out->text.length;
        if (in->items[i].length > 0 && text[0] != ' ')
            qd_str_add(&out->text, " ");
        qd_str_add_bytes(&out->text, text, in->items[i].length);
        code = qd_pieces_close(out, start, in->items[i].place, err);
    }
    return code;
}

static qd_code apply(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    const byte_level *b = state;
    QD_AUTO(qd_pieces_fini) qd_pieces spaced = { 0 }, cut = { 0 };
    QD_AUTO(qd_matcher_fini) qd_matcher matcher = { 0 };
    qd_code code = QD_OK;
    if (b->add_prefix_space) {
        code = add_spaces(in, &spaced, err);
        in = &spaced;
    }
    if (b->pattern == NULL)
        return code == QD_OK ? map_apply(NULL, in, out, err) : code;
    for (size_t i = 0; code == QD_OK && i < in->count; i++) {
        code = qd_matcher_run(&matcher, b->pattern, qd_piece_text(in, i), in->items[i].length, err);
        if (code == QD_OK)
            code = qd_cut_piece(in, i, &matcher, QD_CUT_ISOLATED, QD_CUT_MATCHES, &cut, err);
    }
    return code == QD_OK ? map_apply(NULL, &cut, out, err) : code;
}

/* The bytes of one token; a token with a character outside the alphabet (an added one) is its own text. */
static void add_unmapped(const char *token, size_t length, qd_str *out)
{
    size_t start = out->length;
    for (size_t at = 0; at < length;) {
        uint32_t c;
        at += qd_utf8_get(token + at, &c);
        int byte = byte_of_char(c);
        if (byte < 0) {
            if (!out->failed)
                out->length = start;
            qd_str_add_bytes(out, token, length);
            return;
        }
        qd_str_add_bytes(out, &(char){ (char)byte }, 1);
    }
}

static qd_code decode(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    (void)state;
    QD_AUTO(qd_str_fini) qd_str bytes = { 0 };
    for (size_t i = 0; i < in->count; i++)
        add_unmapped(qd_piece_text(in, i), in->items[i].length, &bytes);
    qd_code code = qd_str_check(&bytes, err);
    qd_utf8_clean(qd_str_borrow(&bytes), bytes.length, &out->text); /* characters may span tokens: clean the whole */
    return code == QD_OK ? qd_pieces_close(out, 0, QD_PLACE_START, err) : code;
}

const qd_component qd_normalizer_byte_level = { .name = "ByteLevel", .apply = map_apply };
const qd_component qd_pre_tokenizer_byte_level = { "ByteLevel", parse, destroy, apply };
const qd_component qd_decoder_byte_level = { .name = "ByteLevel", .apply = decode };
