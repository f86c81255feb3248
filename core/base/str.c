/* str.c: see str.h. */
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void qd_str_fini(qd_str *s)
{
    free(s->data);
    *s = (qd_str){ 0 };
}

static bool reserve(qd_str *s, size_t more)
{
    size_t needed;
    if (s->failed || !qd_add_size(s->length, more, &needed) || !qd_add_size(needed, 1, &needed) ||
        qd_grow((void **)&s->data, &s->capacity, needed, 1, NULL) != QD_OK) {
        s->failed = true;
        return false;
    }
    return true;
}

void qd_str_add_bytes(qd_str *s, const void *bytes, size_t length)
{
    if (!reserve(s, length))
        return;
    if (length > 0)
        memcpy(s->data + s->length, bytes, length);
    s->length += length;
    s->data[s->length] = '\0';
}

void qd_str_add(qd_str *s, const char *text)
{
    qd_str_add_bytes(s, text, strlen(text));
}

void qd_str_vaddf(qd_str *s, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int needed = vsnprintf(NULL, 0, format, args);
    if (needed < 0)
        s->failed = true;
    else if (reserve(s, (size_t)needed)) {
        vsnprintf(s->data + s->length, (size_t)needed + 1, format, again);
        s->length += (size_t)needed;
    }
    va_end(again);
}

void qd_str_addf(qd_str *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    qd_str_vaddf(s, format, args);
    va_end(args);
}

void qd_str_clear(qd_str *s)
{
    s->length = 0;
    s->failed = false;
    if (s->data != NULL)
        s->data[0] = '\0';
}

qd_code qd_str_check(const qd_str *s, qd_error *err)
{
    return s->failed ? qd_fail(err, QD_ENOMEM, "out of memory building a string") : QD_OK;
}

const char *qd_str_borrow(const qd_str *s)
{
    return s->data == NULL ? "" : s->data;
}

char *qd_str_take(qd_str *s)
{
    if (s->data == NULL)
        qd_str_add(s, "");
    char *data = s->data;
    if (s->failed) {
        free(data);
        data = NULL;
    }
    *s = (qd_str){ 0 };
    return data;
}

char *qd_trim(char *text)
{
    text += strspn(text, " \t\r");
    size_t length = strlen(text);
    while (length > 0 && strchr(" \t\r", text[length - 1]) != NULL)
        text[--length] = '\0';
    return text;
}

int qd_hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool qd_glob_match(const char *pattern, const char *text)
{
    const char *star = NULL, *mark = NULL;
    while (*text != '\0') {
        if (*pattern == '*') {
            star = pattern++;
            mark = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++;
            text++;
        } else if (star != NULL) {
            pattern = star + 1;
            text = ++mark;
        } else
            return false;
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}
