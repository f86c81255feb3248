/* job_rows.c: see job_rows.h. */
#include "store/job_rows.h"

#include <stdio.h>
#include <stdlib.h>

#include "store/sql.h"

#define COLUMNS \
    "id, state, name, tags, request, recipe, resolved, progress, result, problem, secret, created_ms, started_ms, " \
    "finished_ms, attempt, resumed, crashes, version, last_event, priority, owner, forecast, deaths, request_id"

void qd_job_row_fini(qd_job_row *row)
{
    char *texts[] = { row->name,     row->tags,   row->request, row->recipe, row->resolved,
                      row->progress, row->result, row->problem, row->secret, row->forecast };
    for (size_t i = 0; i < QD_LENGTH(texts); i++)
        free(texts[i]);
    *row = (qd_job_row){ 0 };
}

/* The row a query stands on, columns in the order of COLUMNS. */
static qd_code read_row(const qd_query *query, qd_job_row *out, qd_error *err)
{
    qd_job_row row = { 0 };
    char **texts[] = { &row.name,     &row.tags,   &row.request, &row.recipe, &row.resolved,
                       &row.progress, &row.result, &row.problem, &row.secret };
    qd_code code = QD_OK;
    snprintf(row.id, sizeof row.id, "%s", qd_query_string(query, 0));
    snprintf(row.state, sizeof row.state, "%s", qd_query_string(query, 1));
    for (int i = 0; code == QD_OK && i < (int)QD_LENGTH(texts); i++)
        code = qd_query_copy(query, 2 + i, texts[i], err);
    row.created_ms = qd_query_int(query, 11);
    row.started_ms = qd_query_int(query, 12);
    row.finished_ms = qd_query_int(query, 13);
    row.attempt = (unsigned)qd_query_int(query, 14);
    row.resumed = (unsigned)qd_query_int(query, 15);
    row.crashes = (unsigned)qd_query_int(query, 16);
    row.version = (uint64_t)qd_query_int(query, 17);
    row.last_event = (uint64_t)qd_query_int(query, 18);
    row.priority = (unsigned)qd_query_int(query, 19);
    snprintf(row.owner, sizeof row.owner, "%s", qd_query_string(query, 20));
    if (code == QD_OK)
        code = qd_query_copy(query, 21, &row.forecast, err);
    row.deaths = (unsigned)qd_query_int(query, 22);
    snprintf(row.request_id, sizeof row.request_id, "%s", qd_query_string(query, 23));
    if (code == QD_OK)
        *out = row;
    else
        qd_job_row_fini(&row);
    return code;
}

qd_code qd_job_row_insert(qd_tx *tx, const qd_job_row *row, qd_error *err)
{
    const char *const texts[] = { row->id,     row->state,    row->name,   row->tags, row->request,
                                  row->recipe, row->resolved, row->secret, row->owner };
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query,
                                 "INSERT INTO job (id, state, name, tags, request, recipe, resolved, secret, owner, "
                                 "created_ms, priority) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                                 err);
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(texts); i++)
        qd_query_text(&query, (int)i + 1, texts[i]);
    if (code == QD_OK) {
        qd_query_number(&query, QD_LENGTH(texts) + 1, row->created_ms);
        qd_query_number(&query, QD_LENGTH(texts) + 2, row->priority);
        code = qd_query_run(&query, err);
    }
    qd_query_close(&query);
    const char *const tags[] = { row->id, row->tags };
    return code == QD_OK
               ? qd_query_run_texts(tx, "INSERT INTO tag (job, key, value) SELECT ?1, key, value FROM json_each(?2)",
                                    tags, 2, err)
               : code;
}

qd_code qd_job_row_read(qd_tx *tx, const char *id, qd_job_row *out, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query, "SELECT " COLUMNS " FROM job WHERE id = ?", err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, id);
        code = qd_query_one(&query, err);
    }
    if (code == QD_ENOTFOUND)
        qd_fail(err, QD_ENOTFOUND, "there is no job '%.40s'", id);
    if (code == QD_OK)
        code = read_row(&query, out, err);
    qd_query_close(&query);
    return code;
}

qd_code qd_job_row_delete(qd_tx *tx, const char *id, qd_error *err)
{
    return qd_query_run_texts(tx, "DELETE FROM job WHERE id = ?", &id, 1, err);
}

/* Owners who have a job of the highest priority waiting are found by steps through the index, one each, however many
 * jobs wait. States are written out, so that the partial index is used. */
