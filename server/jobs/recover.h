/* recover.h: what a start finds: jobs that were running, folders nobody owns.
 * Room: server/jobs, private to it. May use: base, store.
 * Threads: the creating thread, before there are workers. */
#ifndef QD_JOBS_RECOVER_H
#define QD_JOBS_RECOVER_H

#include "jobs/service_private.h"

/* Running jobs go back to the queue, `resumed` grows. Then folders without a job, artifacts of jobs that have not
 * succeeded, and checkpoints of those that have, are removed. */
qd_code qd_recover(qd_service *service, qd_error *err);

#endif
