/* json_text.c: see json_text.h. */
#include "model/json_text.h"

#include <stdint.h>

/* Bytes of the sequence that begins with `first`, and the smallest code point that needs so many; 0: no first byte. */
static size_t sequence(unsigned char first, uint32_t *out_least)
{
    size_t length = first < 0x80 ? 1 : first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3 : first >> 3 == 30 ? 4 : 0;
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    *out_least = least[length];
    return length;
}

bool qd_json_text_ok(const char *text, size_t length)
{
    const unsigned char *bytes = (const unsigned char *)text;
    for (size_t at = 0, step; at < length; at += step) {
        uint32_t least;
        step = sequence(bytes[at], &least);
        if (step == 0 || step > length - at)
            return false;
        uint32_t c = step == 1 ? bytes[at] : bytes[at] & (0x7fu >> step);
        for (size_t i = 1; i < step; i++) {
            if (bytes[at + i] >> 6 != 2)
                return false;
            c = c << 6 | (bytes[at + i] & 0x3f);
        }
        if (c < least || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
            return false;
    }
    return true;
}

void qd_json_text_add(qd_str *out, const char *text, size_t length)
{
    size_t from = 0;
    qd_str_add_bytes(out, "\"", 1);
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        qd_str_add_bytes(out, text + from, i - from);
        if (c >= 0x20 || c == '\n')
            qd_str_addf(out, "\\%c", c == '\n' ? 'n' : c);
        else
            qd_str_addf(out, "\\u%04x", c);
        from = i + 1;
    }
    qd_str_add_bytes(out, text + from, length - from);
    qd_str_add_bytes(out, "\"", 1);
}
