/* run.h: a child process at work: started, listened to, ended when it must be.
 * Room: server/jobs, private to it. May use: base, engine, store.
 * Threads: the job's worker. */
#ifndef QD_JOBS_RUN_H
#define QD_JOBS_RUN_H

#include "jobs/course.h"
#include "jobs/ending.h"
#include "jobs/sources.h"

/* How it ended; for all but a result, err says why. */
qd_end qd_run_child(qd_course *course, const qd_sources *sources, int lock_fd, qd_error *err);

#endif
