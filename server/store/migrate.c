/* migrate.c: see migrate.h. */
#include "store/migrate.h"

#include <stdio.h>
#include <unistd.h>

#include "base/file.h"

static qd_code read_version(qd_connection *c, int *out, qd_error *err)
{
    qd_query query = { 0 };
    qd_code code = qd_query_open(c, &query, "PRAGMA user_version", err);
    if (code == QD_OK)
        code = qd_query_one(&query, err);
    if (code == QD_OK)
        *out = (int)qd_query_int(&query, 0);
    qd_query_close(&query);
    return code;
}

qd_code qd_migrate_version(qd_connection *c, const char *path, int newest, int *out, qd_error *err)
{
    qd_code code = read_version(c, out, err);
    if (code == QD_OK && *out > newest)
        return qd_fail(err, QD_ECONFLICT, "'%s' has schema version %d; this program knows up to %d: use a newer one",
                       path, *out, newest);
    return code;
}

/* Whole or not there at all: VACUUM INTO a temporary name, then a rename. */
static qd_code back_up(qd_connection *c, const char *path, int version, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str temporary = { 0 }, final = { 0 };
    qd_str_addf(&temporary, "%s.backup-v%d.tmp", path, version);
    qd_str_addf(&final, "%s.backup-v%d", path, version);
    qd_code code = qd_str_check(&temporary, err);
    if (code == QD_OK)
        code = qd_str_check(&final, err);
    if (code != QD_OK)
        return code;
    unlink(qd_str_borrow(&temporary));
    qd_query query = { 0 };
    code = qd_query_open(c, &query, "VACUUM INTO ?", err);
    if (code == QD_OK)
        qd_query_text(&query, 1, qd_str_borrow(&temporary));
    if (code == QD_OK)
        code = qd_query_run(&query, err);
    qd_query_close(&query);
    return code == QD_OK ? qd_file_rename(qd_str_borrow(&temporary), qd_str_borrow(&final), err) : code;
}

static qd_code apply(qd_connection *c, const qd_migration *step, qd_error *err)
{
    char pragma[64];
    snprintf(pragma, sizeof pragma, "PRAGMA user_version = %d", step->version);
    qd_code code = qd_sql_script(c, "BEGIN IMMEDIATE", err);
    if (code == QD_OK)
        code = qd_sql_script(c, step->sql, err);
    if (code == QD_OK)
        code = qd_sql_script(c, pragma, err);
    if (code == QD_OK)
        code = qd_sql_script(c, "COMMIT", err);
    if (code == QD_OK)
        return QD_OK;
    qd_sql_script(c, "ROLLBACK", NULL);
    return qd_within(err, code, "migration '%s'", step->name);
}

qd_code qd_migrate(qd_connection *c, const char *path, const qd_migration *steps, size_t count, qd_error *err)
{
    int version = 0;
    int newest = steps[count - 1].version;
    qd_code code = qd_migrate_version(c, path, newest, &version, err);
    if (code != QD_OK)
        return code;
    if (version > 0 && version < newest)
        code = back_up(c, path, version, err);
    if (code != QD_OK)
        return qd_within(err, code, "backup before a migration");
    for (size_t i = 0; code == QD_OK && i < count; i++)
        if (steps[i].version > version)
            code = apply(c, &steps[i], err);
    return code;
}

qd_code qd_migrate_check(qd_connection *c, const char *path, const qd_migration *steps, size_t count, qd_error *err)
{
    int version = 0, newest = steps[count - 1].version;
    qd_code code = read_version(c, &version, err);
    if (code == QD_OK && version != newest)
        return qd_fail(err, QD_ECONFLICT,
                       "'%s' is in use with schema version %d; this program knows %d: use the service's own program",
                       path, version, newest);
    return code;
}
