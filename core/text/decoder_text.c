/* decoder_text.c: Replace, ByteFallback, Fuse, Strip, BPEDecoder. */
#define _GNU_SOURCE /* memmem */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/component_rows.h"
#include "text/replace.h"
#include "text/utf8.h"

/* "<0x0A>" -> 10; -1 for any other token. */
static int fallback_byte(const char *token, size_t length)
{
    static const char digits[] = "0123456789ABCDEF0123456789abcdef";
    if (length != 6 || memcmp(token, "<0x", 3) != 0 || token[5] != '>' || token[3] == '\0' || token[4] == '\0')
        return -1;
    const char *high = strchr(digits, token[3]), *low = strchr(digits, token[4]);
    return high == NULL || low == NULL ? -1 : (int)((high - digits) % 16 * 16 + (low - digits) % 16);
}

/* A run of byte tokens is one text when it is valid UTF-8, and one U+FFFD a byte when it is not. */
static qd_code flush_bytes(qd_str *bytes, qd_pieces *out, qd_error *err)
{
    qd_code code = qd_str_check(bytes, err);
    if (code != QD_OK || bytes->length == 0)
        return code;
    const char *text = qd_str_borrow(bytes);
    if (qd_utf8_valid_prefix(text, bytes->length) == bytes->length)
        code = qd_pieces_add(out, text, bytes->length, QD_PLACE_INSIDE, err);
    else
        for (size_t i = 0; code == QD_OK && i < bytes->length; i++)
            code = qd_pieces_add(out, "\xEF\xBF\xBD", 3, QD_PLACE_INSIDE, err);
    qd_str_clear(bytes);
    return code;
}

static qd_code byte_fallback(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    (void)state;
    QD_AUTO(qd_str_fini) qd_str bytes = { 0 };
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < in->count; i++) {
        const char *token = qd_piece_text(in, i);
        size_t length = in->items[i].length;
        int byte = fallback_byte(token, length);
        if (byte >= 0) {
            qd_str_add_bytes(&bytes, &(char){ (char)byte }, 1);
            continue;
        }
        code = flush_bytes(&bytes, out, err);
        if (code == QD_OK)
            code = qd_pieces_add(out, token, length, in->items[i].place, err);
    }
    return code == QD_OK ? flush_bytes(&bytes, out, err) : code;
}

static qd_code fuse(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    (void)state;
    for (size_t i = 0; i < in->count; i++)
        qd_str_add_bytes(&out->text, qd_piece_text(in, i), in->items[i].length);
    return qd_pieces_close(out, 0, QD_PLACE_START, err);
}

typedef struct strip {
    char mark[4]; /* one character */
    size_t length, start, stop;
} strip;

static qd_code strip_parse(const json_t *object, void **out_state, qd_error *err)
{
    strip s = { 0 }, *state = NULL;
    uint32_t c = 0;
    qd_code code = qd_component_char(object, "content", &c, err);
    if (code == QD_OK)
        code = qd_json_size(object, "start", 0, &s.start, err);
    if (code == QD_OK)
        code = qd_json_size(object, "stop", 0, &s.stop, err);
    if (code == QD_OK)
        code = qd_alloc(1, sizeof *state, (void **)&state, err);
    if (code != QD_OK)
        return code;
    s.length = qd_utf8_put(c, s.mark);
    *state = s;
    *out_state = state;
    return QD_OK;
}

static qd_code strip_apply(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    const strip *s = state;
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < in->count; i++) {
        const char *text = qd_piece_text(in, i);
        size_t start = 0, end = in->items[i].length;
        for (size_t k = 0; k < s->start && end - start >= s->length; k++, start += s->length)
            if (memcmp(text + start, s->mark, s->length) != 0)
                break;
        for (size_t k = 0; k < s->stop && end - start >= s->length; k++, end -= s->length)
            if (memcmp(text + end - s->length, s->mark, s->length) != 0)
                break;
        code = qd_pieces_add(out, text + start, end - start, in->items[i].place, err);
    }
    return code;
}

static qd_code suffix_parse(const json_t *object, void **out_state, qd_error *err)
{
    const char *suffix;
    qd_code code = qd_json_text(object, "suffix", "</w>", &suffix, err);
    return code == QD_OK ? qd_dup(suffix, (char **)out_state, err) : code;
}

/* The end-of-word suffix is a space, and nothing behind the last word. */
static qd_code suffix_apply(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    const char *suffix = state;
    size_t length = strlen(suffix);
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < in->count; i++) {
        const char *text = qd_piece_text(in, i);
        size_t start = out->text.length, at = 0;
        while (length > 0 && at < in->items[i].length) {
            const char *found = memmem(text + at, in->items[i].length - at, suffix, length);
            if (found == NULL)
                break;
            qd_str_add_bytes(&out->text, text + at, (size_t)(found - text) - at);
            if (i + 1 < in->count)
                qd_str_add(&out->text, " ");
            at = (size_t)(found - text) + length;
        }
        qd_str_add_bytes(&out->text, text + at, in->items[i].length - at);
        code = qd_pieces_close(out, start, in->items[i].place, err);
    }
    return code;
}

const qd_component qd_decoder_replace = { "Replace", qd_replace_parse, qd_replace_destroy, qd_replace_apply };
const qd_component qd_decoder_byte_fallback = { .name = "ByteFallback", .apply = byte_fallback };
const qd_component qd_decoder_fuse = { .name = "Fuse", .apply = fuse };
const qd_component qd_decoder_strip = { "Strip", strip_parse, free, strip_apply };
const qd_component qd_decoder_bpe = { "BPEDecoder", suffix_parse, free, suffix_apply };
