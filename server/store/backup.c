/* backup.c: see backup.h. */
#include "store/backup.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "store/migrate.h"
#include "store/sql.h"

enum { PAGES_A_STEP = 256 };
static const long pause_ns = 2000000, patience_steps = 5000;

/* A transaction of its own holds the moment: without it the copy would begin again at every commit of the service. */
static qd_code hold_moment(qd_connection *source, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_sql_script(source, "BEGIN", err);
    if (code == QD_OK)
        code = qd_query_open(source, &query, "SELECT count(*) FROM sqlite_schema", err);
    if (code == QD_OK)
        code = qd_query_one(&query, err);
    qd_query_close(&query);
    return code;
}

static qd_code copy_pages(qd_connection *source, qd_connection *target, qd_error *err)
{
    sqlite3_backup *backup = sqlite3_backup_init(target->db, "main", source->db, "main");
    if (backup == NULL)
        return qd_sql_fail(target, "backup", err);
    int result = SQLITE_OK;
    long waited = 0;
    while ((result = sqlite3_backup_step(backup, PAGES_A_STEP)) != SQLITE_DONE) {
        bool busy = result == SQLITE_BUSY || result == SQLITE_LOCKED;
        if ((result != SQLITE_OK && !busy) || (busy && ++waited > patience_steps))
            break;
        nanosleep(&(struct timespec){ .tv_nsec = pause_ns }, NULL); /* the service reads and writes too */
    }
    if (sqlite3_backup_finish(backup) == SQLITE_OK && result == SQLITE_DONE)
        return QD_OK;
    return result == SQLITE_BUSY || result == SQLITE_LOCKED ? qd_fail(err, QD_EBUSY, "the database is locked")
                                                            : qd_sql_fail(target, "backup", err);
}

/* "ok" in one row. */
static qd_code check_integrity(qd_connection *c, const char *path, qd_error *err)
{
    qd_query query = { 0 };
    bool row = false;
    qd_code code = qd_query_open(c, &query, "PRAGMA integrity_check(1)", err);
    if (code == QD_OK)
        code = qd_query_one(&query, err);
    if (code == QD_OK && strcmp(qd_query_string(&query, 0), "ok") != 0)
        code = qd_fail(err, QD_EFORMAT, "'%s' is damaged: %.200s", path, qd_query_string(&query, 0));
    qd_query_close(&query);
    if (code == QD_OK)
        code = qd_query_open(c, &query, "PRAGMA foreign_key_check", err);
    if (code == QD_OK)
        code = qd_query_step(&query, &row, err);
    if (code == QD_OK && row)
        code = qd_fail(err, QD_EFORMAT, "'%s' is damaged: a row of %.80s belongs to nothing", path,
                       qd_query_string(&query, 0));
    qd_query_close(&query);
    return code;
}

static qd_code check_version(qd_connection *c, const char *path, qd_error *err)
{
    int version = 0;
    qd_code code = qd_migrate_version(c, path, qd_migrations[qd_migration_count - 1].version, &version, err);
    return code == QD_OK && version == 0 ? qd_fail(err, QD_EFORMAT, "'%s' is no database of quantd", path) : code;
}

static qd_code sync_file(const char *path, qd_error *err)
{
    QD_AUTO(qd_close_fd) int fd = open(path, O_RDWR | O_CLOEXEC);
    return fd < 0 || fsync(fd) != 0 ? qd_fail_errno(err, "sync '%s'", path) : QD_OK;
}

/* It holds hub tokens: nobody else's to read, from the first byte. */
static qd_code make_private(const char *path, qd_error *err)
{
    QD_AUTO(qd_close_fd) int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd < 0 ? qd_fail_errno(err, "'%s'", path) : QD_OK;
}

qd_code qd_database_copy(const char *from, const char *to, qd_error *err)
{
    qd_connection source = { 0 }, target = { 0 };
    if (!qd_path_exists(from))
        return qd_fail(err, QD_ENOTFOUND, "there is no database '%s'", from);
    qd_code code = qd_connection_open(from, QD_READ_ONLY, &source, err);
    if (code == QD_OK)
        code = hold_moment(&source, err);
    if (code == QD_OK)
        code = check_version(&source, from, err);
    if (code == QD_OK)
        code = make_private(to, err);
    if (code == QD_OK)
        code = qd_connection_open(to, QD_READ_WRITE, &target, err);
    if (code == QD_OK)
        code = copy_pages(&source, &target, err);
    if (code == QD_OK)
        code = qd_sql_script(&target, "PRAGMA journal_mode = DELETE", err);
    if (code == QD_OK)
        code = check_integrity(&target, to, err);
    qd_connection_close(&target);
    qd_connection_close(&source);
    return code == QD_OK ? sync_file(to, err) : code;
}

static qd_code count_jobs(qd_connection *c, size_t *out, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(c, &query, "SELECT count(*) FROM job", err);
    if (code == QD_OK)
        code = qd_query_one(&query, err);
    if (code == QD_OK)
        *out = (size_t)qd_query_int(&query, 0);
    qd_query_close(&query);
    return code;
}

qd_code qd_database_each_artifact(const char *path, size_t *out_jobs,
                                  qd_code (*visit)(void *ctx, const qd_artifact_row *row, qd_error *err), void *ctx,
                                  qd_error *err)
{
    qd_connection c = { 0 };
    qd_query query = { 0 };
    bool row = false;
    qd_code code = qd_connection_open(path, QD_READ_ONLY, &c, err);
    if (code == QD_OK)
        code = count_jobs(&c, out_jobs, err);
    if (code == QD_OK)
        code = qd_query_open(&c, &query, "SELECT job, path, sha256, size FROM artifact ORDER BY job, path", err);
    if (code == QD_OK)
        code = qd_query_step(&query, &row, err);
    while (code == QD_OK && row) {
        const qd_artifact_row found = { .job = qd_query_string(&query, 0),
                                        .path = qd_query_string(&query, 1),
                                        .sha256 = qd_query_string(&query, 2),
                                        .size = (uint64_t)qd_query_int(&query, 3) };
        code = visit(ctx, &found, err);
        if (code == QD_OK)
            code = qd_query_step(&query, &row, err);
    }
    qd_query_close(&query);
    qd_connection_close(&c);
    return code;
}
