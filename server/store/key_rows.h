/* key_rows.h: rows of table api_key.
 * Room: server/store. May use: base, SQLite. Words of scopes come from above and go back as they are.
 * Threads: inside a change or view of store.h. */
#ifndef QD_STORE_KEY_ROWS_H
#define QD_STORE_KEY_ROWS_H

#include <stdbool.h>

#include "store/job_rows.h"

enum { QD_KEY_NAME = 101, QD_KEY_DIGEST = 65, QD_KEY_SCOPES = 128 };

typedef struct qd_key_row {
    char id[QD_ID_SIZE];
    char name[QD_KEY_NAME];
    char sha256[QD_KEY_DIGEST]; /* of the key's text, which is kept nowhere */
    char scopes[QD_KEY_SCOPES]; /* words with a space between */
    uint64_t rate_per_minute, queue_quota, disk_quota;
    int64_t created_ms, expires_ms, revoked_ms, last_used_ms; /* 0 = never */
} qd_key_row;

/* QD_ECONFLICT when the name is taken: revoked keys keep theirs. */
qd_code qd_key_row_insert(qd_tx *tx, const qd_key_row *row, qd_error *err);
/* By id, or by name. QD_ENOTFOUND. */
qd_code qd_key_row_read(qd_tx *tx, const char *id_or_name, qd_key_row *out, qd_error *err);
/* In the order of their ids. A failure of `visit` ends the walk. */
qd_code qd_key_row_each(qd_tx *tx, qd_code (*visit)(void *ctx, const qd_key_row *row, qd_error *err), void *ctx,
                        qd_error *err);
/* *out_changed: it was not revoked before. */
qd_code qd_key_row_revoke(qd_tx *tx, const char *id, int64_t now_ms, bool *out_changed, qd_error *err);
qd_code qd_key_row_touch(qd_tx *tx, const char *id, int64_t used_ms, qd_error *err);

#endif
