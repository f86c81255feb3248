/* layer_rows.c: see layer_rows.h. */
#include "store/layer_rows.h"

#include "store/sql.h"

qd_code qd_layer_row_put(qd_tx *tx, const char *job, uint64_t number, const char *name, const char *record,
                         qd_layer_put *out, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(
        tx, &query,
        "INSERT INTO layer (job, number, name, record) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (job, number) DO UPDATE SET "
        "name = excluded.name, record = excluded.record WHERE record <> excluded.record",
        err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, job);
        qd_query_number(&query, 2, (int64_t)number);
        qd_query_text(&query, 3, name);
        qd_query_text(&query, 4, record);
        code = qd_query_run(&query, err);
    }
    if (code == QD_OK)
        *out = qd_query_changes(&query) > 0 ? QD_LAYER_NEW : QD_LAYER_SAME;
    qd_query_close(&query);
    return code;
}

qd_code qd_layer_row_each(qd_tx *tx, const char *job, qd_code (*visit)(void *ctx, const char *record, qd_error *err),
                          void *ctx, qd_error *err)
{
    qd_query query = { 0 };
    bool row = true;
    qd_code code = qd_query_open(tx, &query, "SELECT record FROM layer WHERE job = ? ORDER BY number", err);
    if (code == QD_OK)
        qd_query_text(&query, 1, job);
    while (code == QD_OK && (code = qd_query_step(&query, &row, err)) == QD_OK && row)
        code = visit(ctx, qd_query_string(&query, 0), err);
    qd_query_close(&query);
    return code;
}

qd_code qd_layer_row_clear(qd_tx *tx, const char *job, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query, "DELETE FROM layer WHERE job = ?", err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, job);
        code = qd_query_run(&query, err);
    }
    qd_query_close(&query);
    return code;
}
