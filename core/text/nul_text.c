/* nul_text.c: see nul_text.h. */
#define _GNU_SOURCE /* memmem */
#include "text/nul_text.h"

#include <string.h>
#include <strings.h>

#define STAND_IN "\xEF\xB7\x90" /* U+FDD0 */
#define ESCAPE_LENGTH 6

static bool is_escape(const char *at, const char *end, const char *escape)
{
    return end - at >= ESCAPE_LENGTH && strncasecmp(at, escape, ESCAPE_LENGTH) == 0;
}

static const char *next_backslash(const char *at, const char *end)
{
    const char *found = memchr(at, '\\', (size_t)(end - at));
    return found == NULL ? end : found;
}

/* First escape of that kind at or after `at`; `end` when there is none. Any other escape is stepped over whole. */
static const char *find_escape(const char *at, const char *end, const char *escape)
{
    for (at = next_backslash(at, end); at < end; at = next_backslash(at, end)) {
        if (is_escape(at, end, escape))
            return at;
        at += end - at >= 2 ? 2 : 1;
    }
    return end;
}

qd_code qd_nul_hide(const char *json, size_t length, qd_str *out, bool *out_hidden, qd_error *err)
{
    const char *end = json + length, *found = length == 0 ? end : find_escape(json, end, "\\u0000");
    *out_hidden = found < end;
    if (!*out_hidden)
        return QD_OK;
    if (memmem(json, length, STAND_IN, strlen(STAND_IN)) != NULL || find_escape(json, end, "\\ufdd0") < end)
        return qd_fail(err, QD_EUNSUPPORTED, "the file has both U+0000 and U+FDD0 in its texts");
    for (const char *at = json; at < end;) {
        qd_str_add_bytes(out, at, (size_t)(found - at));
        if (found < end)
            qd_str_add(out, "\\ufdd0");
        at = found < end ? found + ESCAPE_LENGTH : end;
        found = find_escape(at, end, "\\u0000");
    }
    return qd_str_check(out, err);
}

void qd_nul_restore(const char *text, size_t length, qd_str *out)
{
    while (length > 0) {
        const char *found = memmem(text, length, STAND_IN, strlen(STAND_IN));
        size_t plain = found == NULL ? length : (size_t)(found - text);
        qd_str_add_bytes(out, text, plain);
        if (found != NULL)
            qd_str_add_bytes(out, "", 1);
        plain += found == NULL ? 0 : strlen(STAND_IN);
        text += plain;
        length -= plain;
    }
}
