/* utf8.c: see utf8.h. */
#include "text/utf8.h"

#include <utf8proc.h>

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

/* Smallest and largest second byte after each lead byte (Unicode, table 3-7): no overlongs, no surrogates. */
static size_t lead_length(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    *high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    return lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
}

size_t qd_utf8_check(const char *text, size_t length, size_t *out_bad)
{
    unsigned char low, high;
    size_t wanted = lead_length((unsigned char)text[0], &low, &high);
    *out_bad = 1;
    for (size_t i = 1; i < wanted; i++) {
        if (i >= length || (unsigned char)text[i] < low || (unsigned char)text[i] > high)
            return 0;
        *out_bad = i + 1;
        low = 0x80;
        high = 0xBF;
    }
    return wanted;
}

size_t qd_utf8_valid_prefix(const char *text, size_t length)
{
    size_t at = 0, bad;
    while (at < length) {
        size_t step = (unsigned char)text[at] < 0x80 ? 1 : qd_utf8_check(text + at, length - at, &bad);
        if (step == 0)
            return at;
        at += step;
    }
    return length;
}

void qd_utf8_clean(const char *text, size_t length, qd_str *out)
{
    size_t at = 0, bad;
    while (at < length) {
        size_t valid = qd_utf8_valid_prefix(text + at, length - at);
        qd_str_add_bytes(out, text + at, valid);
        at += valid;
        if (at < length) {
            (void)qd_utf8_check(text + at, length - at, &bad);
            qd_str_add(out, REPLACEMENT);
            at += bad;
        }
    }
}

size_t qd_utf8_get(const char *text, uint32_t *out_char)
{
    const unsigned char *b = (const unsigned char *)text;
    if (b[0] < 0x80) {
        *out_char = b[0];
        return 1;
    }
    if (b[0] < 0xE0) {
        *out_char = (b[0] & 0x1Fu) << 6 | (b[1] & 0x3Fu);
        return 2;
    }
    if (b[0] < 0xF0) {
        *out_char = (b[0] & 0x0Fu) << 12 | (b[1] & 0x3Fu) << 6 | (b[2] & 0x3Fu);
        return 3;
    }
    *out_char = (b[0] & 0x07u) << 18 | (b[1] & 0x3Fu) << 12 | (b[2] & 0x3Fu) << 6 | (b[3] & 0x3Fu);
    return 4;
}

size_t qd_utf8_put(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

void qd_utf8_add(uint32_t c, qd_str *out)
{
    char bytes[4];
    qd_str_add_bytes(out, bytes, qd_utf8_put(c, bytes));
}

size_t qd_utf8_before(const char *text, size_t end)
{
    do
        end--;
    while (end > 0 && ((unsigned char)text[end] & 0xC0) == 0x80);
    return end;
}

bool qd_char_is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

static utf8proc_category_t category(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c);
}

bool qd_char_is_number(uint32_t c)
{
    utf8proc_category_t kind = category(c);
    return kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL || kind == UTF8PROC_CATEGORY_NO;
}

bool qd_char_is_punctuation(uint32_t c)
{
    if (c < 0x80) /* the signs $ + < = > ^ ` | ~ too, which Unicode calls symbols */
        return (c > 0x20 && c < '0') || (c > '9' && c < 'A') || (c > 'Z' && c < 'a') || (c > 'z' && c < 0x7F);
    utf8proc_category_t kind = category(c);
    return kind >= UTF8PROC_CATEGORY_PC && kind <= UTF8PROC_CATEGORY_PO && !qd_char_is_later_punctuation(c);
}

bool qd_char_is_mark(uint32_t c)
{
    utf8proc_category_t kind = category(c);
    return kind >= UTF8PROC_CATEGORY_MN && kind <= UTF8PROC_CATEGORY_ME;
}

bool qd_char_is_word(uint32_t c)
{
    utf8proc_category_t kind = category(c);
    return (kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_NL) || kind == UTF8PROC_CATEGORY_PC ||
           c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
           (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}
