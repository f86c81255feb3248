/* idempotency_rows.c: see idempotency_rows.h. */
#include "store/idempotency_rows.h"

#include <stdlib.h>

#include "store/sql.h"

void qd_idempotency_row_fini(qd_idempotency_row *row)
{
    free(row->body_sha256);
    free(row->job);
    free(row->response);
    *row = (qd_idempotency_row){ 0 };
}

static qd_code read_row(const qd_query *query, qd_idempotency_row *out, qd_error *err)
{
    qd_idempotency_row row = { 0 };
    char **texts[] = { &row.body_sha256, &row.job, &row.response };
    qd_code code = QD_OK;
    for (int i = 0; code == QD_OK && i < (int)QD_LENGTH(texts); i++)
        code = qd_query_copy(query, i, texts[i], err);
    if (code == QD_OK)
        *out = row;
    else
        qd_idempotency_row_fini(&row);
    return code;
}

qd_code qd_idempotency_row_find(qd_tx *tx, const char *owner, const char *key, int64_t since_ms,
                                qd_idempotency_row *out, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query,
                                 "SELECT body_sha256, job, response FROM idempotency WHERE owner = ? AND key = ? AND "
                                 "created_ms > ?",
                                 err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, owner);
        qd_query_text(&query, 2, key);
        qd_query_number(&query, 3, since_ms);
        code = qd_query_one(&query, err);
    }
    if (code == QD_OK)
        code = read_row(&query, out, err);
    qd_query_close(&query);
    return code;
}

qd_code qd_idempotency_row_put(qd_tx *tx, const char *owner, const char *key, const qd_idempotency_row *row,
                               int64_t now_ms, qd_error *err)
{
    const char *const texts[] = { owner, key, row->body_sha256, row->job, row->response };
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query,
                                 "INSERT OR REPLACE INTO idempotency (owner, key, body_sha256, job, response, "
                                 "created_ms) VALUES (?, ?, ?, ?, ?, ?)",
                                 err);
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(texts); i++)
        qd_query_text(&query, (int)i + 1, texts[i]);
    if (code == QD_OK) {
        qd_query_number(&query, QD_LENGTH(texts) + 1, now_ms);
        code = qd_query_run(&query, err);
    }
    qd_query_close(&query);
    return code;
}
