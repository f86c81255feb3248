/* audit_rows.c: see audit_rows.h. */
#include "store/audit_rows.h"

#include "store/sql.h"

#define SEARCH \
    "SELECT id, time_ms, key_id, address, request_id, action, target, detail FROM audit WHERE id > ?1 " \
    "AND (?2 IS NULL OR action = ?2) "

qd_code qd_audit_row_add(qd_tx *tx, const qd_audit_row *row, qd_error *err)
{
    const char *const texts[] = { row->key_id, row->address, row->request_id, row->action, row->target, row->detail };
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query,
                                 "INSERT INTO audit (time_ms, key_id, address, request_id, action, target, detail) "
                                 "VALUES (?, ?, ?, ?, ?, ?, ?)",
                                 err);
    if (code == QD_OK) {
        qd_query_number(&query, 1, row->time_ms);
        for (size_t i = 0; i < QD_LENGTH(texts); i++)
            qd_query_text(&query, (int)i + 2, texts[i]);
        code = qd_query_run(&query, err);
    }
    qd_query_close(&query);
    return code;
}

static qd_audit_row read_row(const qd_query *query)
{
    return (qd_audit_row){ .id = (uint64_t)qd_query_int(query, 0),
                           .time_ms = qd_query_int(query, 1),
                           .key_id = qd_query_string(query, 2),
                           .address = qd_query_string(query, 3),
                           .request_id = qd_query_string(query, 4),
                           .action = qd_query_string(query, 5),
                           .target = qd_query_string(query, 6),
                           .detail = qd_query_string(query, 7) };
}

qd_code qd_audit_row_search(qd_tx *tx, const qd_audit_search *search,
                            qd_code (*visit)(void *ctx, const qd_audit_row *row, qd_error *err), void *ctx,
                            qd_error *err)
{
    qd_query query = { 0 };
    bool more = true;
    /* One target has few rows, and an index of its own. */
    qd_code code = search->target == NULL
                       ? qd_query_open(tx, &query, SEARCH "ORDER BY id LIMIT ?3", err)
                       : qd_query_open(tx, &query, SEARCH "AND target = ?4 ORDER BY id LIMIT ?3", err);
    if (code == QD_OK) {
        qd_query_number(&query, 1, search->after > INT64_MAX ? INT64_MAX : (int64_t)search->after);
        qd_query_text(&query, 2, search->action);
        qd_query_number(&query, 3, (int64_t)search->limit);
        if (search->target != NULL)
            qd_query_text(&query, 4, search->target);
    }
    while (code == QD_OK && (code = qd_query_step(&query, &more, err)) == QD_OK && more) {
        const qd_audit_row row = read_row(&query);
        code = visit(ctx, &row, err);
    }
    qd_query_close(&query);
    return code;
}
