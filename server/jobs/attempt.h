/* attempt.h: one attempt at a claimed job, from its download to its end.
 * Room: server/jobs, private to it. May use: base, engine, store, fetch.
 * Threads: the job's worker. */
#ifndef QD_JOBS_ATTEMPT_H
#define QD_JOBS_ATTEMPT_H

#include "jobs/active.h"
#include "store/job_rows.h"

/* The row is as it was claimed; every outcome is written. */
void qd_attempt(qd_service *service, const qd_job_row *row, qd_active *active);

#endif
