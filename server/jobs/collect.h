/* collect.h: removes what is too old or too much; never what a job needs.
 * Room: server/jobs, private to it (service.h has the public half). May use: base, fetch, store.
 * Threads: one of its own; qd_service_collect from any.
 *
 * A job that is not finished keeps everything. Of a finished one, folders are only touched under its lock
 * (jobs/ID/lock), which a retry's worker waits for, and after its row was read again under it. */
#ifndef QD_JOBS_COLLECT_H
#define QD_JOBS_COLLECT_H

#include "jobs/service_private.h"

/* Starts the thread: once a minute, and sooner when the disk gets short. */
qd_code qd_collector_start(qd_service *service, qd_error *err);
/* service->stopping is set: waits for it. */
void qd_collector_join(qd_service *service);

#endif
