/* delivery_rows.c: see delivery_rows.h. */
#include "store/delivery_rows.h"

#include <stdio.h>
#include <stdlib.h>

#include "store/sql.h"

#define COLUMNS "id, job, kind, state, url, host, body, tries, next_ms, created_ms, finished_ms"

void qd_delivery_row_fini(qd_delivery_row *row)
{
    free(row->url);
    free(row->host);
    free(row->body);
    *row = (qd_delivery_row){ 0 };
}

static qd_code read_row(const qd_query *query, qd_delivery_row *out, qd_error *err)
{
    qd_delivery_row row = { .tries = (unsigned)qd_query_int(query, 7),
                            .next_ms = qd_query_int(query, 8),
                            .created_ms = qd_query_int(query, 9),
                            .finished_ms = qd_query_int(query, 10) };
    snprintf(row.id, sizeof row.id, "%s", qd_query_string(query, 0));
    snprintf(row.job, sizeof row.job, "%s", qd_query_string(query, 1));
    snprintf(row.kind, sizeof row.kind, "%s", qd_query_string(query, 2));
    snprintf(row.state, sizeof row.state, "%s", qd_query_string(query, 3));
    qd_code code = qd_query_copy(query, 4, &row.url, err);
    if (code == QD_OK)
        code = qd_query_copy(query, 5, &row.host, err);
    if (code == QD_OK)
        code = qd_query_copy(query, 6, &row.body, err);
    if (code == QD_OK)
        *out = row;
    else
        qd_delivery_row_fini(&row);
    return code;
}

qd_code qd_delivery_row_insert(qd_tx *tx, const qd_delivery_row *row, qd_error *err)
{
    const char *const texts[] = { row->id, row->job, row->kind, row->state, row->url, row->host, row->body };
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query,
                                 "INSERT INTO delivery (id, job, kind, state, url, host, body, next_ms, created_ms) "
                                 "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                                 err);
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(texts); i++)
        qd_query_text(&query, (int)i + 1, texts[i]);
    if (code == QD_OK) {
        qd_query_number(&query, 8, row->next_ms);
        qd_query_number(&query, 9, row->created_ms);
        code = qd_query_run(&query, err);
    }
    qd_query_close(&query);
    return code;
}

qd_code qd_delivery_row_read(qd_tx *tx, const char *id, qd_delivery_row *out, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query, "SELECT " COLUMNS " FROM delivery WHERE id = ?", err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, id);
        code = qd_query_one(&query, err);
    }
    if (code == QD_ENOTFOUND)
        qd_fail(err, QD_ENOTFOUND, "there is no delivery '%.40s'", id);
    if (code == QD_OK)
        code = read_row(&query, out, err);
    qd_query_close(&query);
    return code;
}

qd_code qd_delivery_row_each(qd_tx *tx, const char *job,
                             qd_code (*take)(void *ctx, qd_delivery_row *row, qd_error *err), void *ctx, qd_error *err)
{
    qd_query query = { 0 };
    bool row = true;
    qd_code code =
        qd_query_open(tx, &query, "SELECT " COLUMNS " FROM delivery WHERE job = ? ORDER BY created_ms, id", err);
    if (code == QD_OK)
        qd_query_text(&query, 1, job);
    while (code == QD_OK && (code = qd_query_step(&query, &row, err)) == QD_OK && row) {
        qd_delivery_row found = { 0 };
        code = read_row(&query, &found, err);
        if (code == QD_OK)
            code = take(ctx, &found, err);
    }
    qd_query_close(&query);
    return code;
}

qd_code qd_delivery_row_count_pending(qd_tx *tx, const char *kind, uint64_t *out, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query, "SELECT count(*) FROM delivery WHERE kind = ? AND state = 'pending'", err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, kind);
        code = qd_query_one(&query, err);
    }
    if (code == QD_OK)
        *out = (uint64_t)qd_query_int(&query, 0);
    qd_query_close(&query);
    return code;
}

/* ---- what is due ---- */

