/* delivery_rows.h: rows of tables delivery, delivery_attempt and delivery_file, and the secret that signs webhooks.
 * Room: server/store. May use: base, SQLite. Words and JSON texts come from above and go back as they are.
 * Threads: inside a change or view of store.h. */
#ifndef QD_STORE_DELIVERY_ROWS_H
#define QD_STORE_DELIVERY_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "store/job_rows.h"
#include "store/store.h"

enum { QD_DELIVERY_ID = 31 };

/* Texts are owned by the row; body may be NULL. */
typedef struct qd_delivery_row {
    char id[QD_DELIVERY_ID], job[QD_ID_SIZE], kind[12], state[12];
    char *url, *host, *body;
    unsigned tries;
    int64_t next_ms, created_ms, finished_ms;
} qd_delivery_row;
void qd_delivery_row_fini(qd_delivery_row *row);

qd_code qd_delivery_row_insert(qd_tx *tx, const qd_delivery_row *row, qd_error *err);
qd_code qd_delivery_row_read(qd_tx *tx, const char *id, qd_delivery_row *out, qd_error *err); /* QD_ENOTFOUND */
/* Of a job, oldest first; the row is taken over by `take`. */
qd_code qd_delivery_row_each(qd_tx *tx, const char *job,
                             qd_code (*take)(void *ctx, qd_delivery_row *row, qd_error *err), void *ctx, qd_error *err);
qd_code qd_delivery_row_count_pending(qd_tx *tx, const char *kind, uint64_t *out, qd_error *err);

/* Pending ones of a kind. busy_ids, busy_hosts: JSON arrays of what is not wanted now. */
typedef struct qd_delivery_search {
    const char *kind, *busy_ids, *busy_hosts;
    int64_t now_ms;
} qd_delivery_search;
/* The one that has been due for longest; QD_ENOTFOUND when none is. */
qd_code qd_delivery_row_due(qd_tx *tx, const qd_delivery_search *search, qd_delivery_row *out, qd_error *err);
/* When the next becomes due; INT64_MAX when nothing is pending. */
qd_code qd_delivery_row_next(qd_tx *tx, const qd_delivery_search *search, int64_t *out_ms, qd_error *err);

/* One more try was made. QD_ENOTFOUND: the delivery is gone, with its job. */
typedef struct qd_delivery_try {
    const char *state; /* of the delivery now */
    int64_t time_ms, next_ms, finished_ms;
    long status;
    double seconds;
    const char *detail;
} qd_delivery_try;
qd_code qd_delivery_row_tried(qd_tx *tx, const char *id, const qd_delivery_try *attempt, qd_error *err);
/* Pending again, now, with all tries before it. */
qd_code qd_delivery_row_renew(qd_tx *tx, const char *id, const char *state, int64_t now_ms, qd_error *err);
qd_code qd_delivery_attempt_each(qd_tx *tx, const char *id,
                                 qd_code (*visit)(void *ctx, unsigned number, const qd_delivery_try *attempt,
                                                  qd_error *err),
                                 void *ctx, qd_error *err);

/* A file of the job's artifact and how far its upload is. */
typedef struct qd_delivery_file {
    const char *path, *sha256, *parts; /* borrowed for the call */
    uint64_t size;
    int64_t finished_ms;
} qd_delivery_file;
/* By path, folders' manifests after all other files and the artifact's own last. */
qd_code qd_delivery_file_each(qd_tx *tx, const char *id,
                              qd_code (*visit)(void *ctx, const qd_delivery_file *file, qd_error *err), void *ctx,
                              qd_error *err);
/* parts "" = none is open. */
qd_code qd_delivery_file_put(qd_tx *tx, const char *id, const char *path, const char *parts, int64_t finished_ms,
                             qd_error *err);

/* job.webhook_secret; heap string or NULL. */
qd_code qd_webhook_secret_put(qd_tx *tx, const char *job, const char *secret, qd_error *err);
qd_code qd_webhook_secret_read(qd_tx *tx, const char *job, char **out, qd_error *err);
/* Forgets it where nothing is left that it could sign: the job is in the state `last`, and no webhook of it is in another
 * state than `done`. */
qd_code qd_webhook_secret_forget(qd_tx *tx, const char *job, const char *last, const char *done, qd_error *err);

#endif
