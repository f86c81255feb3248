/* range.c: see range.h. */
#include "http/range.h"

#include <string.h>
#include <strings.h>

static const char *skip_blanks(const char *s)
{
    return s + strspn(s, " \t");
}

/* Digits -> value, saturating: a position beyond 2^64 is beyond every file. NULL when there is no digit. */
static const char *read_number(const char *s, uint64_t *out)
{
    uint64_t value = 0;
    if (*s < '0' || *s > '9')
        return NULL;
    for (; *s >= '0' && *s <= '9'; s++) {
        uint64_t digit = (uint64_t)(*s - '0');
        value = value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : value * 10 + digit;
    }
    *out = value;
    return s;
}

static qd_range suffix_range(uint64_t count, uint64_t size)
{
    uint64_t length = count < size ? count : size;
    if (length == 0)
        return (qd_range){ .kind = QD_RANGE_UNSATISFIABLE };
    return (qd_range){ .kind = QD_RANGE_PART, .first = size - length, .length = length };
}

static qd_range span_range(uint64_t first, uint64_t last, uint64_t size)
{
    if (first >= size)
        return (qd_range){ .kind = QD_RANGE_UNSATISFIABLE };
    uint64_t end = last < size - 1 ? last : size - 1;
    return (qd_range){ .kind = QD_RANGE_PART, .first = first, .length = end - first + 1 };
}

qd_range qd_range_parse(const char *header, uint64_t size)
{
    const qd_range whole = { .kind = QD_RANGE_WHOLE, .first = 0, .length = size };
    uint64_t first = 0, last = UINT64_MAX;
    if (header == NULL || strncasecmp(header, "bytes=", 6) != 0)
        return whole;
    const char *s = skip_blanks(header + 6);
    bool suffix = *s == '-';
    if (suffix)
        s = read_number(s + 1, &last);
    else if ((s = read_number(s, &first)) != NULL && *s++ == '-') {
        if (*s >= '0' && *s <= '9')
            s = read_number(s, &last);
    } else
        return whole;
    if (s == NULL || *skip_blanks(s) != '\0' || (!suffix && last < first))
        return whole;
    return suffix ? suffix_range(last, size) : span_range(first, last, size);
}

bool qd_if_range_ok(const char *if_range, const char *tag)
{
    return if_range == NULL || (tag != NULL && tag[0] == '"' && strcmp(if_range, tag) == 0);
}

bool qd_if_none_match(const char *header, const char *tag)
{
    if (header == NULL || tag == NULL)
        return false;
    if (strcmp(skip_blanks(header), "*") == 0)
        return true;
    const char *opaque = strncmp(tag, "W/", 2) == 0 ? tag + 2 : tag;
    size_t length = strlen(opaque);
    for (const char *s = skip_blanks(header); *s != '\0';) {
        if (strncmp(s, "W/", 2) == 0)
            s += 2;
        const char *end = *s == '"' ? strchr(s + 1, '"') : NULL;
        if (end == NULL)
            return false;
        if ((size_t)(end + 1 - s) == length && memcmp(s, opaque, length) == 0)
            return true;
        s = skip_blanks(end + 1);
        if (*s == ',')
            s = skip_blanks(s + 1);
        else if (*s != '\0')
            return false;
    }
    return false;
}
