/* retention_rows.h: what is old enough to go, and how much there is.
 * Room: server/store. May use: base, SQLite.
 * Threads: inside a change or view of store.h. */
#ifndef QD_STORE_RETENTION_ROWS_H
#define QD_STORE_RETENTION_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/job_rows.h"

/* A finished job, for a visitor; texts are borrowed for the call. */
typedef struct qd_finished_row {
    const char *id, *state;
    int64_t finished_ms;
    uint64_t artifact_bytes; /* 0 = it has none, or none any more */
} qd_finished_row;
typedef qd_code (*qd_finished_visit)(void *ctx, const qd_finished_row *row, qd_error *err);

/* Finished before that time, oldest first, at most limit. */
qd_code qd_retention_each_finished(qd_tx *tx, int64_t before_ms, size_t limit, qd_finished_visit visit, void *ctx,
                                   qd_error *err);
/* Every job, by id; of artifact_bytes only whether it is 0 can be used. */
qd_code qd_retention_each_job(qd_tx *tx, qd_finished_visit visit, void *ctx, qd_error *err);
/* Jobs that have an artifact, the one that finished first first. */
qd_code qd_retention_each_artifact(qd_tx *tx, qd_finished_visit visit, void *ctx, qd_error *err);
/* The artifact's rows; from then on it has none. */
qd_code qd_retention_forget_artifact(qd_tx *tx, const char *job, qd_error *err);
/* Bytes of all artifacts, and whether one job has any. */
qd_code qd_retention_artifact_bytes(qd_tx *tx, uint64_t *out, qd_error *err);
qd_code qd_retention_has_artifact(qd_tx *tx, const char *job, bool *out, qd_error *err);
/* `resolved` of the jobs in one state. */
qd_code qd_retention_each_resolved(qd_tx *tx, const char *state,
                                   qd_code (*visit)(void *ctx, const char *resolved, qd_error *err), void *ctx,
                                   qd_error *err);
/* Removes rows older than that, at most limit; *out says how many. */
qd_code qd_retention_forget_audit(qd_tx *tx, int64_t before_ms, size_t limit, size_t *out, qd_error *err);
qd_code qd_retention_forget_idempotency(qd_tx *tx, int64_t before_ms, size_t limit, size_t *out, qd_error *err);
/* How many those would be. */
qd_code qd_retention_count_old(qd_tx *tx, int64_t audit_before_ms, int64_t idempotency_before_ms, size_t *out_audit,
                               size_t *out_idempotency, qd_error *err);

#endif
