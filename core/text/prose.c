/* prose.c: see prose.h. */
#include "text/prose.h"

#include <string.h>

#include <utf8proc.h>

#include "text/utf8.h"

static bool is_blank(uint32_t c)
{
    return qd_char_is_space(c) || (c >= 0x1C && c <= 0x1F);
}

size_t qd_prose_end(const char *text, size_t length)
{
    uint32_t c = 0;
    while (length > 0) {
        size_t before = qd_utf8_before(text, length);
        qd_utf8_get(text + before, &c);
        if (!is_blank(c))
            break;
        length = before;
    }
    return length;
}

size_t qd_prose_begin(const char *text, size_t length)
{
    uint32_t c = 0;
    size_t at = 0;
    while (at < length) {
        size_t bytes = qd_utf8_get(text + at, &c);
        if (!is_blank(c))
            break;
        at += bytes;
    }
    return at;
}

size_t qd_prose_characters(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++)
        count += ((unsigned char)*text & 0xC0) != 0x80;
    return count;
}

static size_t add_changed(const char *text, utf8proc_int32_t (*change)(utf8proc_int32_t), qd_str *out)
{
    uint32_t c = 0;
    size_t bytes = qd_utf8_get(text, &c);
    qd_utf8_add((uint32_t)change((utf8proc_int32_t)c), out);
    return bytes;
}

void qd_prose_capitalize(const char *text, qd_str *out)
{
    if (*text != '\0')
        text += add_changed(text, utf8proc_totitle, out);
    while (*text != '\0')
        text += add_changed(text, utf8proc_tolower, out);
}

void qd_prose_uncapitalize(const char *text, qd_str *out)
{
    if (*text != '\0')
        text += add_changed(text, utf8proc_tolower, out);
    qd_str_add(out, text);
}
