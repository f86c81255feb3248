/* artifact.c: paths and files that may be read; see service.h. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "jobs/paths.h"
#include "jobs/service_private.h"
#include "store/artifact_rows.h"
#include "store/job_rows.h"
#include "store/retention_rows.h"

typedef struct lookup {
    const char *id, *path; /* path NULL: the job only */
    qd_state_id state;
    uint64_t size;
    char sha256[QD_DIGEST_HEX];
    int64_t finished_ms;
} lookup;

static qd_code look_up(void *ctx, qd_tx *tx, qd_error *err)
{
    lookup *l = ctx;
    QD_AUTO(qd_job_row_fini) qd_job_row row = { 0 };
    bool there = false;
    qd_code code = qd_job_row_read(tx, l->id, &row, err);
    if (code == QD_OK)
        code = qd_state_read(row.id, row.state, &l->state, err);
    l->finished_ms = row.finished_ms;
    if (code == QD_OK && l->state == QD_STATE_SUCCEEDED)
        code = qd_retention_has_artifact(tx, l->id, &there, err);
    if (code == QD_OK && l->state == QD_STATE_SUCCEEDED && !there)
        return qd_fail(
            err, QD_EGONE,
            "the artifact of job '%s' was removed to save space (keep-artifacts, artifacts-limit), or was not in "
            "the backup; the job's result and certificate stay",
            l->id);
    if (code == QD_OK && l->path != NULL && l->state == QD_STATE_SUCCEEDED)
        code = qd_artifact_row_find(tx, l->id, l->path, &l->size, l->sha256, err);
    return code;
}

static qd_code find_artifact(qd_service *service, lookup *l, qd_error *err)
{
    qd_code code = qd_store_read(service->store, look_up, l, err);
    if (code == QD_OK && l->state != QD_STATE_SUCCEEDED)
        return qd_fail(err, QD_ENOTFOUND, "job '%s' is %s: it has no artifact", l->id, qd_state_at(l->state)->name);
    return code;
}

qd_code qd_service_artifact_dir(qd_service *service, const char *id, char **out_path, qd_error *err)
{
    lookup l = { .id = id };
    QD_AUTO(qd_job_paths_fini) qd_job_paths paths = { 0 };
    qd_code code = find_artifact(service, &l, err);
    if (code == QD_OK)
        code = qd_job_paths_init(service->settings.state_dir, id, &paths, err);
    return code == QD_OK ? qd_dup(paths.artifact, out_path, err) : code;
}

qd_code qd_service_log_path(qd_service *service, const char *id, char **out_path, qd_error *err)
{
    lookup l = { .id = id };
    QD_AUTO(qd_job_paths_fini) qd_job_paths paths = { 0 };
    qd_code code = qd_store_read(service->store, look_up, &l, err);
    if (code == QD_OK)
        code = qd_job_paths_init(service->settings.state_dir, id, &paths, err);
    if (code == QD_OK && !qd_path_exists(paths.log))
        code = qd_fail(err, QD_ENOTFOUND, "job '%s' has no log yet", id);
    return code == QD_OK ? qd_dup(paths.log, out_path, err) : code;
}

qd_code qd_service_artifact_open(qd_service *service, const char *id, const char *path, int *out_fd, uint64_t *out_size,
                                 char out_sha256_hex[QD_DIGEST_HEX], qd_error *err)
{
    lookup l = { .id = id, .path = path };
    QD_AUTO(qd_job_paths_fini) qd_job_paths paths = { 0 };
    qd_code code = find_artifact(service, &l, err);
    if (code == QD_OK)
        code = qd_job_paths_init(service->settings.state_dir, id, &paths, err);
    if (code != QD_OK)
        return code;
    QD_AUTO(qd_close_fd) int folder = open(paths.artifact, O_PATH | O_DIRECTORY | O_CLOEXEC);
    QD_AUTO(qd_close_fd) int fd = folder < 0 ? -1 : qd_open_beneath(folder, path, 0);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0)
        return qd_fail_errno(err, "open '%.200s' of job '%s'", path, id);
    if (!S_ISREG(info.st_mode) || (uint64_t)info.st_size != l.size)
        return qd_fail(err, QD_EIO, "'%.200s' of job '%s' is not the file that was published", path, id);
    *out_size = l.size;
    memcpy(out_sha256_hex, l.sha256, sizeof l.sha256);
    *out_fd = fd;
    fd = -1;
    return QD_OK;
}

void qd_artifact_fini(qd_artifact *artifact)
{
    for (size_t i = 0; i < artifact->count; i++)
        free(artifact->files[i].path);
    free(artifact->files);
    qd_close_fd(&artifact->folder);
    *artifact = (qd_artifact){ .folder = -1 };
}

typedef struct inventory {
    const char *id;
    qd_artifact *artifact;
    size_t room;
} inventory;

static qd_code add_file(void *ctx, const char *path, uint64_t size, const char *sha256, qd_error *err)
{
    inventory *v = ctx;
    qd_artifact *a = v->artifact;
    if (a->count == v->room) {
        size_t room = v->room == 0 ? 64 : 2 * v->room;
        qd_artifact_file *more = reallocarray(a->files, room, sizeof *more);
        if (more == NULL)
            return qd_fail(err, QD_ENOMEM, "out of memory");
        a->files = more;
        v->room = room;
    }
    qd_artifact_file *file = &a->files[a->count];
    *file = (qd_artifact_file){ .size = size };
    snprintf(file->sha256, sizeof file->sha256, "%s", sha256);
    qd_code code = qd_dup(path, &file->path, err);
    a->count += code == QD_OK;
    return code;
}

static qd_code take_inventory(void *ctx, qd_tx *tx, qd_error *err)
{
    inventory *v = ctx;
    lookup l = { .id = v->id };
    qd_code code = look_up(&l, tx, err);
    v->artifact->finished_ms = l.finished_ms;
    return code == QD_OK ? qd_artifact_row_each(tx, v->id, add_file, v, err) : code;
}

qd_code qd_service_artifact_list(qd_service *service, const char *id, qd_artifact *out, qd_error *err)
{
    QD_AUTO(qd_artifact_fini) qd_artifact found = { .folder = -1 };
    QD_AUTO(qd_free_pointer) char *path = NULL;
    inventory v = { .id = id, .artifact = &found };
    qd_code code = qd_service_artifact_dir(service, id, &path, err);
    if (code == QD_OK)
        code = qd_store_read(service->store, take_inventory, &v, err);
    if (code != QD_OK)
        return code;
    found.folder = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (found.folder < 0)
        return qd_fail_errno(err, "open the artifact of job '%s'", id);
    *out = found;
    found = (qd_artifact){ .folder = -1 };
    return QD_OK;
}
