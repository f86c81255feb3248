/* artifact_rows.c: see artifact_rows.h. */
#include "store/artifact_rows.h"

#include <stdio.h>

#include "store/sql.h"

qd_code qd_artifact_row_put(qd_tx *tx, const char *job, const char *path, uint64_t size, const char *sha256,
                            qd_error *err)
{
    qd_query query = { 0 };
    qd_code code =
        qd_query_open(tx, &query, "INSERT OR REPLACE INTO artifact (job, path, size, sha256) VALUES (?, ?, ?, ?)", err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, job);
        qd_query_text(&query, 2, path);
        qd_query_number(&query, 3, (int64_t)size);
        qd_query_text(&query, 4, sha256);
        code = qd_query_run(&query, err);
    }
    qd_query_close(&query);
    return code;
}

qd_code qd_artifact_row_find(qd_tx *tx, const char *job, const char *path, uint64_t *out_size, char *out_sha256,
                             qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query, "SELECT size, sha256 FROM artifact WHERE job = ? AND path = ?", err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, job);
        qd_query_text(&query, 2, path);
        code = qd_query_one(&query, err);
    }
    if (code == QD_ENOTFOUND)
        qd_fail(err, QD_ENOTFOUND, "the artifact has no file '%.200s'", path);
    if (code == QD_OK) {
        *out_size = (uint64_t)qd_query_int(&query, 0);
        snprintf(out_sha256, 65, "%s", qd_query_string(&query, 1));
    }
    qd_query_close(&query);
    return code;
}

qd_code qd_artifact_row_each(qd_tx *tx, const char *job,
                             qd_code (*visit)(void *ctx, const char *path, uint64_t size, const char *sha256,
                                              qd_error *err),
                             void *ctx, qd_error *err)
{
    qd_query query = { 0 };
    bool row = true;
    qd_code code =
        qd_query_open(tx, &query, "SELECT path, size, sha256 FROM artifact WHERE job = ? ORDER BY path", err);
    if (code == QD_OK)
        qd_query_text(&query, 1, job);
    while (code == QD_OK && (code = qd_query_step(&query, &row, err)) == QD_OK && row)
        code =
            visit(ctx, qd_query_string(&query, 0), (uint64_t)qd_query_int(&query, 1), qd_query_string(&query, 2), err);
    qd_query_close(&query);
    return code;
}

qd_code qd_artifact_row_bytes(qd_tx *tx, const char *owner, uint64_t *out, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query,
                                 "SELECT coalesce(sum(size), 0) FROM job JOIN artifact ON artifact.job = job.id "
                                 "WHERE job.owner = ?",
                                 err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, owner);
        code = qd_query_one(&query, err);
    }
    if (code == QD_OK)
        *out = (uint64_t)qd_query_int(&query, 0);
    qd_query_close(&query);
    return code;
}
