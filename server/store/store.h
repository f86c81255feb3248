/* store.h: the database: one writer with group commit, readers beside it.
 * Room: server/store. May use: base, SQLite. Knows SQL and rows; no job logic.
 * Threads: every function may be called from any thread.
 * Source: server.md §2: WAL with synchronous=FULL survives a power cut; one writer thread makes it cheap. */
#ifndef QD_STORE_STORE_H
#define QD_STORE_STORE_H

#include <stdint.h>

#include "base/error.h"

typedef struct qd_store qd_store;
typedef struct qd_connection qd_tx; /* rows are read and written through it: *_rows.h */

/* Opens DIR/quantd.db, migrates it (backup first; QD_ECONFLICT when it is newer than the program), starts the
 * writer. */
qd_code qd_store_open(const char *dir, qd_store **out, qd_error *err);
/* How a database is opened: brought to our schema, or (beside a service that uses it) refused with QD_ECONFLICT when it has another. */
typedef enum qd_store_opening { QD_STORE_MIGRATED, QD_STORE_AS_IT_IS } qd_store_opening;
qd_code qd_store_open_as(const char *dir, qd_store_opening how, qd_store **out, qd_error *err);
void qd_store_close(qd_store *store); /* NULL is fine; no call may be running */

/* Runs in the writer's thread, inside its transaction; must not block. A failure undoes this change alone. May be run
 * a second time after the whole transaction was undone (full disk), so it must set its outputs afresh. */
typedef qd_code (*qd_change)(void *ctx, qd_tx *tx, qd_error *err);
/* Returns after the commit (fsynced). QD_ENOSPC: the disk is full even with the ballast given back. */
qd_code qd_store_write(qd_store *store, qd_change change, void *ctx, qd_error *err);
/* Runs in the calling thread on a read-only connection, in one snapshot that holds every commit acknowledged before. */
qd_code qd_store_read(qd_store *store, qd_change view, void *ctx, qd_error *err);

uint64_t qd_store_commits(qd_store *store);
/* QD_OK, or why the last transaction could not be written. qd_store_probe writes a row to find out. */
qd_code qd_store_health(qd_store *store, qd_error *err);
qd_code qd_store_probe(qd_store *store, qd_error *err);
/* Makes the ballast file again when there is room for it. */
void qd_store_restore_ballast(qd_store *store);

#endif
