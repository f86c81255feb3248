/* retention_rows.c: see retention_rows.h. */
#include "store/retention_rows.h"

#include "store/sql.h"

/* What is still to be sent somewhere needs its job. */
#define NOTHING_PENDING "NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.job = job.id AND delivery.state = 'pending')"

static qd_code visit_finished(qd_query *query, qd_finished_visit visit, void *ctx, qd_error *err)
{
    bool row = false;
    qd_code code = qd_query_step(query, &row, err);
    while (code == QD_OK && row) {
        const qd_finished_row finished = { .id = qd_query_string(query, 0),
                                           .state = qd_query_string(query, 1),
                                           .finished_ms = qd_query_int(query, 2),
                                           .artifact_bytes = (uint64_t)qd_query_int(query, 3) };
        code = visit(ctx, &finished, err);
        if (code == QD_OK)
            code = qd_query_step(query, &row, err);
    }
    return code;
}

qd_code qd_retention_each_finished(qd_tx *tx, int64_t before_ms, size_t limit, qd_finished_visit visit, void *ctx,
                                   qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(
        tx, &query,
        "SELECT id, state, finished_ms, (SELECT coalesce(sum(size), 0) FROM artifact WHERE job = job.id) FROM job "
        "WHERE finished_ms > 0 AND finished_ms < ? AND " NOTHING_PENDING " ORDER BY finished_ms LIMIT ?",
        err);
    if (code == QD_OK) {
        qd_query_number(&query, 1, before_ms);
        qd_query_number(&query, 2, (int64_t)limit);
        code = visit_finished(&query, visit, ctx, err);
    }
    qd_query_close(&query);
    return code;
}

qd_code qd_retention_each_job(qd_tx *tx, qd_finished_visit visit, void *ctx, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query,
                                 "SELECT id, state, finished_ms, EXISTS (SELECT 1 FROM artifact WHERE job = job.id) "
                                 "FROM job ORDER BY id",
                                 err);
    if (code == QD_OK)
        code = visit_finished(&query, visit, ctx, err);
    qd_query_close(&query);
    return code;
}

qd_code qd_retention_each_artifact(qd_tx *tx, qd_finished_visit visit, void *ctx, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query,
                                 "SELECT job.id, job.state, job.finished_ms, sum(artifact.size) FROM artifact "
                                 "JOIN job ON job.id = artifact.job WHERE " NOTHING_PENDING
                                 " GROUP BY job.id ORDER BY job.finished_ms, job.id",
                                 err);
    if (code == QD_OK)
        code = visit_finished(&query, visit, ctx, err);
    qd_query_close(&query);
    return code;
}

qd_code qd_retention_forget_artifact(qd_tx *tx, const char *job, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query, "DELETE FROM artifact WHERE job = ?", err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, job);
        code = qd_query_run(&query, err);
    }
    qd_query_close(&query);
    if (code == QD_OK) /* what a client holds of the job is no longer how it is */
        code = qd_query_open(tx, &query, "UPDATE job SET version = version + 1 WHERE id = ?", err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, job);
        code = qd_query_run(&query, err);
    }
    qd_query_close(&query);
    return code;
}

qd_code qd_retention_artifact_bytes(qd_tx *tx, uint64_t *out, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query, "SELECT coalesce(sum(size), 0) FROM artifact", err);
    if (code == QD_OK)
        code = qd_query_one(&query, err);
    if (code == QD_OK)
        *out = (uint64_t)qd_query_int(&query, 0);
    qd_query_close(&query);
    return code;
}

qd_code qd_retention_has_artifact(qd_tx *tx, const char *job, bool *out, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query, "SELECT EXISTS (SELECT 1 FROM artifact WHERE job = ?)", err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, job);
        code = qd_query_one(&query, err);
    }
    if (code == QD_OK)
        *out = qd_query_int(&query, 0) != 0;
    qd_query_close(&query);
    return code;
}

qd_code qd_retention_each_resolved(qd_tx *tx, const char *state,
                                   qd_code (*visit)(void *ctx, const char *resolved, qd_error *err), void *ctx,
                                   qd_error *err)
{
    qd_query query = { 0 };
    bool row = false;
    qd_code code = qd_query_open(tx, &query, "SELECT resolved FROM job WHERE state = ?", err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, state);
        code = qd_query_step(&query, &row, err);
    }
    while (code == QD_OK && row) {
        code = visit(ctx, qd_query_string(&query, 0), err);
        if (code == QD_OK)
            code = qd_query_step(&query, &row, err);
    }
    qd_query_close(&query);
    return code;
}

static qd_code forget(qd_tx *tx, const char *sql, int64_t before_ms, size_t limit, size_t *out, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query, sql, err);
    if (code == QD_OK) {
        qd_query_number(&query, 1, before_ms);
        qd_query_number(&query, 2, (int64_t)limit);
        code = qd_query_run(&query, err);
    }
    if (code == QD_OK)
        *out = (size_t)qd_query_changes(&query);
    qd_query_close(&query);
    return code;
}

qd_code qd_retention_forget_audit(qd_tx *tx, int64_t before_ms, size_t limit, size_t *out, qd_error *err)
{
    return forget(tx, "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE time_ms < ? ORDER BY time_ms LIMIT ?)",
                  before_ms, limit, out, err);
}

qd_code qd_retention_forget_idempotency(qd_tx *tx, int64_t before_ms, size_t limit, size_t *out, qd_error *err)
{
    return forget(tx,
                  "DELETE FROM idempotency WHERE (owner, key) IN (SELECT owner, key FROM idempotency "
                  "WHERE created_ms < ? ORDER BY created_ms LIMIT ?)",
                  before_ms, limit, out, err);
}

qd_code qd_retention_count_old(qd_tx *tx, int64_t audit_before_ms, int64_t idempotency_before_ms, size_t *out_audit,
                               size_t *out_idempotency, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query,
                                 "SELECT (SELECT count(*) FROM audit WHERE time_ms < ?), "
                                 "(SELECT count(*) FROM idempotency WHERE created_ms < ?)",
                                 err);
    if (code == QD_OK) {
        qd_query_number(&query, 1, audit_before_ms);
        qd_query_number(&query, 2, idempotency_before_ms);
        code = qd_query_one(&query, err);
    }
    if (code == QD_OK) {
        *out_audit = (size_t)qd_query_int(&query, 0);
        *out_idempotency = (size_t)qd_query_int(&query, 1);
    }
    qd_query_close(&query);
    return code;
}
