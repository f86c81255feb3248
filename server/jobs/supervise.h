/* supervise.h: the thread that looks after disk and database.
 * Room: server/jobs, private to it. May use: base, store.
 * Threads: this is one. */
#ifndef QD_JOBS_SUPERVISE_H
#define QD_JOBS_SUPERVISE_H

#include "jobs/service_private.h"

/* Free bytes on the state folder's disk; 0 when that cannot be told. */
uint64_t qd_free_bytes(const qd_service *service);
qd_code qd_supervisor_start(qd_service *service, qd_error *err);
/* service->stopping is set: waits for it. */
void qd_supervisor_join(qd_service *service);

#endif
