/* head.c: see head.h. */
#include "fetch/head.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

typedef enum field_kind { FIELD_TEXT, FIELD_LINK, FIELD_SIZE, FIELD_SECONDS, FIELD_RANGE } field_kind;
typedef struct field {
    const char *name;
    field_kind kind;
    size_t offset;
} field;

static const field fields[] = {
    { "content-length", FIELD_SIZE, offsetof(qd_reply_head, length) },
    { "content-range", FIELD_RANGE, 0 },
    { "etag", FIELD_TEXT, offsetof(qd_reply_head, etag) },
    { "last-modified", FIELD_TEXT, offsetof(qd_reply_head, last_modified) },
    { "link", FIELD_LINK, offsetof(qd_reply_head, link) },
    { "x-amz-checksum-sha256", FIELD_TEXT, offsetof(qd_reply_head, checksum) },
    { "retry-after", FIELD_SECONDS, offsetof(qd_reply_head, retry_after) },
    { "x-repo-commit", FIELD_TEXT, offsetof(qd_reply_head, hub_commit) },
    { "x-linked-etag", FIELD_TEXT, offsetof(qd_reply_head, hub_etag) },
    { "x-linked-size", FIELD_SIZE, offsetof(qd_reply_head, hub_size) },
};

void qd_head_reset(qd_reply_head *head)
{
    head->status = 0;
    head->length = head->range_start = head->range_total = QD_SIZE_UNKNOWN;
    head->etag[0] = head->last_modified[0] = head->link[0] = head->checksum[0] = '\0';
    head->retry_after = -1;
}

/* Digits from *at on; QD_SIZE_UNKNOWN where there are none or too many. */
static uint64_t read_size(const char **at, const char *end)
{
    uint64_t value = 0;
    const char *start = *at;
    for (; *at < end && isdigit((unsigned char)**at); (*at)++)
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (uint64_t)(**at - '0'), &value))
            return QD_SIZE_UNKNOWN;
    return *at == start ? QD_SIZE_UNKNOWN : value;
}

/* "bytes 5-9/10", "bytes * /10" (without the blank). */
static void read_range(qd_reply_head *head, const char *at, const char *end)
{
    if (end - at < 6 || strncasecmp(at, "bytes ", 6) != 0)
        return;
    at += 6;
    head->range_start = read_size(&at, end);
    const char *slash = memchr(at, '/', (size_t)(end - at));
    if (slash == NULL)
        return;
    slash++;
    head->range_total = read_size(&slash, end);
}

static void set_text(char *out, size_t room, const char *at, const char *end)
{
    size_t length = (size_t)(end - at);
    if (length >= room)
        length = 0;
    memcpy(out, at, length);
    out[length] = '\0';
}

static void set_field(qd_reply_head *head, const field *f, const char *at, const char *end)
{
    char *where = (char *)head + f->offset;
    uint64_t size;
    switch (f->kind) {
    case FIELD_TEXT:
        set_text(where, QD_HEADER_TEXT, at, end);
        break;
    case FIELD_LINK:
        set_text(where, sizeof head->link, at, end);
        break;
    case FIELD_SIZE:
        size = read_size(&at, end);
        memcpy(where, &size, sizeof size);
        break;
    case FIELD_SECONDS:
        size = read_size(&at, end);
        head->retry_after = size == QD_SIZE_UNKNOWN ? -1 : (long)qd_min_size(size, 1000000);
        break;
    case FIELD_RANGE:
        read_range(head, at, end);
        break;
    }
}

void qd_head_line(qd_reply_head *head, const char *line, size_t length)
{
    const char *end = line + length, *colon = memchr(line, ':', length);
    if (colon == NULL)
        return;
    const char *value = colon + 1;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && isspace((unsigned char)end[-1]))
        end--;
    if (memchr(value, '\0', (size_t)(end - value)) != NULL)
        return;
    for (size_t i = 0; i < QD_LENGTH(fields); i++)
        if (strlen(fields[i].name) == (size_t)(colon - line) &&
            strncasecmp(fields[i].name, line, (size_t)(colon - line)) == 0)
            set_field(head, &fields[i], value, end);
}
