/* lines.c: see lines.h. */
#include "jobs/lines.h"

#include <string.h>

static void add(qd_lines *lines, const char *bytes, size_t length)
{
    if (lines->skipping)
        return;
    if (length > QD_LINE_MAX - lines->used) {
        lines->skipping = true;
        return;
    }
    memcpy(lines->data + lines->used, bytes, length);
    lines->used += length;
}

static void end(qd_lines *lines)
{
    if (lines->skipping)
        lines->dropped++;
    else
        lines->line(lines->ctx, lines->data, lines->used);
    lines->used = 0;
    lines->skipping = false;
}

void qd_lines_feed(qd_lines *lines, const char *bytes, size_t length)
{
    while (length > 0) {
        const char *newline = memchr(bytes, '\n', length);
        size_t part = newline == NULL ? length : (size_t)(newline - bytes);
        add(lines, bytes, part);
        if (newline == NULL)
            return;
        end(lines);
        bytes += part + 1;
        length -= part + 1;
    }
}
