/* artifact_rows.h: rows of table artifact: the files of a published artifact, the only names that may be opened.
 * Room: server/store. May use: base, SQLite.
 * Threads: inside a change or view of store.h. */
#ifndef QD_STORE_ARTIFACT_ROWS_H
#define QD_STORE_ARTIFACT_ROWS_H

#include <stdint.h>

#include "store/store.h"

qd_code qd_artifact_row_put(qd_tx *tx, const char *job, const char *path, uint64_t size, const char *sha256,
                            qd_error *err);
/* QD_ENOTFOUND when the artifact has no such file. out_sha256 has 65 bytes. */
qd_code qd_artifact_row_find(qd_tx *tx, const char *job, const char *path, uint64_t *out_size, char *out_sha256,
                             qd_error *err);
/* By path, bytewise; texts are borrowed for the call. */
qd_code qd_artifact_row_each(qd_tx *tx, const char *job,
                             qd_code (*visit)(void *ctx, const char *path, uint64_t size, const char *sha256,
                                              qd_error *err),
                             void *ctx, qd_error *err);
/* Bytes of all artifacts of one owner's jobs. */
qd_code qd_artifact_row_bytes(qd_tx *tx, const char *owner, uint64_t *out, qd_error *err);

#endif
