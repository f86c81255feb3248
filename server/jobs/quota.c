/* quota.c: see quota.h. */
#include "jobs/quota.h"

#include <inttypes.h>

#include "jobs/keys.h"
#include "store/artifact_rows.h"
#include "store/job_rows.h"
#include "store/key_rows.h"

static uint64_t limit_of(uint64_t own, uint64_t common)
{
    return own == 0 ? common : own;
}

qd_code qd_quota_jobs(qd_service *service, qd_tx *tx, const char *owner, qd_error *err)
{
    qd_key_row key;
    uint64_t unfinished = 0;
    if (owner[0] == '\0')
        return QD_OK;
    qd_code code = qd_key_row_read(tx, owner, &key, err);
    if (code != QD_OK)
        return code;
    uint64_t limit = limit_of(key.queue_quota, qd_service_now(service).access.queue_quota);
    for (size_t i = 0; limit > 0 && code == QD_OK && qd_state_name(i) != NULL; i++) {
        const qd_state *state = qd_state_at(i);
        size_t jobs = 0;
        if (state->kind == QD_STATE_FINAL)
            continue;
        code = qd_job_row_count_owner(tx, owner, state->name, &jobs, err);
        unfinished += jobs;
    }
    if (code == QD_OK && limit > 0 && unfinished >= limit)
        return qd_fail(err, QD_EBUSY, "key '%s' has %" PRIu64 " unfinished jobs, %" PRIu64 " are allowed", key.name,
                       unfinished, limit);
    return code;
}

typedef struct usage {
    const char *owner;
    qd_key_row key;
    uint64_t bytes;
} usage;

static qd_code read_usage(void *ctx, qd_tx *tx, qd_error *err)
{
    usage *u = ctx;
    qd_code code = qd_key_row_read(tx, u->owner, &u->key, err);
    return code == QD_OK ? qd_artifact_row_bytes(tx, u->owner, &u->bytes, err) : code;
}

qd_code qd_quota_bytes(qd_service *service, const char *owner, qd_error *err)
{
    usage u = { .owner = owner };
    if (owner[0] == '\0')
        return QD_OK;
    qd_code code = qd_store_read(service->store, read_usage, &u, err);
    if (code != QD_OK)
        return code;
    uint64_t limit = limit_of(u.key.disk_quota, qd_service_now(service).access.disk_quota_bytes);
    if (limit == 0 || u.bytes < limit)
        return QD_OK;
    return qd_fail(err, QD_ENOSPC,
                   "the artifacts of key '%s' take %" PRIu64 " bytes, %" PRIu64
                   " are allowed: delete jobs that are done with",
                   u.key.name, u.bytes, limit);
}
