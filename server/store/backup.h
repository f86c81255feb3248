/* backup.h: copies of a database, beside the service that uses it.
 * Room: server/store. May use: base, SQLite.
 * Threads: any.
 * Source: server.md §2: sqlite3_backup in steps from a reader, never a copy of the file. */
#ifndef QD_STORE_BACKUP_H
#define QD_STORE_BACKUP_H

#include <stddef.h>

#include "store/artifact_rows.h"

/* Copies the database FROM, as it is at one moment, to the new file TO: one file without a log beside it, checked (integrity,
 * foreign keys) and synced. Writers go on meanwhile. QD_ECONFLICT when its schema is newer than the program's. */
qd_code qd_database_copy(const char *from, const char *to, qd_error *err);

/* Jobs, and every artifact's file, of a database that nobody writes; in the order of jobs and paths. */
typedef struct qd_artifact_row {
    const char *job, *path, *sha256; /* borrowed for the call */
    uint64_t size;
} qd_artifact_row;
qd_code qd_database_each_artifact(const char *path, size_t *out_jobs,
                                  qd_code (*visit)(void *ctx, const qd_artifact_row *row, qd_error *err), void *ctx,
                                  qd_error *err);

#endif
