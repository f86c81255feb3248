/* recipe_issues.c: see recipe_issues.h. */
#include "engine/recipe_issues.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

/* Cuts an incomplete UTF-8 sequence off the end: what is cut by a buffer stays a text. */
static void trim(char *text)
{
    size_t length = strlen(text), at = length;
    while (at > 0 && length - at < 4 && ((unsigned char)text[at - 1] & 0xC0) == 0x80)
        at--;
    if (at == 0 || (unsigned char)text[at - 1] < 0xC0)
        return;
    unsigned char lead = (unsigned char)text[at - 1];
    size_t wanted = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (length - (at - 1) < wanted)
        text[at - 1] = '\0';
}

bool qd_is_control(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    return at[0] < 0x20 || at[0] == 0x7F || (at[0] == 0xC2 && at[1] >= 0x80 && at[1] < 0xA0);
}

size_t qd_characters(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++) {
        if (qd_is_control(text))
            return (size_t)-1;
        count += ((unsigned char)*text & 0xC0) != 0x80;
    }
    return count;
}

bool qd_is_url(const char *text)
{
    return qd_characters(text) <= QD_URL_CHARACTERS && strstr(text, "://") != NULL;
}

qd_shown qd_show(const char *text)
{
    qd_shown out;
    snprintf(out.text, sizeof out.text, "%.60s", text);
    trim(out.text);
    for (char *at = out.text; *at != '\0'; at++) /* as qd_fail shows it */
        if (qd_is_control(at)) {
            if ((unsigned char)*at == 0xC2)
                *at++ = '?';
            *at = '?';
        }
    return out;
}

qd_label qd_label_of(const char *path)
{
    qd_label out;
    snprintf(out.text, sizeof out.text, "%s", path);
    for (char *at = out.text; *at != '\0'; at++)
        if (*at == '/')
            *at = '.';
    trim(out.text);
    return out;
}

qd_pointer qd_pointer_to(const char *parent, const char *key)
{
    qd_pointer out;
    size_t used = qd_min_size((size_t)snprintf(out.text, sizeof out.text, "%s/", parent), sizeof out.text - 1);
    for (; *key != '\0' && used + 3 < sizeof out.text; key++) {
        if (*key == '~' || *key == '/') {
            out.text[used++] = '~';
            out.text[used++] = *key == '~' ? '0' : '1';
        } else
            out.text[used++] = *key;
    }
    out.text[used] = '\0';
    return out;
}

void qd_complain(qd_issues *issues, const char *pointer, const char *format, ...)
{
    if (issues->count == QD_ISSUES_MAX)
        return;
    qd_issue *issue = &issues->items[issues->count++];
    va_list args;
    va_start(args, format);
    vsnprintf(issue->detail, sizeof issue->detail, format, args);
    va_end(args);
    snprintf(issue->pointer, sizeof issue->pointer, "%s", pointer);
    trim(issue->detail);
    trim(issue->pointer);
}

bool qd_issues_spare(const qd_issues *issues, const char *const *members)
{
    for (size_t i = 0; i < issues->count; i++)
        for (size_t m = 0; members[m] != NULL; m++) {
            size_t length = strlen(members[m]);
            const char *found = issues->items[i].pointer;
            if (strncmp(found, members[m], length) == 0 && (found[length] == '\0' || found[length] == '/'))
                return false;
        }
    return true;
}
