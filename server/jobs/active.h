/* active.h: the jobs workers own right now, in memory: how to stop them, how far they are.
 * Room: server/jobs, private to it. May use: base, jansson.
 * Threads: any; guarded by the service's mutex. */
#ifndef QD_JOBS_ACTIVE_H
#define QD_JOBS_ACTIVE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cancel.h"
#include "jobs/service.h"

typedef struct qd_active {
    char id[QD_JOB_ID];
    unsigned attempt;
    const char *request_id; /* that queued it; for the log; borrowed from the claimed row */
    qd_cancel cancel;       /* asks the worker to stop: cancelled, or the service ends */
    int wake_fd;            /* eventfd: the worker looks at `cancel` now */
    /* guarded by the service's mutex */
    json_t *progress; /* newest, or NULL */
    uint64_t steps;   /* progress reports so far */
    uint64_t rss;
    double heard; /* when its run said something, on qd_clock_seconds; 0 = it has none */
    struct qd_active *next;
} qd_active;

qd_code qd_active_begin(qd_service *service, const char *id, unsigned attempt, qd_active *active, qd_error *err);
void qd_active_end(qd_service *service, qd_active *active);

/* Asks the workers on this job, up to this attempt, to stop (a later attempt is a retry's: not meant). */
void qd_active_stop(qd_service *service, const char *id, unsigned attempt);
void qd_active_stop_all(qd_service *service);
/* true: some worker has the job's folder in its hands. */
bool qd_active_has(qd_service *service, const char *id);

/* progress: a new reference, taken. */
void qd_active_set_progress_take(qd_service *service, qd_active *active, json_t *progress);
void qd_active_set_rss(qd_service *service, qd_active *active, uint64_t bytes);
void qd_active_set_heard(qd_service *service, qd_active *active, double when);
/* A copy of the newest progress of this attempt (NULL when there is none) and the number of reports. */
json_t *qd_active_progress(qd_service *service, const char *id, unsigned attempt, uint64_t *out_steps);

#endif
