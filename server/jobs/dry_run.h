/* dry_run.h: plans of jobs that are not made, a few at a time and for a short while each.
 * Room: server/jobs, private to it (service.h has the public half). May use: base, engine, fetch.
 * Threads: any. */
#ifndef QD_JOBS_DRY_RUN_H
#define QD_JOBS_DRY_RUN_H

#include "base/cancel.h"
#include "jobs/service.h"

/* One under way: in a list below the service's mutex. */
typedef struct qd_dry_run {
    qd_cancel cancel;
    double deadline; /* qd_clock_seconds */
    struct qd_dry_run *next;
} qd_dry_run;

/* By the supervisor: ends those whose time is over, and all when the service stops or drains. */
void qd_dry_runs_look(qd_service *service);

#endif