#define NEXT_IN_TURN \
    "WITH RECURSIVE top (level) AS (SELECT priority FROM job INDEXED BY job_queue WHERE state = 'queued' ORDER BY " \
    "priority DESC LIMIT 1), " \
    "candidate (owner) AS (SELECT (SELECT min(owner) FROM job WHERE state = 'queued' AND priority = level) FROM top " \
    "UNION ALL SELECT (SELECT min(j.owner) FROM job AS j WHERE j.state = 'queued' AND j.priority = level AND " \
    "j.owner > candidate.owner) FROM candidate, top WHERE candidate.owner IS NOT NULL), " \
    "turn (owner) AS (SELECT c.owner FROM candidate AS c WHERE c.owner IS NOT NULL ORDER BY " \
    "(SELECT count(*) FROM job AS r WHERE r.owner = c.owner AND r.state IN ('downloading', 'quantizing', " \
    "'evaluating', 'exporting', 'verifying')), " \
    "(SELECT max(s.started_ms) FROM job AS s WHERE s.owner = c.owner), " \
    "(SELECT min(o.id) FROM job AS o WHERE o.state = 'queued' AND o.priority = (SELECT level FROM top) AND " \
    "o.owner = c.owner) LIMIT 1) " \
    "SELECT min(id) FROM job WHERE state = 'queued' AND priority = (SELECT level FROM top) AND " \
    "owner = (SELECT owner FROM turn)"

qd_code qd_job_row_claim(qd_tx *tx, const char *from, const char *to, int64_t now_ms, qd_job_row *out, qd_error *err)
{
    qd_query query = { 0 };
    bool more = true;
    qd_code code = qd_query_open(tx, &query,
                                 "UPDATE job SET state = ?2, attempt = attempt + 1, version = version + 1, "
                                 "started_ms = CASE started_ms WHEN 0 THEN ?3 ELSE started_ms END "
                                 "WHERE id = (" NEXT_IN_TURN ") AND state = ?1 RETURNING " COLUMNS,
                                 err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, from);
        qd_query_text(&query, 2, to);
        qd_query_number(&query, 3, now_ms);
        code = qd_query_one(&query, err);
    }
    if (code == QD_OK)
        code = read_row(&query, out, err);
    if (code == QD_OK && (code = qd_query_step(&query, &more, err)) != QD_OK) /* not done before its SQLITE_DONE */
        qd_job_row_fini(out);
    qd_query_close(&query);
    return code;
}

qd_code qd_job_row_move(qd_tx *tx, const char *id, unsigned attempt, const char *from, const char *to, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query,
                                 "UPDATE job SET state = ?4, version = version + 1 "
                                 "WHERE id = ?1 AND attempt = ?2 AND state = ?3",
                                 err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, id);
        qd_query_number(&query, 2, attempt);
        qd_query_text(&query, 3, from);
        qd_query_text(&query, 4, to);
        code = qd_query_run(&query, err);
    }
    if (code == QD_OK && qd_query_changes(&query) != 1)
        code = qd_fail(err, QD_ECONFLICT, "job '%s' is no longer '%s' at attempt %u", id, from, attempt);
    qd_query_close(&query);
    return code;
}

qd_code qd_job_row_fence(qd_tx *tx, const char *id, unsigned attempt, const char *state, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query, "SELECT 1 FROM job WHERE id = ?1 AND attempt = ?2 AND state = ?3", err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, id);
        qd_query_number(&query, 2, attempt);
        qd_query_text(&query, 3, state);
        code = qd_query_one(&query, err);
    }
    if (code == QD_ENOTFOUND)
        code = qd_fail(err, QD_ECONFLICT, "job '%s' is no longer '%s' at attempt %u", id, state, attempt);
    qd_query_close(&query);
    return code;
}

qd_code qd_job_row_finish(qd_tx *tx, const char *id, const char *result, const char *problem, int64_t now_ms,
                          qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(
        tx, &query, "UPDATE job SET result = ?2, problem = ?3, finished_ms = ?4, version = version + 1 WHERE id = ?1",
        err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, id);
        qd_query_text(&query, 2, result);
        qd_query_text(&query, 3, problem);
        qd_query_number(&query, 4, now_ms);
        code = qd_query_run(&query, err);
    }
    qd_query_close(&query);
    return code;
}

qd_code qd_job_row_set_progress(qd_tx *tx, const char *id, const char *progress, qd_error *err)
{
    const char *const texts[] = { id, progress };
    return qd_query_run_texts(tx, "UPDATE job SET progress = ?2, version = version + 1 WHERE id = ?1", texts, 2, err);
}

qd_code qd_job_row_set_resolved(qd_tx *tx, const char *id, const char *resolved, qd_error *err)
{
    const char *const texts[] = { id, resolved };
    return qd_query_run_texts(tx, "UPDATE job SET resolved = ?2, version = version + 1 WHERE id = ?1", texts, 2, err);
}

qd_code qd_job_row_set_forecast(qd_tx *tx, const char *id, const char *forecast, qd_error *err)
{
    const char *const texts[] = { id, forecast };
    return qd_query_run_texts(tx, "UPDATE job SET forecast = ?2, version = version + 1 WHERE id = ?1", texts, 2, err);
}

