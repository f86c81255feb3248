/* layer_rows.h: rows of table layer: a finished layer's record, one a layer.
 * Room: server/store. May use: base, SQLite.
 * Threads: inside a change or view of store.h. */
#ifndef QD_STORE_LAYER_ROWS_H
#define QD_STORE_LAYER_ROWS_H

#include <stdint.h>

#include "store/store.h"

typedef enum qd_layer_put { QD_LAYER_SAME, QD_LAYER_NEW } qd_layer_put;
/* `record` is JSON text. QD_LAYER_SAME: the very same record was there already. */
qd_code qd_layer_row_put(qd_tx *tx, const char *job, uint64_t number, const char *name, const char *record,
                         qd_layer_put *out, qd_error *err);
/* Records (JSON text, borrowed for the call) in the layers' order. */
qd_code qd_layer_row_each(qd_tx *tx, const char *job, qd_code (*visit)(void *ctx, const char *record, qd_error *err),
                          void *ctx, qd_error *err);
qd_code qd_layer_row_clear(qd_tx *tx, const char *job, qd_error *err);

#endif
