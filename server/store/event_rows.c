/* event_rows.c: see event_rows.h. */
#include "store/event_rows.h"

#include "store/sql.h"

static qd_code next_id(qd_tx *tx, const char *job, uint64_t *out, qd_error *err)
{
    qd_query query = { 0 };
    bool more = true;
    qd_code code = qd_query_open(
        tx, &query,
        "UPDATE job SET last_event = last_event + 1, version = version + 1 WHERE id = ? RETURNING last_event", err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, job);
        code = qd_query_one(&query, err);
    }
    if (code == QD_ENOTFOUND)
        qd_fail(err, QD_ENOTFOUND, "there is no job '%.40s'", job);
    if (code == QD_OK) {
        *out = (uint64_t)qd_query_int(&query, 0);
        code = qd_query_step(&query, &more, err);
    }
    qd_query_close(&query);
    return code;
}

qd_code qd_event_row_add(qd_tx *tx, const char *job, const char *type, const char *data, int64_t now_ms,
                         uint64_t *out_id, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = next_id(tx, job, out_id, err);
    if (code == QD_OK)
        code =
            qd_query_open(tx, &query, "INSERT INTO event (job, id, time_ms, type, data) VALUES (?, ?, ?, ?, ?)", err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, job);
        qd_query_number(&query, 2, (int64_t)*out_id);
        qd_query_number(&query, 3, now_ms);
        qd_query_text(&query, 4, type);
        qd_query_text(&query, 5, data);
        code = qd_query_run(&query, err);
    }
    qd_query_close(&query);
    return code;
}

qd_code qd_event_row_each(qd_tx *tx, const char *job, uint64_t after, size_t limit,
                          qd_code (*visit)(void *ctx, const qd_event_row *row, qd_error *err), void *ctx, qd_error *err)
{
    qd_query query = { 0 };
    bool row = true;
    qd_code code = qd_query_open(
        tx, &query, "SELECT id, time_ms, type, data FROM event WHERE job = ? AND id > ? ORDER BY id LIMIT ?", err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, job);
        qd_query_number(&query, 2, after > INT64_MAX ? INT64_MAX : (int64_t)after);
        qd_query_number(&query, 3, limit > INT64_MAX ? INT64_MAX : (int64_t)limit);
    }
    while (code == QD_OK && (code = qd_query_step(&query, &row, err)) == QD_OK && row) {
        const qd_event_row found = { .id = (uint64_t)qd_query_int(&query, 0),
                                     .time_ms = qd_query_int(&query, 1),
                                     .type = qd_query_string(&query, 2),
                                     .data = qd_query_string(&query, 3) };
        code = visit(ctx, &found, err);
    }
    qd_query_close(&query);
    return code;
}