static void bind_search(qd_query *query, const qd_delivery_search *search)
{
    qd_query_text(query, 1, search->kind);
    qd_query_text(query, 2, search->busy_ids);
    qd_query_text(query, 3, search->busy_hosts);
}

#define FREE_ONES \
    "FROM delivery WHERE state = 'pending' AND kind = ?1 AND id NOT IN (SELECT value FROM json_each(?2)) " \
    "AND host NOT IN (SELECT value FROM json_each(?3)) "

qd_code qd_delivery_row_due(qd_tx *tx, const qd_delivery_search *search, qd_delivery_row *out, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code =
        qd_query_open(tx, &query, "SELECT " COLUMNS " " FREE_ONES "AND next_ms <= ?4 ORDER BY next_ms LIMIT 1", err);
    if (code == QD_OK) {
        bind_search(&query, search);
        qd_query_number(&query, 4, search->now_ms);
        code = qd_query_one(&query, err);
    }
    if (code == QD_OK)
        code = read_row(&query, out, err);
    qd_query_close(&query);
    return code;
}

qd_code qd_delivery_row_next(qd_tx *tx, const qd_delivery_search *search, int64_t *out_ms, qd_error *err)
{
    qd_query query = { 0 };
    bool row = false;
    *out_ms = INT64_MAX;
    qd_code code = qd_query_open(tx, &query, "SELECT next_ms " FREE_ONES "ORDER BY next_ms LIMIT 1", err);
    if (code == QD_OK) {
        bind_search(&query, search);
        code = qd_query_step(&query, &row, err);
    }
    if (code == QD_OK && row)
        *out_ms = qd_query_int(&query, 0);
    qd_query_close(&query);
    return code;
}

/* ---- tries ---- */

static qd_code update_tried(qd_tx *tx, const char *id, const qd_delivery_try *attempt, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(
        tx, &query, "UPDATE delivery SET tries = tries + 1, state = ?2, next_ms = ?3, finished_ms = ?4 WHERE id = ?1",
        err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, id);
        qd_query_text(&query, 2, attempt->state);
        qd_query_number(&query, 3, attempt->next_ms);
        qd_query_number(&query, 4, attempt->finished_ms);
        code = qd_query_run(&query, err);
    }
    if (code == QD_OK && qd_query_changes(&query) != 1)
        code = qd_fail(err, QD_ENOTFOUND, "there is no delivery '%.40s'", id);
    qd_query_close(&query);
    return code;
}

qd_code qd_delivery_row_tried(qd_tx *tx, const char *id, const qd_delivery_try *attempt, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = update_tried(tx, id, attempt, err);
    if (code == QD_OK)
        code =
            qd_query_open(tx, &query,
                          "INSERT INTO delivery_attempt (delivery, number, time_ms, status, seconds, detail) VALUES "
                          "(?1, (SELECT coalesce(max(number), 0) + 1 FROM delivery_attempt WHERE delivery = ?1), ?2, "
                          "?3, ?4 / 1000.0, ?5)",
                          err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, id);
        qd_query_number(&query, 2, attempt->time_ms);
        qd_query_number(&query, 3, attempt->status);
        qd_query_number(&query, 4, (int64_t)(attempt->seconds * 1000));
        qd_query_text(&query, 5, attempt->detail);
        code = qd_query_run(&query, err);
    }
    qd_query_close(&query);
    return code;
}

qd_code qd_delivery_row_renew(qd_tx *tx, const char *id, const char *state, int64_t now_ms, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(
        tx, &query, "UPDATE delivery SET state = ?2, tries = 0, next_ms = ?3, finished_ms = 0 WHERE id = ?1", err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, id);
        qd_query_text(&query, 2, state);
        qd_query_number(&query, 3, now_ms);
        code = qd_query_run(&query, err);
    }
    qd_query_close(&query);
    return code;
}

