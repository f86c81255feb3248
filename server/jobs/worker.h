/* worker.h: the threads that claim jobs.
 * Room: server/jobs, private to it. May use: base, store.
 * Threads: this is them. */
#ifndef QD_JOBS_WORKER_H
#define QD_JOBS_WORKER_H

#include "jobs/service_private.h"

/* Starts settings.config.workers threads. */
qd_code qd_workers_start(qd_service *service, qd_error *err);
/* service->stopping is set: waits for them. */
void qd_workers_join(qd_service *service);

#endif
