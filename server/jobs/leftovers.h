/* leftovers.h: what lies below the state folder and what of it a job has no more use for.
 * Room: server/jobs, private to it. May use: base, store.
 * Threads: any. */
#ifndef QD_JOBS_LEFTOVERS_H
#define QD_JOBS_LEFTOVERS_H

#include "jobs/service_private.h"

/* Called for each thing that was removed, or would be. */
typedef struct qd_leftovers {
    qd_service *service;
    qd_collect_mode mode;
    double keep_failed; /* seconds; 0 = for ever */
    void (*removed)(void *ctx, const char *kind, const char *name, uint64_t bytes);
    void *ctx;
} qd_leftovers;

/* Checkpoints and quarantine of jobs that ended without success long ago, what jobs that succeeded do not need, folders of
 * jobs that do not exist, artifacts of jobs that have none, and temporary files a day old. Best effort: what cannot be
 * removed now is met again. */
void qd_leftovers_remove(const qd_leftovers *leftovers);

#endif
