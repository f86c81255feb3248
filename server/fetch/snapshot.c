/* snapshot.c: model folders as links to blobs; see cache.h. */
#include <errno.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/str.h"
#include "fetch/cache.h"

qd_code qd_snapshot_id(const qd_snapshot_file *files, size_t count, char out_id[QD_DIGEST_HEX], qd_error *err)
{
    qd_str list = { 0 };
    for (size_t i = 0; i < count; i++)
        qd_str_addf(&list, "%s %s\n", files[i].sha256, files[i].name);
    qd_code code = qd_str_check(&list, err);
    if (code == QD_OK)
        code = qd_sha256(list.data, list.length, out_id, err);
    qd_str_fini(&list);
    return code;
}

qd_code qd_snapshot_place(const qd_cache *cache, const char *folder, const qd_snapshot_file *file, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *blob = qd_cache_blob_path(cache, file->sha256);
    QD_AUTO(qd_free_pointer) char *name = qd_path_join(folder, file->name);
    if (blob == NULL || name == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    if (!QD_FAULT_FAILS("snapshot.link") && link(blob, name) == 0)
        return QD_OK;
    if (errno == ENOENT || errno == ENOSPC)
        return qd_fail_errno(err, "link '%s'", name);
    return qd_file_copy(blob, name, err); /* a file system without links, or too many of them */
}

static qd_code build(const qd_cache *cache, const char *folder, const qd_snapshot_file *files, size_t count,
                     qd_error *err)
{
    qd_code code = qd_dir_remove(folder, err);
    if (code == QD_OK)
        code = qd_dir_make(folder, err);
    for (size_t i = 0; code == QD_OK && i < count; i++)
        code = qd_snapshot_place(cache, folder, &files[i], err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("snapshot.built", err);
    return code == QD_OK ? qd_dir_sync(folder, err) : code;
}

/* A snapshot came by one rename, so it was whole; this notices what an operator's hand removed since. */
static qd_same is_whole(const qd_cache *cache, const char *folder, const qd_snapshot_file *files, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        QD_AUTO(qd_free_pointer) char *blob = qd_cache_blob_path(cache, files[i].sha256);
        QD_AUTO(qd_free_pointer) char *name = qd_path_join(folder, files[i].name);
        uint64_t a, b;
        if (blob == NULL || name == NULL || qd_file_size(blob, &a, NULL) != QD_OK ||
            qd_file_size(name, &b, NULL) != QD_OK || a != b)
            return QD_DIFFERENT;
    }
    return QD_SAME;
}

/* rename does not replace a folder that holds something: then somebody else was first, or it is broken. */
static qd_code install(const qd_cache *cache, const char *temporary, const char *folder, const qd_snapshot_file *files,
                       size_t count, qd_error *err)
{
    if (qd_file_rename(temporary, folder, err) == QD_OK)
        return QD_OK;
    if (!qd_path_exists(folder))
        return err == NULL ? QD_EIO : err->code;
    if (is_whole(cache, folder, files, count) == QD_SAME)
        return qd_dir_remove(temporary, err);
    qd_code code = qd_dir_remove(folder, err);
    return code == QD_OK ? qd_file_rename(temporary, folder, err) : code;
}

qd_code qd_snapshot_make(const qd_cache *cache, const qd_snapshot_file *files, size_t count, char **out_folder,
                         qd_error *err)
{
    char id[QD_DIGEST_HEX];
    qd_code code = qd_snapshot_id(files, count, id, err);
    if (code != QD_OK)
        return code;
    QD_AUTO(qd_free_pointer) char *folder = qd_cache_path(cache, "snapshots", id, "");
    QD_AUTO(qd_free_pointer) char *temporary = folder == NULL ? NULL : qd_path_temporary(folder);
    if (folder == NULL || temporary == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    if (qd_cache_use(cache, folder) != QD_SAME || is_whole(cache, folder, files, count) != QD_SAME) {
        code = build(cache, temporary, files, count, err);
        if (code == QD_OK)
            code = install(cache, temporary, folder, files, count, err);
        if (code != QD_OK) {
            qd_dir_remove(temporary, NULL);
            return qd_within(err, code, "snapshot");
        }
    }
    QD_FAULT("snapshot.made");
    *out_folder = folder;
    folder = NULL;
    return QD_OK;
}
