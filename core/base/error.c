/* error.c: see error.h. */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Bytes of the UTF-8 sequence at `at`, which a NUL ends; 0 = none is there (RFC 3629). */
static size_t sequence_length(const unsigned char *at)
{
    size_t length = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
    bool outside = (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf4 && at[1] > 0x8f);
    return overlong || outside ? 0 : length;
}

/* Names in a message are foreign: what a terminal would obey, or JSON cannot hold (a character cut in two), becomes '?'. */
static void clean(char *text)
{
    unsigned char *at = (unsigned char *)text;
    while (*at != '\0') {
        size_t length = sequence_length(at);
        bool control = at[0] < 0x20 || at[0] == 0x7f || (at[0] == 0xc2 && at[1] < 0xa0);
        if (length == 0 || control)
            *at = '?';
        at += length == 0 || control ? 1 : length;
    }
}

qd_code qd_fail(qd_error *err, qd_code code, const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        err->code = code;
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        clean(err->text);
    }
    return code;
}

static qd_code code_of_errno(int number)
{
    switch (number) {
    case ENOSPC:
    case EDQUOT:
        return QD_ENOSPC;
    case EFBIG:
        return QD_ETOOBIG;
    case ENOMEM:
        return QD_ENOMEM;
    case ENOENT:
    case ENOTDIR:
        return QD_ENOTFOUND;
    case EACCES:
    case EPERM:
        return QD_EDENIED;
    default:
        return QD_EIO;
    }
}

qd_code qd_fail_errno(qd_error *err, const char *format, ...)
{
    int number = errno;
    qd_code code = code_of_errno(number);
    if (err != NULL) {
        char what[sizeof err->text / 2], why[128];
        va_list args;
        va_start(args, format);
        vsnprintf(what, sizeof what, format, args);
        va_end(args);
        if (strerror_r(number, why, sizeof why) != 0)
            snprintf(why, sizeof why, "error %d", number);
        qd_fail(err, code, "%s: %s", what, why);
    }
    return code;
}

qd_code qd_within(qd_error *err, qd_code code, const char *format, ...)
{
    if (err != NULL) {
        char inner[sizeof err->text], context[sizeof err->text / 2];
        va_list args;
        memcpy(inner, err->text, sizeof inner);
        va_start(args, format);
        vsnprintf(context, sizeof context, format, args);
        va_end(args);
        int used = snprintf(err->text, sizeof err->text, "%s: ", context);
        if (used > 0 && (size_t)used < sizeof err->text)
            snprintf(err->text + used, sizeof err->text - (size_t)used, "%.*s",
                     (int)(sizeof err->text - (size_t)used - 1), inner);
        clean(err->text);
        err->code = code;
    }
    return code;
}

const char *qd_code_name(qd_code code)
{
    static const char *const names[] = {
        [QD_OK] = "ok",
        [QD_EINVAL] = "invalid",
        [QD_EFORMAT] = "format",
        [QD_ESHAPE] = "shape",
        [QD_ENUMERIC] = "numeric",
        [QD_EGATE] = "gate",
        [QD_EUNSUPPORTED] = "unsupported",
        [QD_ENOTFOUND] = "not-found",
        [QD_EGONE] = "gone",
        [QD_ECONFLICT] = "conflict",
        [QD_ETOOBIG] = "too-big",
        [QD_EBUSY] = "busy",
        [QD_ENOMEM] = "out-of-memory",
        [QD_ENOSPC] = "disk-full",
        [QD_EIO] = "io",
        [QD_EDENIED] = "denied",
        [QD_ENETWORK] = "network",
        [QD_ETIMEOUT] = "timeout",
        [QD_ECANCELLED] = "cancelled",
        [QD_EINTERNAL] = "internal",
    };
    if ((size_t)code >= QD_LENGTH(names))
        return "internal";
    return names[code];
}
