/* backup.c: see backup.h. */
#include "jobs/backup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "jobs/lock.h"
#include "store/backup.h"
#include "store/retention_rows.h"

static const char database_name[] = "quantd.db", artifacts_name[] = "artifacts";

void qd_backup_report_fini(qd_backup_report *report)
{
    qd_names_free(report->absent, report->absent_count);
    *report = (qd_backup_report){ 0 };
}

/* The files of the artifacts on their way from one folder to another. */
typedef struct carriage {
    const char *from, *to; /* folders that hold artifacts/; from NULL = nothing can be carried */
    enum { TRUST, VERIFY } digests;
    qd_backup_report *report;
    char job[QD_ID_SIZE]; /* of the row before */
    size_t absent_capacity;
} carriage;

static char *file_path(const char *folder, const qd_artifact_row *row)
{
    qd_str path = { 0 };
    qd_str_addf(&path, "%s/%s/%s/%s", folder, artifacts_name, row->job, row->path);
    return qd_str_take(&path);
}

static qd_code make_parent(const char *path, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *parent = strndup(path, (size_t)(strrchr(path, '/') - path));
    return parent == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_dir_make(parent, err);
}

static qd_code note_absent(carriage *c, const char *job, qd_error *err)
{
    qd_backup_report *r = c->report;
    if (r->absent_count > 0 && strcmp(r->absent[r->absent_count - 1], job) == 0)
        return QD_OK;
    qd_code code = qd_grow((void **)&r->absent, &c->absent_capacity, r->absent_count + 1, sizeof *r->absent, err);
    if (code == QD_OK)
        code = qd_dup(job, &r->absent[r->absent_count], err);
    r->absent_count += code == QD_OK;
    return code;
}

/* QD_EFORMAT: it is not what the row says. */
static qd_code check_file(const carriage *c, const char *path, const qd_artifact_row *row, qd_error *err)
{
    char digest[QD_DIGEST_HEX];
    uint64_t size = 0;
    qd_code code = qd_file_size(path, &size, err);
    if (code == QD_OK && size != row->size)
        return qd_fail(err, QD_EFORMAT, "'%s' has another size", path);
    if (code != QD_OK || c->digests == TRUST)
        return code;
    code = qd_sha256_file(path, digest, err);
    return code == QD_OK && strcmp(digest, row->sha256) != 0 ? qd_fail(err, QD_EFORMAT, "'%s' has another digest", path)
                                                             : code;
}