qd_code qd_delivery_attempt_each(qd_tx *tx, const char *id,
                                 qd_code (*visit)(void *ctx, unsigned number, const qd_delivery_try *attempt,
                                                  qd_error *err),
                                 void *ctx, qd_error *err)
{
    qd_query query = { 0 };
    bool row = true;
    qd_code code = qd_query_open(tx, &query,
                                 "SELECT number, time_ms, status, CAST(round(seconds * 1000) AS INTEGER), detail "
                                 "FROM delivery_attempt WHERE delivery = ? ORDER BY number",
                                 err);
    if (code == QD_OK)
        qd_query_text(&query, 1, id);
    while (code == QD_OK && (code = qd_query_step(&query, &row, err)) == QD_OK && row) {
        const qd_delivery_try attempt = { .time_ms = qd_query_int(&query, 1),
                                          .status = (long)qd_query_int(&query, 2),
                                          .seconds = (double)qd_query_int(&query, 3) / 1000,
                                          .detail = qd_query_string(&query, 4) };
        code = visit(ctx, (unsigned)qd_query_int(&query, 0), &attempt, err);
    }
    qd_query_close(&query);
    return code;
}

/* ---- files of an upload ---- */

qd_code qd_delivery_file_each(qd_tx *tx, const char *id,
                              qd_code (*visit)(void *ctx, const qd_delivery_file *file, qd_error *err), void *ctx,
                              qd_error *err)
{
    qd_query query = { 0 };
    bool row = true;
    qd_code code = qd_query_open(
        tx, &query,
        "SELECT a.path, a.sha256, a.size, coalesce(f.parts, ''), coalesce(f.finished_ms, 0) FROM delivery d "
        "JOIN artifact a ON a.job = d.job LEFT JOIN delivery_file f ON f.delivery = d.id AND f.path = a.path "
        "WHERE d.id = ? ORDER BY a.path = 'manifest.json', a.path LIKE '%/manifest.json', a.path",
        err);
    if (code == QD_OK)
        qd_query_text(&query, 1, id);
    while (code == QD_OK && (code = qd_query_step(&query, &row, err)) == QD_OK && row) {
        const qd_delivery_file file = { .path = qd_query_string(&query, 0),
                                        .sha256 = qd_query_string(&query, 1),
                                        .size = (uint64_t)qd_query_int(&query, 2),
                                        .parts = qd_query_string(&query, 3),
                                        .finished_ms = qd_query_int(&query, 4) };
        code = visit(ctx, &file, err);
    }
    qd_query_close(&query);
    return code;
}

qd_code qd_delivery_file_put(qd_tx *tx, const char *id, const char *path, const char *parts, int64_t finished_ms,
                             qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(
        tx, &query, "INSERT OR REPLACE INTO delivery_file (delivery, path, parts, finished_ms) VALUES (?, ?, ?, ?)",
        err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, id);
        qd_query_text(&query, 2, path);
        qd_query_text(&query, 3, parts);
        qd_query_number(&query, 4, finished_ms);
        code = qd_query_run(&query, err);
    }
    qd_query_close(&query);
    return code;
}

/* ---- the secret ---- */

qd_code qd_webhook_secret_put(qd_tx *tx, const char *job, const char *secret, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query, "UPDATE job SET webhook_secret = ?2 WHERE id = ?1", err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, job);
        qd_query_text(&query, 2, secret);
        code = qd_query_run(&query, err);
    }
    qd_query_close(&query);
    return code;
}

qd_code qd_webhook_secret_read(qd_tx *tx, const char *job, char **out, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query, "SELECT webhook_secret FROM job WHERE id = ?", err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, job);
        code = qd_query_one(&query, err);
    }
    if (code == QD_OK)
        code = qd_query_copy(&query, 0, out, err);
    qd_query_close(&query);
    return code;
}

qd_code qd_webhook_secret_forget(qd_tx *tx, const char *job, const char *last, const char *done, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query,
                                 "UPDATE job SET webhook_secret = NULL WHERE id = ?1 AND state = ?2 AND NOT EXISTS "
                                 "(SELECT 1 FROM delivery WHERE job = ?1 AND kind = 'webhook' AND state <> ?3)",
                                 err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, job);
        qd_query_text(&query, 2, last);
        qd_query_text(&query, 3, done);
        code = qd_query_run(&query, err);
    }
    qd_query_close(&query);
    return code;
}
