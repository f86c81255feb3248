/* lines.h: cuts what a child writes into lines, within limits.
 * Room: server/jobs, private to it. May use: base.
 * Threads: belongs to one thread.
 * Source: server.md §5: over-long lines are counted and dropped. */
#ifndef QD_JOBS_LINES_H
#define QD_JOBS_LINES_H

#include <stdbool.h>
#include <stddef.h>

enum { QD_LINE_MAX = 16384 };

typedef struct qd_lines {
    void (*line)(void *ctx, const char *text, size_t length); /* without the newline; not NUL-terminated */
    void *ctx;
    size_t dropped; /* lines that were too long */
    size_t used;
    bool skipping; /* inside a line that is too long */
    char data[QD_LINE_MAX];
} qd_lines;

void qd_lines_feed(qd_lines *lines, const char *bytes, size_t length);

#endif
