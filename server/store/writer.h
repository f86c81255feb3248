/* writer.h: the one thread that writes; changes that wait together are committed together.
 * Room: server/store, private to it. May use: base, SQLite.
 * Threads: qd_writer_submit from any thread; blocks until its commit. */
#ifndef QD_STORE_WRITER_H
#define QD_STORE_WRITER_H

#include "store/sql.h"
#include "store/store.h"

typedef struct qd_writer qd_writer;
/* Takes the connection. `ballast` is given back on a full disk. */
qd_code qd_writer_create(qd_connection *connection, const char *ballast, qd_writer **out, qd_error *err);
/* Commits what waits, joins the thread, closes the connection. */
void qd_writer_destroy(qd_writer *writer);
qd_code qd_writer_submit(qd_writer *writer, qd_change change, void *ctx, qd_error *err);
uint64_t qd_writer_commits(qd_writer *writer);
/* QD_OK, or why the last transaction was not committed. */
qd_code qd_writer_health(qd_writer *writer, qd_error *err);

#endif