static qd_code carry_file(const carriage *c, const qd_artifact_row *row, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *from = file_path(c->from, row);
    QD_AUTO(qd_free_pointer) char *to = file_path(c->to, row);
    if (from == NULL || to == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    qd_code code = check_file(c, from, row, err);
    if (code == QD_OK)
        code = make_parent(to, err);
    if (code != QD_OK || link(from, to) == 0)
        return code;
    return qd_file_copy(from, to, err);
}

/* One that is not there, or is damaged, is reported; a full disk ends it all. */
static qd_code carry(void *ctx, const qd_artifact_row *row, qd_error *err)
{
    carriage *c = ctx;
    qd_error why = { 0 };
    qd_code code = c->from == NULL ? QD_ENOTFOUND : carry_file(c, row, &why);
    if (strcmp(c->job, row->job) != 0)
        c->report->artifacts++;
    snprintf(c->job, sizeof c->job, "%s", row->job);
    if (code == QD_OK) {
        c->report->files++;
        c->report->bytes += row->size;
        return QD_OK;
    }
    if (code == QD_ENOTFOUND || code == QD_EFORMAT)
        return note_absent(c, row->job, err);
    if (err != NULL)
        *err = why;
    return code;
}

/* Parts of an artifact are of no use. */
static void drop_incomplete(const carriage *c)
{
    for (size_t i = 0; i < c->report->absent_count; i++) {
        QD_AUTO(qd_str_fini) qd_str path = { 0 };
        qd_str_addf(&path, "%s/%s/%s", c->to, artifacts_name, c->report->absent[i]);
        qd_dir_remove(qd_str_borrow(&path), NULL);
    }
    c->report->artifacts -= c->report->absent_count;
}

static qd_code count_only(void *ctx, const qd_artifact_row *row, qd_error *err)
{
    (void)ctx;
    (void)row;
    (void)err;
    return QD_OK;
}

static qd_code fill(const char *state, const char *folder, qd_backup_parts parts, qd_backup_report *report,
                    qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *from = qd_path_join(state, database_name);
    QD_AUTO(qd_free_pointer) char *to = qd_path_join(folder, database_name);
    carriage c = { .from = state, .to = folder, .digests = TRUST, .report = report };
    if (from == NULL || to == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    qd_code code = qd_dir_make(folder, err);
    if (code == QD_OK)
        code = qd_database_copy(from, to, err);
    if (code == QD_OK)
        code = qd_database_each_artifact(to, &report->jobs, parts == QD_BACKUP_WITH_ARTIFACTS ? carry : count_only, &c,
                                         err);
    drop_incomplete(&c);
    return code == QD_OK ? qd_dir_sync(folder, err) : code;
}

qd_code qd_backup_make(const char *state, const char *to, qd_backup_parts parts, qd_backup_report *out, qd_error *err)
{
    QD_AUTO(qd_backup_report_fini) qd_backup_report report = { 0 };
    QD_AUTO(qd_free_pointer) char *temporary = qd_path_temporary(to);
    if (temporary == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    if (qd_path_exists(to))
        return qd_fail(err, QD_ECONFLICT, "'%s' exists already: a backup is a new folder", to);
    qd_code code = fill(state, temporary, parts, &report, err);
    if (code == QD_OK)
        code = qd_file_rename(temporary, to, err);
    if (code != QD_OK) {
        qd_dir_remove(temporary, NULL);
        return code;
    }
    *out = report;
    report = (qd_backup_report){ 0 };
    return QD_OK;
}

/* A restore that was broken off left STATE/restoring, and perhaps moved artifacts already; quantd.db comes last. */
static qd_code check_empty(const char *state, const char *restoring, qd_error *err)
{
    static const char *const harmless[] = { "quantd.lock", "lost+found", QD_RESTORING, artifacts_name };
    bool broken_off = qd_path_exists(restoring);
    char **names = NULL;
    size_t count = 0;
    qd_code code = qd_dir_list(state, &names, &count, err);
    for (size_t i = 0; code == QD_OK && i < count; i++) {
        size_t k = 0, known = QD_LENGTH(harmless) - !broken_off; /* without it, artifacts are somebody's */
        while (k < known && strcmp(names[i], harmless[k]) != 0)
            k++;
        if (k == known)
            code = qd_fail(err, QD_ECONFLICT, "'%s' holds '%s': a backup is restored into an empty folder", state,
                           names[i]);
    }
    qd_names_free(names, count);
    return code;
}

typedef struct forgetting {
    char **jobs;
    size_t count;
} forgetting;

static qd_code forget_absent(void *ctx, qd_tx *tx, qd_error *err)
{
    const forgetting *f = ctx;
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < f->count; i++)
        code = qd_retention_forget_artifact(tx, f->jobs[i], err);
    return code;
}

/* Opened as the service will: brought to our schema, and found to work. */
static qd_code settle_database(const char *folder, const qd_backup_report *report, qd_error *err)
{
    qd_store *store = NULL;
    forgetting f = { report->absent, report->absent_count };
    qd_code code = qd_store_open(folder, &store, err);
    if (code == QD_OK)
        code = qd_store_write(store, forget_absent, &f, err);
    qd_store_close(store);
    return code;
}

static qd_code install(const char *restoring, const char *state, const char *name, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *from = qd_path_join(restoring, name);
    QD_AUTO(qd_free_pointer) char *to = qd_path_join(state, name);
    if (from == NULL || to == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return qd_path_exists(from) ? qd_file_rename(from, to, err) : QD_OK;
}

static qd_code bring_back(const char *from, const char *database, const char *restoring, qd_backup_report *report,
                          qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *to = qd_path_join(restoring, database_name);
    carriage c = { .from = from, .to = restoring, .digests = VERIFY, .report = report };
    qd_code code = to == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_dir_make(restoring, err);
    if (code == QD_OK)
        code = qd_database_copy(database, to, err);
    if (code == QD_OK)
        code = qd_database_each_artifact(to, &report->jobs, carry, &c, err);
    drop_incomplete(&c);
    return code == QD_OK ? settle_database(restoring, report, err) : code;
}

static qd_code restore_locked(const char *from, const char *state, qd_backup_report *report, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *restoring = qd_path_join(state, QD_RESTORING);
    QD_AUTO(qd_free_pointer) char *moved = qd_path_join(state, artifacts_name);
    bool folder = qd_path_is_folder(from);
    QD_AUTO(qd_free_pointer) char *database = folder ? qd_path_join(from, database_name) : strdup(from);
    if (restoring == NULL || moved == NULL || database == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    qd_code code = check_empty(state, restoring, err);
    if (code == QD_OK && qd_path_exists(restoring))
        code = qd_dir_remove(moved, err);
    if (code == QD_OK)
        code = qd_dir_remove(restoring, err);
    if (code == QD_OK)
        code = bring_back(folder ? from : NULL, database, restoring, report, err);
    if (code == QD_OK)
        code = install(restoring, state, artifacts_name, err);
    if (code == QD_OK)
        code = install(restoring, state, database_name, err);
    return code == QD_OK ? qd_dir_remove(restoring, err) : code;
}

qd_code qd_backup_restore(const char *from, const char *state, qd_backup_report *out, qd_error *err)
{
    QD_AUTO(qd_backup_report_fini) qd_backup_report report = { 0 };
    QD_AUTO(qd_close_fd) int lock = -1;
    if (!qd_path_exists(from))
        return qd_fail(err, QD_ENOTFOUND, "there is no backup '%s'", from);
    qd_code code = qd_dir_make(state, err);
    if (code == QD_OK)
        code = qd_state_lock_take(state, 0, &lock, err);
    if (code == QD_OK)
        code = restore_locked(from, state, &report, err);
    if (code != QD_OK)
        return code;
    *out = report;
    report = (qd_backup_report){ 0 };
    return QD_OK;
}
