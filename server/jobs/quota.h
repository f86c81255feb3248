/* quota.h: how much one key may have at once: unfinished jobs, bytes of artifacts.
 * Room: server/jobs, private to it. May use: base, store.
 * Threads: inside a change (jobs) or a call of its own (bytes). */
#ifndef QD_JOBS_QUOTA_H
#define QD_JOBS_QUOTA_H

#include "jobs/service_private.h"

/* `owner`: api_key.id, or "" = nobody had to show a key: no quota. */
/* QD_EBUSY when one more unfinished job is too many. */
qd_code qd_quota_jobs(qd_service *service, qd_tx *tx, const char *owner, qd_error *err);
/* QD_ENOSPC when the owner's artifacts have used up what is allowed. Not inside a change: there QD_ENOSPC means the disk. */
qd_code qd_quota_bytes(qd_service *service, const char *owner, qd_error *err);

#endif
