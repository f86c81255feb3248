/* sql.h: a connection with its prepared statements, and queries on it.
 * Room: server/store, private to it and its tests. May use: base, SQLite. The only includer of sqlite3.h.
 * Threads: a connection belongs to one thread at a time. */
#ifndef QD_STORE_SQL_H
#define QD_STORE_SQL_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { QD_STATEMENTS_MAX = 256, QD_BUSY_MS = 10000 };

/* Statements are kept by the address of their text: SQL is always a string literal. */
typedef struct qd_connection {
    sqlite3 *db;
    struct {
        const char *sql;
        sqlite3_stmt *statement;
    } kept[QD_STATEMENTS_MAX];
    size_t kept_count;
} qd_connection;

typedef enum qd_access { QD_READ_WRITE, QD_READ_ONLY } qd_access;
/* Opens with our settings (server.md §2): WAL, synchronous=FULL, foreign keys. */
qd_code qd_connection_open(const char *path, qd_access access, qd_connection *out, qd_error *err);
void qd_connection_close(qd_connection *c); /* fine on a zeroed one */

/* Statements without parameters or rows, separated by ;. Not kept. */
qd_code qd_sql_script(qd_connection *c, const char *sql, qd_error *err);
/* Fails with the connection's last error: full disk is QD_ENOSPC, a broken rule QD_ECONFLICT. */
qd_code qd_sql_fail(qd_connection *c, const char *what, qd_error *err);

/* A kept statement on its way: bind, run or step, close. Text is bound by reference until the close. */
typedef struct qd_query {
    qd_connection *connection;
    sqlite3_stmt *statement;
    bool failed; /* a bind failed; told by the next step */
} qd_query;
qd_code qd_query_open(qd_connection *c, qd_query *out, const char *sql, qd_error *err);
void qd_query_close(qd_query *query); /* fine on a zeroed one */
void qd_query_text(qd_query *query, int at, const char *text /* NULL = SQL NULL */);
void qd_query_number(qd_query *query, int at, int64_t value);
/* *out_row: a row is there to be read. */
qd_code qd_query_step(qd_query *query, bool *out_row, qd_error *err);
/* Steps to the end; rows are passed over. */
qd_code qd_query_run(qd_query *query, qd_error *err);
/* Steps once: QD_ENOTFOUND when there is no row. */
qd_code qd_query_one(qd_query *query, qd_error *err);
/* Rows that the last change touched. */
int qd_query_changes(const qd_query *query);
/* Columns of the row at hand. Text is borrowed until the next step; NULL = SQL NULL. */
int64_t qd_query_int(const qd_query *query, int column);
const char *qd_query_string(const qd_query *query, int column);
/* A copy of a text column; NULL stays NULL. */
qd_code qd_query_copy(const qd_query *query, int column, char **out, qd_error *err);

/* A whole statement whose parameters are all text, in order; NULL = SQL NULL. */
qd_code qd_query_run_texts(qd_connection *c, const char *sql, const char *const *texts, size_t count, qd_error *err);

#endif
