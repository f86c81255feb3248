/* audit_rows.h: rows of table audit: who changed what, when and from where.
 * Room: server/store. May use: base, SQLite. Actions and details come from above and go back as they are.
 * Threads: inside a change or view of store.h. */
#ifndef QD_STORE_AUDIT_ROWS_H
#define QD_STORE_AUDIT_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

/* Texts are borrowed: by the insertion, or for the time of one visit. */
typedef struct qd_audit_row {
    uint64_t id; /* grows; given by the table */
    int64_t time_ms;
    const char *key_id; /* api_key.id, or "" */
    const char *address, *request_id;
    const char *action; /* "job.create", ... */
    const char *target; /* the job's or key's id */
    const char *detail; /* a JSON object */
} qd_audit_row;

/* Inside the change that it tells of, so that neither is there without the other. */
qd_code qd_audit_row_add(qd_tx *tx, const qd_audit_row *row, qd_error *err);

typedef struct qd_audit_search {
    uint64_t after;              /* rows with larger ids */
    const char *action, *target; /* or NULL */
    size_t limit;
} qd_audit_search;
/* Oldest first; a failure of `visit` ends the walk. */
qd_code qd_audit_row_search(qd_tx *tx, const qd_audit_search *search,
                            qd_code (*visit)(void *ctx, const qd_audit_row *row, qd_error *err), void *ctx,
                            qd_error *err);

#endif