/* In thousandths, as whole numbers; what a job of another version has not is left out. */
qd_code qd_job_row_forecasts(qd_tx *tx, const char *state, size_t limit,
                             void (*take)(void *ctx, double ratio, const char *pace), void *ctx, qd_error *err)
{
    static const double thousand = 1000.0;
    qd_query query = { 0 };
    bool row = true;
    qd_code code = qd_query_open(
        tx, &query,
        "SELECT CAST(1000.0 * factor * (quantizing + evaluating + exporting + verifying) / total AS INTEGER), pace "
        "FROM "
        "(SELECT forecast ->> '$.factor' AS factor, forecast ->> '$.seconds.total' AS total, "
        "result ->> '$.seconds.quantizing' AS quantizing, coalesce(result ->> '$.seconds.evaluating', 0) AS "
        "evaluating, "
        "coalesce(result ->> '$.seconds.exporting', 0) AS exporting, "
        "coalesce(result ->> '$.seconds.verifying', 0) AS verifying, "
        "coalesce(result -> '$.pace', 'null') AS pace "
        "FROM (SELECT forecast, result FROM job WHERE state = ?1 ORDER BY id DESC LIMIT ?2) "
        "WHERE forecast IS NOT NULL AND result IS NOT NULL AND coalesce(result ->> '$.resumed_layers', 0) = 0) "
        "WHERE total > 0 AND factor > 0 AND quantizing > 0",
        err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, state);
        qd_query_number(&query, 2, (int64_t)limit);
    }
    while (code == QD_OK && (code = qd_query_step(&query, &row, err)) == QD_OK && row)
        take(ctx, (double)qd_query_int(&query, 0) / thousand, qd_query_string(&query, 1));
    qd_query_close(&query);
    return code;
}

qd_code qd_job_row_set_crashes(qd_tx *tx, const char *id, unsigned crashes, qd_error *err)
{
    char number[16];
    snprintf(number, sizeof number, "%u", crashes);
    const char *const texts[] = { id, number };
    return qd_query_run_texts(
        tx, "UPDATE job SET deaths = deaths + (CAST(?2 AS INTEGER) > 0), crashes = CAST(?2 AS INTEGER) WHERE id = ?1",
        texts, 2, err);
}

qd_code qd_job_row_add_resumed(qd_tx *tx, const char *id, qd_error *err)
{
    return qd_query_run_texts(tx, "UPDATE job SET resumed = resumed + 1, version = version + 1 WHERE id = ?1", &id, 1,
                              err);
}

qd_code qd_job_row_forget_secret(qd_tx *tx, const char *id, qd_error *err)
{
    return qd_query_run_texts(tx, "UPDATE job SET secret = NULL WHERE id = ?1", &id, 1, err);
}

qd_code qd_job_row_renew(qd_tx *tx, const char *id, const char *recipe, const char *resolved, qd_error *err)
{
    const char *const texts[] = { id, recipe, resolved };
    return qd_query_run_texts(
        tx,
        "UPDATE job SET recipe = ?2, resolved = ?3, progress = NULL, result = NULL, problem = NULL, "
        "forecast = NULL, "
        "started_ms = 0, finished_ms = 0, crashes = 0, deaths = 0, version = version + 1 WHERE id = ?1",
        texts, 3, err);
}

/* Absent parameters are NULL (times: 0 and the largest). Words are compared without regard to the case of ASCII
 * letters; a URL's query may be a secret, which must not be found out letter by letter. */
#define CONDITIONS \
    "(?2 IS NULL OR id < ?2) AND (?3 IS NULL OR NOT EXISTS (SELECT 1 FROM json_each(?3) AS wanted WHERE NOT EXISTS (" \
    "SELECT 1 FROM tag WHERE tag.job = job.id AND tag.key = json_extract(wanted.value, '$[0]') AND " \
    "tag.value = ifnull(json_extract(wanted.value, '$[1]'), tag.value)))) AND " \
    "(?4 IS NULL OR instr(lower(name), lower(?4)) > 0) AND " \
    "(?5 IS NULL OR instr(id, lower(?5)) = 1 OR instr(lower(name), lower(?5)) > 0 OR " \
    "instr(lower(substr(json_extract(recipe, '$.model.url'), 1, instr(json_extract(recipe, '$.model.url') || '?', " \
    "'?') - 1)), " \
    "lower(?5)) > 0 OR EXISTS (SELECT 1 FROM tag WHERE " \
    "tag.job = job.id AND (instr(lower(tag.key), lower(?5)) > 0 OR instr(lower(tag.value), lower(?5)) > 0))) AND " \
    "created_ms >= ?6 AND created_ms < ?7 ORDER BY id DESC LIMIT ?8"

