/* normalizer_precompiled.c: Precompiled: SentencePiece's table of texts that become other texts.
 * The table is base64 of: bytes of a trie (little-endian 32 bits), the trie as a double array of 32-bit units, and the
 * texts that it points to, each ended by a NUL. A unit holds its byte, whether a text ends here, and where its children
 * lie; that of a text's end holds the place of what it becomes.
 * A grapheme of few bytes is looked up whole, and else each of its characters; the shortest entry that begins it decides,
 * as the usual readers have it. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/mem.h"
#include "base/sign.h"
#include "text/component_rows.h"
#include "text/utf8.h"

enum { UNIT = 4, WHOLE_BYTES = 6 }; /* graphemes of fewer bytes than this are looked up whole */

typedef struct charsmap {
    unsigned char *bytes;
    const unsigned char *units;
    size_t unit_count;
    const char *texts; /* the last byte is a NUL */
    size_t texts_length;
} charsmap;

static void destroy(void *state)
{
    charsmap *map = state;
    if (map == NULL)
        return;
    free(map->bytes);
    free(map);
}

static uint32_t little_endian(const unsigned char *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static qd_code lay_out(charsmap *map, size_t length, qd_error *err)
{
    size_t trie = length < UNIT ? 0 : little_endian(map->bytes);
    if (length < UNIT || trie > length - UNIT || trie % UNIT != 0 || trie == 0)
        return qd_fail(err, QD_EFORMAT, "'precompiled_charsmap': %zu bytes hold no trie of %zu", length, trie);
    map->units = map->bytes + UNIT;
    map->unit_count = trie / UNIT;
    map->texts = (const char *)map->units + trie;
    map->texts_length = length - UNIT - trie;
    if (map->texts_length > 0 && map->texts[map->texts_length - 1] != '\0')
        return qd_fail(err, QD_EFORMAT, "'precompiled_charsmap': its last text has no end");
    if (qd_utf8_valid_prefix(map->texts, map->texts_length) < map->texts_length)
        return qd_fail(err, QD_EFORMAT, "'precompiled_charsmap': its texts are no UTF-8");
    return QD_OK;
}

static qd_code parse(const json_t *object, void **out_state, qd_error *err)
{
    const char *text;
    charsmap *map = NULL;
    size_t length = 0;
    qd_code code = qd_component_text(object, "precompiled_charsmap", &text, err);
    if (code == QD_OK)
        code = qd_alloc(1, sizeof *map, (void **)&map, err);
    if (code == QD_OK)
        code = qd_base64_decode(text, &map->bytes, &length, err);
    if (code == QD_OK)
        code = lay_out(map, length, err);
    if (code == QD_OK)
        *out_state = map;
    else
        destroy(map);
    return code;
}

/* The unit's number for children to be counted from. */
static uint32_t offset_of(uint32_t unit)
{
    return unit >> 10 << ((unit & 1u << 9) >> 6);
}

/* What the shortest entry that begins `text` becomes; NULL: there is none. */
static const char *lookup(const charsmap *map, const char *text, size_t length)
{
    uint32_t at = offset_of(little_endian(map->units));
    for (size_t i = 0; i < length && text[i] != '\0'; i++) {
        unsigned char byte = (unsigned char)text[i];
        at ^= byte;
        if (at >= map->unit_count)
            return NULL;
        uint32_t unit = little_endian(map->units + (size_t)at * UNIT);
        if ((unit & (1u << 31 | 0xFF)) != byte)
            return NULL;
        at ^= offset_of(unit);
        if ((unit >> 8 & 1) == 0)
            continue;
        uint32_t value =
            at < map->unit_count ? little_endian(map->units + (size_t)at * UNIT) & ~(1u << 31) : UINT32_MAX;
        return value < map->texts_length ? map->texts + value : NULL;
    }
    return NULL;
}

/* Bytes of the grapheme that begins the text. */
static size_t grapheme(const char *text, size_t length)
{
    uint32_t before, c;
    utf8proc_int32_t state = 0;
    size_t at = qd_utf8_get(text, &before);
    while (at < length) {
        size_t step = qd_utf8_get(text + at, &c);
        if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)before, (utf8proc_int32_t)c, &state))
            break;
        before = c;
        at += step;
    }
    return at;
}

static void add_grapheme(const charsmap *map, const char *text, size_t length, qd_str *out)
{
    const char *whole = length < WHOLE_BYTES ? lookup(map, text, length) : NULL;
    if (whole != NULL) {
        qd_str_add(out, whole);
        return;
    }
    for (size_t at = 0, step; at < length; at += step) {
        uint32_t c;
        step = qd_utf8_get(text + at, &c);
        const char *other = lookup(map, text + at, step);
        if (other != NULL)
            qd_str_add(out, other);
        else
            qd_str_add_bytes(out, text + at, step);
    }
}

static qd_code apply(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < in->count; i++) {
        const char *text = qd_piece_text(in, i);
        size_t start = out->text.length;
        for (size_t at = 0, step; code == QD_OK && at < in->items[i].length; at += step) {
            step = grapheme(text + at, in->items[i].length - at);
            add_grapheme(state, text + at, step, &out->text);
            code = qd_pieces_check(out, err);
        }
        if (code == QD_OK)
            code = qd_pieces_close(out, start, in->items[i].place, err);
    }
    return code;
}

const qd_component qd_normalizer_precompiled = { "Precompiled", parse, destroy, apply };
