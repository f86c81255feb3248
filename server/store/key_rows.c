/* key_rows.c: see key_rows.h. */
#include "store/key_rows.h"

#include <stdio.h>

#include "store/sql.h"

#define COLUMNS \
    "id, name, sha256, scopes, rate_per_minute, queue_quota, disk_quota, created_ms, expires_ms, revoked_ms, " \
    "last_used_ms"

static int64_t number_of(uint64_t value)
{
    return value > INT64_MAX ? INT64_MAX : (int64_t)value;
}

qd_code qd_key_row_insert(qd_tx *tx, const qd_key_row *row, qd_error *err)
{
    const char *const texts[] = { row->id, row->name, row->sha256, row->scopes };
    const int64_t numbers[] = { number_of(row->rate_per_minute),
                                number_of(row->queue_quota),
                                number_of(row->disk_quota),
                                row->created_ms,
                                row->expires_ms,
                                row->revoked_ms,
                                row->last_used_ms };
    qd_query query = { 0 };
    qd_code code =
        qd_query_open(tx, &query, "INSERT INTO api_key (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", err);
    if (code == QD_OK) {
        for (size_t i = 0; i < QD_LENGTH(texts); i++)
            qd_query_text(&query, (int)i + 1, texts[i]);
        for (size_t i = 0; i < QD_LENGTH(numbers); i++)
            qd_query_number(&query, (int)(QD_LENGTH(texts) + i) + 1, numbers[i]);
        code = qd_query_run(&query, err);
    }
    if (code == QD_ECONFLICT)
        qd_fail(err, QD_ECONFLICT, "there is a key '%s' already; names of revoked keys stay taken", row->name);
    qd_query_close(&query);
    return code;
}

static void read_row(const qd_query *query, qd_key_row *out)
{
    *out = (qd_key_row){ .rate_per_minute = (uint64_t)qd_query_int(query, 4),
                         .queue_quota = (uint64_t)qd_query_int(query, 5),
                         .disk_quota = (uint64_t)qd_query_int(query, 6),
                         .created_ms = qd_query_int(query, 7),
                         .expires_ms = qd_query_int(query, 8),
                         .revoked_ms = qd_query_int(query, 9),
                         .last_used_ms = qd_query_int(query, 10) };
    snprintf(out->id, sizeof out->id, "%s", qd_query_string(query, 0));
    snprintf(out->name, sizeof out->name, "%s", qd_query_string(query, 1));
    snprintf(out->sha256, sizeof out->sha256, "%s", qd_query_string(query, 2));
    snprintf(out->scopes, sizeof out->scopes, "%s", qd_query_string(query, 3));
}

qd_code qd_key_row_read(qd_tx *tx, const char *id_or_name, qd_key_row *out, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(
        tx, &query, "SELECT " COLUMNS " FROM api_key WHERE id = ?1 OR name = ?1 ORDER BY id <> ?1 LIMIT 1", err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, id_or_name);
        code = qd_query_one(&query, err);
    }
    if (code == QD_ENOTFOUND)
        qd_fail(err, QD_ENOTFOUND, "there is no key '%.100s'", id_or_name);
    if (code == QD_OK)
        read_row(&query, out);
    qd_query_close(&query);
    return code;
}

qd_code qd_key_row_each(qd_tx *tx, qd_code (*visit)(void *ctx, const qd_key_row *row, qd_error *err), void *ctx,
                        qd_error *err)
{
    qd_query query = { 0 };
    bool more = true;
    qd_code code = qd_query_open(tx, &query, "SELECT " COLUMNS " FROM api_key ORDER BY id", err);
    while (code == QD_OK && (code = qd_query_step(&query, &more, err)) == QD_OK && more) {
        qd_key_row row;
        read_row(&query, &row);
        code = visit(ctx, &row, err);
    }
    qd_query_close(&query);
    return code;
}

qd_code qd_key_row_revoke(qd_tx *tx, const char *id, int64_t now_ms, bool *out_changed, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code =
        qd_query_open(tx, &query, "UPDATE api_key SET revoked_ms = ?2 WHERE id = ?1 AND revoked_ms = 0", err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, id);
        qd_query_number(&query, 2, now_ms);
        code = qd_query_run(&query, err);
    }
    if (code == QD_OK)
        *out_changed = qd_query_changes(&query) == 1;
    qd_query_close(&query);
    return code;
}

qd_code qd_key_row_touch(qd_tx *tx, const char *id, int64_t used_ms, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code =
        qd_query_open(tx, &query, "UPDATE api_key SET last_used_ms = max(last_used_ms, ?2) WHERE id = ?1", err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, id);
        qd_query_number(&query, 2, used_ms);
        code = qd_query_run(&query, err);
    }
    qd_query_close(&query);
    return code;
}