/* One state has an index to walk; several are picked out of all jobs. */
static qd_code open_search(qd_tx *tx, const qd_job_search *search, qd_query *out, qd_error *err)
{
    const char *const texts[] = { search->state != NULL ? search->state : search->states, search->before, search->tags,
                                  search->name, search->words };
    qd_code code = search->state != NULL
                       ? qd_query_open(tx, out, "SELECT " COLUMNS " FROM job WHERE state = ?1 AND " CONDITIONS, err)
                       : qd_query_open(tx, out,
                                       "SELECT " COLUMNS " FROM job WHERE (?1 IS NULL OR state IN (SELECT value FROM "
                                       "json_each(?1))) AND " CONDITIONS,
                                       err);
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(texts); i++)
        qd_query_text(out, (int)i + 1, texts[i]);
    if (code != QD_OK)
        return code;
    qd_query_number(out, 6, search->created_from_ms);
    qd_query_number(out, 7, search->created_before_ms == 0 ? INT64_MAX : search->created_before_ms);
    qd_query_number(out, 8, (int64_t)search->limit);
    return QD_OK;
}

qd_code qd_job_row_search(qd_tx *tx, const qd_job_search *search,
                          qd_code (*take)(void *ctx, qd_job_row *row, qd_error *err), void *ctx, qd_error *err)
{
    qd_query query = { 0 };
    bool row = true;
    qd_code code = open_search(tx, search, &query, err);
    while (code == QD_OK && (code = qd_query_step(&query, &row, err)) == QD_OK && row) {
        qd_job_row found = { 0 };
        code = read_row(&query, &found, err);
        if (code == QD_OK)
            code = take(ctx, &found, err);
    }
    qd_query_close(&query);
    return code;
}

qd_code qd_job_row_count(qd_tx *tx, void (*count)(void *ctx, const char *state, size_t jobs), void *ctx, qd_error *err)
{
    qd_query query = { 0 };
    bool row = true;
    qd_code code = qd_query_open(tx, &query, "SELECT state, count(*) FROM job GROUP BY state", err);
    while (code == QD_OK && (code = qd_query_step(&query, &row, err)) == QD_OK && row)
        count(ctx, qd_query_string(&query, 0), (size_t)qd_query_int(&query, 1));
    qd_query_close(&query);
    return code;
}

qd_code qd_job_row_count_state(qd_tx *tx, const char *state, size_t *out, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query, "SELECT count(*) FROM job WHERE state = ?", err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, state);
        code = qd_query_one(&query, err);
    }
    if (code == QD_OK)
        *out = (size_t)qd_query_int(&query, 0);
    qd_query_close(&query);
    return code;
}

qd_code qd_job_row_count_owner(qd_tx *tx, const char *owner, const char *state, size_t *out, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query, "SELECT count(*) FROM job WHERE owner = ? AND state = ?", err);
    if (code == QD_OK) {
        qd_query_text(&query, 1, owner);
        qd_query_text(&query, 2, state);
        code = qd_query_one(&query, err);
    }
    if (code == QD_OK)
        *out = (size_t)qd_query_int(&query, 0);
    qd_query_close(&query);
    return code;
}

qd_code qd_job_row_each(qd_tx *tx, const char *state,
                        qd_code (*visit)(void *ctx, const char *id, unsigned attempt, qd_error *err), void *ctx,
                        qd_error *err)
{
    qd_query query = { 0 };
    bool row = true;
    qd_code code = qd_query_open(tx, &query, "SELECT id, attempt FROM job WHERE state = ? ORDER BY id", err);
    if (code == QD_OK)
        qd_query_text(&query, 1, state);
    while (code == QD_OK && (code = qd_query_step(&query, &row, err)) == QD_OK && row)
        code = visit(ctx, qd_query_string(&query, 0), (unsigned)qd_query_int(&query, 1), err);
    qd_query_close(&query);
    return code;
}

qd_code qd_job_row_newest_id(qd_tx *tx, char out[QD_ID_SIZE], qd_error *err)
{
    qd_query query = { 0 };
    bool row = false;
    qd_code code = qd_query_open(tx, &query, "SELECT id FROM job ORDER BY id DESC LIMIT 1", err);
    if (code == QD_OK)
        code = qd_query_step(&query, &row, err);
    if (code == QD_OK)
        snprintf(out, QD_ID_SIZE, "%s", row ? qd_query_string(&query, 0) : "");
    qd_query_close(&query);
    return code;
}

qd_code qd_job_row_set_request_id(qd_tx *tx, const char *id, const char *request_id, qd_error *err)
{
    const char *const texts[] = { id, request_id };
    return qd_query_run_texts(tx, "UPDATE job SET request_id = ?2 WHERE id = ?1", texts, 2, err);
}
