/* queue_limit.h: how long the queue may be, in all and for one owner.
 * Room: server/jobs, private to it. May use: base, store.
 * Threads: inside a change. */
#ifndef QD_JOBS_QUEUE_LIMIT_H
#define QD_JOBS_QUEUE_LIMIT_H

#include "jobs/quota.h"
#include "store/job_rows.h"

/* QD_EBUSY when one more job does not fit. */
static inline qd_code qd_queue_check(qd_service *service, qd_tx *tx, const char *owner, qd_error *err)
{
    size_t queued = 0, limit = qd_service_now(service).queue_limit;
    qd_code code = qd_job_row_count_state(tx, qd_state_at(QD_STATE_QUEUED)->name, &queued, err);
    if (code == QD_OK && queued >= limit)
        return qd_fail(err, QD_EBUSY, "the queue is full: %zu jobs wait, %zu are allowed", queued, limit);
    return code == QD_OK ? qd_quota_jobs(service, tx, owner, err) : code;
}

#endif
