/* event_rows.h: rows of table event: what happened to a job, numbered from 1 without gaps.
 * Room: server/store. May use: base, SQLite.
 * Threads: inside a change or view of store.h. */
#ifndef QD_STORE_EVENT_ROWS_H
#define QD_STORE_EVENT_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

/* `data` is JSON text. The job's version grows with it. */
qd_code qd_event_row_add(qd_tx *tx, const char *job, const char *type, const char *data, int64_t now_ms,
                         uint64_t *out_id, qd_error *err);

typedef struct qd_event_row {
    uint64_t id;
    int64_t time_ms;
    const char *type, *data; /* borrowed for the call */
} qd_event_row;
/* Events with id > after, ascending, at most limit. */
qd_code qd_event_row_each(qd_tx *tx, const char *job, uint64_t after, size_t limit,
                          qd_code (*visit)(void *ctx, const qd_event_row *row, qd_error *err), void *ctx,
                          qd_error *err);

#endif
