/* idempotency_rows.h: rows of table idempotency: answers that are given again to a repeated request.
 * Room: server/store. May use: base, SQLite.
 * Threads: inside a change or view of store.h. */
#ifndef QD_STORE_IDEMPOTENCY_ROWS_H
#define QD_STORE_IDEMPOTENCY_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

/* Texts are owned by the row. */
typedef struct qd_idempotency_row {
    char *body_sha256, *job, *response;
} qd_idempotency_row;
void qd_idempotency_row_fini(qd_idempotency_row *row);

/* One made after `since_ms`; QD_ENOTFOUND: there is none. */
qd_code qd_idempotency_row_find(qd_tx *tx, const char *owner, const char *key, int64_t since_ms,
                                qd_idempotency_row *out, qd_error *err);
/* In the place of an older one of the same owner and key. `response` is JSON text. */
qd_code qd_idempotency_row_put(qd_tx *tx, const char *owner, const char *key, const qd_idempotency_row *row,
                               int64_t now_ms, qd_error *err);

#endif
