/* progress.h: how the core reports without logging.
 * Room: core/base. May use: libc.
 * Threads: the callback is called from the thread that called the core. */
#ifndef QD_BASE_PROGRESS_H
#define QD_BASE_PROGRESS_H

#include <stddef.h>

/* done of total, in `unit` ("layers", "windows", "bytes"). ctx is the sink's. NULL sinks are fine everywhere. */
typedef struct qd_progress {
    void (*step)(void *ctx, size_t done, size_t total, const char *unit);
    void *ctx;
} qd_progress;

static inline void qd_progress_step(const qd_progress *progress, size_t done, size_t total, const char *unit)
{
    if (progress != NULL && progress->step != NULL)
        progress->step(progress->ctx, done, total, unit);
}

#endif
