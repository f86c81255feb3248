/* courier.h: the threads that carry out deliveries when they are due.
 * Room: server/jobs, private to it. May use: base, fetch, store.
 * Threads: any. A kind has threads of its own, and no host more of them than the kind allows: what is slow holds up
 * nobody else. */
#ifndef QD_JOBS_COURIER_H
#define QD_JOBS_COURIER_H

#include "jobs/service.h"

typedef struct qd_courier qd_courier;
qd_code qd_courier_start(qd_service *service, qd_courier **out, qd_error *err);
/* Breaks off what is under way (it stays due) and joins the threads. NULL is fine. */
void qd_courier_destroy(qd_courier *courier);
/* Something may be due now: after a commit that made or renewed a delivery. NULL is fine. */
void qd_courier_wake(qd_courier *courier);

#endif
