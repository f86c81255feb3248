/* sql.c: see sql.h. */
#include "store/sql.h"

#include <errno.h>
#include <stdint.h>
#include <sys/statvfs.h>

#include "base/mem.h"

static qd_code code_of(sqlite3 *db)
{
    int full = sqlite3_extended_errcode(db);
    switch (full & 0xff) {
    case SQLITE_FULL:
        return QD_ENOSPC;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return sqlite3_system_errno(db) == ENOSPC || sqlite3_system_errno(db) == EDQUOT ? QD_ENOSPC : QD_EIO;
    case SQLITE_CONSTRAINT:
        return QD_ECONFLICT;
    case SQLITE_NOMEM:
        return QD_ENOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return QD_EFORMAT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return QD_EBUSY;
    case SQLITE_ERROR:
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
        return QD_EINTERNAL;
    default:
        return QD_EIO;
    }
}

qd_code qd_sql_fail(qd_connection *c, const char *what, qd_error *err)
{
    qd_code code = code_of(c->db);
    return qd_fail(err, code, "database: %.80s: %s%s", what, sqlite3_errmsg(c->db),
                   code == QD_ENOSPC ? " (no space left on the disk)" : "");
}

qd_code qd_sql_script(qd_connection *c, const char *sql, qd_error *err)
{
    return sqlite3_exec(c->db, sql, NULL, NULL, NULL) == SQLITE_OK ? QD_OK : qd_sql_fail(c, sql, err);
}

/* The log that is written ahead is folded back at a 64th of the disk, 4 MB of a large one: many times the same pages are
 * in it, and on a small disk that is the room in which a job would be made. */
static int log_pages(const char *path)
{
    enum { PAGE_BYTES = 4096, PAGES_MIN = 16, PAGES_MAX = 1000 };
    struct statvfs disk;
    if (statvfs(path, &disk) != 0)
        return PAGES_MAX;
    uint64_t pages = (uint64_t)disk.f_blocks * disk.f_frsize / 64 / PAGE_BYTES;
    return pages < PAGES_MIN ? PAGES_MIN : pages > PAGES_MAX ? PAGES_MAX : (int)pages;
}

qd_code qd_connection_open(const char *path, qd_access access, qd_connection *out, qd_error *err)
{
    int flags = access == QD_READ_ONLY ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    qd_connection c = { 0 };
    qd_code code = QD_OK;
    if (sqlite3_open_v2(path, &c.db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL) != SQLITE_OK)
        code = c.db == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_sql_fail(&c, "open", err);
    if (code == QD_OK)
        sqlite3_busy_timeout(c.db, QD_BUSY_MS);
    /* trusted_schema stays on: SQLite 3.40 calls json_valid() in a CHECK unsafe; the schema is our own. */
    if (code == QD_OK)
        code = qd_sql_script(&c, "PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY", err);
    if (code == QD_OK && access == QD_READ_WRITE && sqlite3_wal_autocheckpoint(c.db, log_pages(path)) != SQLITE_OK)
        code = qd_sql_fail(&c, "wal_autocheckpoint", err);
    if (code == QD_OK && access == QD_READ_WRITE)
        code = qd_sql_script(
            &c, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864", err);
    if (code != QD_OK) {
        qd_connection_close(&c);
        return qd_within(err, code, "'%s'", path);
    }
    *out = c;
    return QD_OK;
}

void qd_connection_close(qd_connection *c)
{
    for (size_t i = 0; i < c->kept_count; i++)
        sqlite3_finalize(c->kept[i].statement);
    sqlite3_close(c->db);
    *c = (qd_connection){ 0 };
}

static sqlite3_stmt *find_kept(const qd_connection *c, const char *sql)
{
    for (size_t i = 0; i < c->kept_count; i++)
        if (c->kept[i].sql == sql)
            return c->kept[i].statement;
    return NULL;
}

qd_code qd_query_open(qd_connection *c, qd_query *out, const char *sql, qd_error *err)
{
    sqlite3_stmt *statement = find_kept(c, sql);
    if (statement == NULL) {
        if (c->kept_count == QD_STATEMENTS_MAX)
            return qd_fail(err, QD_EINTERNAL, "database: more than %d statements", (int)QD_STATEMENTS_MAX);
        if (sqlite3_prepare_v3(c->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) != SQLITE_OK)
            return qd_sql_fail(c, sql, err);
        c->kept[c->kept_count].sql = sql;
        c->kept[c->kept_count++].statement = statement;
    }
    *out = (qd_query){ .connection = c, .statement = statement };
    return QD_OK;
}

void qd_query_close(qd_query *query)
{
    if (query->statement != NULL) {
        sqlite3_reset(query->statement);
        sqlite3_clear_bindings(query->statement);
    }
    *query = (qd_query){ 0 };
}

void qd_query_text(qd_query *query, int at, const char *text)
{
    int result = text == NULL ? sqlite3_bind_null(query->statement, at)
                              : sqlite3_bind_text(query->statement, at, text, -1, SQLITE_STATIC);
    query->failed |= result != SQLITE_OK;
}

void qd_query_number(qd_query *query, int at, int64_t value)
{
    query->failed |= sqlite3_bind_int64(query->statement, at, value) != SQLITE_OK;
}

qd_code qd_query_step(qd_query *query, bool *out_row, qd_error *err)
{
    if (query->failed)
        return qd_sql_fail(query->connection, sqlite3_sql(query->statement), err);
    int result = sqlite3_step(query->statement);
    if (result != SQLITE_ROW && result != SQLITE_DONE)
        return qd_sql_fail(query->connection, sqlite3_sql(query->statement), err);
    *out_row = result == SQLITE_ROW;
    return QD_OK;
}

qd_code qd_query_run(qd_query *query, qd_error *err)
{
    bool row = true;
    qd_code code = QD_OK;
    while (code == QD_OK && row)
        code = qd_query_step(query, &row, err);
    return code;
}

qd_code qd_query_one(qd_query *query, qd_error *err)
{
    bool row = false;
    qd_code code = qd_query_step(query, &row, err);
    if (code == QD_OK && !row)
        return qd_fail(err, QD_ENOTFOUND, "no such row");
    return code;
}

int qd_query_changes(const qd_query *query)
{
    return sqlite3_changes(query->connection->db);
}

int64_t qd_query_int(const qd_query *query, int column)
{
    return sqlite3_column_int64(query->statement, column);
}

const char *qd_query_string(const qd_query *query, int column)
{
    return (const char *)sqlite3_column_text(query->statement, column);
}

qd_code qd_query_copy(const qd_query *query, int column, char **out, qd_error *err)
{
    return qd_dup(qd_query_string(query, column), out, err);
}

qd_code qd_query_run_texts(qd_connection *c, const char *sql, const char *const *texts, size_t count, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(c, &query, sql, err);
    for (size_t i = 0; code == QD_OK && i < count; i++)
        qd_query_text(&query, (int)i + 1, texts[i]);
    if (code == QD_OK)
        code = qd_query_run(&query, err);
    qd_query_close(&query);
    return code;
}
