/* cache.c: see cache.h. Snapshots are in snapshot.c, partial files in part.c. */
#include "fetch/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum { PARTIAL_SECONDS = 7 * 24 * 3600, TEMPORARY_SECONDS = 3600, RECORD_LIMIT = 65536, LOCK_POLL_MS = 50 };

char *qd_cache_path(const qd_cache *cache, const char *folder, const char *key, const char *suffix)
{
    qd_str path = { 0 };
    qd_str_addf(&path, "%s/%s/%s%s", cache->root, folder, key, suffix);
    return qd_str_take(&path);
}

char *qd_cache_blob_path(const qd_cache *cache, const char *sha256)
{
    qd_str path = { 0 };
    qd_str_addf(&path, "%s/blobs/%.2s/%s", cache->root, sha256, sha256);
    return qd_str_take(&path);
}

/* 1 = ours, 0 = somebody else's, -1 = the file was replaced meanwhile: open it again. */
static int try_lock(int fd, const char *path)
{
    struct stat mine, named;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return 0;
    if (fstat(fd, &mine) != 0 || stat(path, &named) != 0 || mine.st_ino != named.st_ino)
        return -1;
    return 1;
}

/* A partial file is only removed under its lock: a download that goes on for a week is not disturbed. */
static void collect_partial(const qd_cache *cache, const char *name)
{
    char key[QD_DIGEST_HEX] = "";
    size_t length = strcspn(name, ".");
    if (length != 64)
        return;
    memcpy(key, name, 64);
    QD_AUTO(qd_free_pointer) char *lock = qd_cache_path(cache, "partial", key, ".lock");
    QD_AUTO(qd_free_pointer) char *path = qd_cache_path(cache, "partial", name, "");
    QD_AUTO(qd_close_fd) int fd = lock == NULL ? -1 : open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (path == NULL || fd < 0 || try_lock(fd, lock) != 1)
        return;
    unlink(path);
    unlink(lock);
}

/* Bytes of a download are worth keeping for a week; what a killed process was about to rename is worth nothing, and is
 * given an hour in case the process lives. */
static void collect_folder(const qd_cache *cache, const char *folder)
{
    char **names = NULL;
    size_t count = 0;
    bool partial = strcmp(folder, "partial") == 0;
    QD_AUTO(qd_free_pointer) char *path = qd_cache_path(cache, folder, "", "");
    if (path == NULL || qd_dir_list(path, &names, &count, NULL) != QD_OK)
        return;
    time_t now = time(NULL);
    for (size_t i = 0; i < count; i++) {
        QD_AUTO(qd_free_pointer) char *full = qd_path_join(path, names[i]);
        bool temporary = strstr(names[i], ".tmp.") != NULL;
        struct stat info;
        if (full == NULL || lstat(full, &info) != 0 ||
            now - info.st_mtime < (temporary ? TEMPORARY_SECONDS : PARTIAL_SECONDS))
            continue;
        if (temporary)
            qd_dir_remove(full, NULL);
        else if (partial)
            collect_partial(cache, names[i]);
    }
    qd_names_free(names, count);
}

static qd_code read_entry(const char *path, qd_index_entry *out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *record = NULL;
    const char *etag, *modified, *sha256;
    size_t size;
    qd_code code = qd_json_read_object(path, RECORD_LIMIT, 4, &record, err);
    if (code == QD_OK)
        code = qd_json_text(record, "etag", "", &etag, err);
    if (code == QD_OK)
        code = qd_json_text(record, "last_modified", "", &modified, err);
    if (code == QD_OK)
        code = qd_json_text(record, "sha256", "", &sha256, err);
    if (code == QD_OK)
        code = qd_json_size(record, "size", 0, &size, err);
    if (code != QD_OK)
        return code;
    if (strlen(etag) >= sizeof out->etag || strlen(modified) >= sizeof out->last_modified || strlen(sha256) != 64)
        return qd_fail(err, QD_EFORMAT, "index record '%s'", path);
    *out = (qd_index_entry){ .size = size };
    memcpy(out->etag, etag, strlen(etag) + 1);
    memcpy(out->last_modified, modified, strlen(modified) + 1);
    memcpy(out->sha256, sha256, 65);
    return QD_OK;
}

/* What a URL gave last time is of no use when the blob is gone. */
static void collect_records(const qd_cache *cache)
{
    char **names = NULL;
    size_t count = 0;
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(cache->root, "index");
    if (path == NULL || qd_dir_list(path, &names, &count, NULL) != QD_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        QD_AUTO(qd_free_pointer) char *full = qd_path_join(path, names[i]);
        qd_index_entry entry;
        struct stat info;
        if (full == NULL || lstat(full, &info) != 0 || time(NULL) - info.st_mtime < PARTIAL_SECONDS ||
            read_entry(full, &entry, NULL) != QD_OK)
            continue;
        QD_AUTO(qd_free_pointer) char *blob = qd_cache_blob_path(cache, entry.sha256);
        if (blob != NULL && !qd_path_exists(blob))
            unlink(full);
    }
    qd_names_free(names, count);
}

void qd_cache_collect_stale(const qd_cache *cache)
{
    QD_FAULT("cache.collect");
    collect_folder(cache, "partial");
    collect_folder(cache, "index");
    collect_folder(cache, "snapshots");
    collect_records(cache);
}

qd_same qd_cache_use(const qd_cache *cache, const char *path)
{
    pthread_mutex_lock(&cache->users->mutex);
    int result = utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW);
    int reason = errno;
    pthread_mutex_unlock(&cache->users->mutex);
    /* An owner's cache that we may only read is nobody's to collect in. */
    return result == 0 || reason != ENOENT ? QD_SAME : QD_DIFFERENT;
}

qd_code qd_cache_make_folders(const qd_cache *cache, qd_error *err)
{
    static const char *const folders[] = { "blobs", "partial", "index", "snapshots" };
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(folders); i++) {
        QD_AUTO(qd_free_pointer) char *path = qd_path_join(cache->root, folders[i]);
        code = path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_dir_make(path, err);
    }
    return code;
}

qd_code qd_cache_init(qd_cache *cache, const char *root, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *made = NULL;
    qd_code code = qd_dir_make(root, err);
    if (code != QD_OK)
        return code;
    made = realpath(root, NULL); /* snapshot paths must hold after a chdir */
    if (made == NULL)
        return qd_fail_errno(err, "cache folder '%s'", root);
    *cache = (qd_cache){ .root = made };
    made = NULL;
    code = qd_alloc(1, sizeof *cache->users, (void **)&cache->users, err);
    if (code == QD_OK) {
        pthread_mutex_init(&cache->users->mutex, NULL);
        code = qd_cache_make_folders(cache, err);
    }
    if (code != QD_OK) {
        qd_cache_fini(cache);
        return code;
    }
    qd_cache_collect_stale(cache);
    return QD_OK;
}

void qd_cache_fini(qd_cache *cache)
{
    if (cache->users != NULL)
        pthread_mutex_destroy(&cache->users->mutex);
    free(cache->users);
    free(cache->root);
    *cache = (qd_cache){ 0 };
}

qd_same qd_cache_has(const qd_cache *cache, const char *sha256, uint64_t size, uint64_t *out_size)
{
    QD_AUTO(qd_free_pointer) char *path = qd_cache_blob_path(cache, sha256);
    if (path == NULL || qd_cache_use(cache, path) != QD_SAME || qd_file_size(path, out_size, NULL) != QD_OK)
        return QD_DIFFERENT;
    return size == QD_SIZE_UNKNOWN || size == *out_size ? QD_SAME : QD_DIFFERENT;
}

qd_code qd_cache_key(const char *kind, const char *text, char out_key[QD_DIGEST_HEX], qd_error *err)
{
    qd_str whole = { 0 };
    qd_str_addf(&whole, "%s:%s", kind, text);
    qd_code code = qd_str_check(&whole, err);
    if (code == QD_OK)
        code = qd_sha256(whole.data, whole.length, out_key, err);
    qd_str_fini(&whole);
    return code;
}

qd_code qd_cache_publish(const qd_cache *cache, const char *path, const char *sha256, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *blob = qd_cache_blob_path(cache, sha256);
    QD_AUTO(qd_free_pointer) char *folder = blob == NULL ? NULL : strndup(blob, (size_t)(strrchr(blob, '/') - blob));
    if (folder == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    uint64_t there, made;
    if (qd_cache_use(cache, blob) == QD_SAME && qd_file_size(blob, &there, NULL) == QD_OK &&
        qd_file_size(path, &made, NULL) == QD_OK && there == made) {
        unlink(path);
        return QD_OK;
    }
    if (QD_FAULT_FAILS("blob.protect") || chmod(path, 0444) != 0)
        return qd_fail_errno(err, "chmod '%s'", path);
    qd_code code = qd_dir_make(folder, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("blob.name", err);
    if (code != QD_OK)
        return code;
    qd_cache_use(cache, path); /* the last of a long download's bytes came long ago */
    code = qd_file_rename(path, blob, err);
    return code;
}

qd_same qd_cache_recall(const qd_cache *cache, const char *key, qd_index_entry *out)
{
    QD_AUTO(qd_free_pointer) char *path = qd_cache_path(cache, "index", key, ".json");
    uint64_t size;
    if (path == NULL || read_entry(path, out, NULL) != QD_OK)
        return QD_DIFFERENT;
    return qd_cache_has(cache, out->sha256, out->size, &size);
}

qd_code qd_cache_remember(const qd_cache *cache, const char *key, const char *shown_url, const qd_index_entry *entry,
                          qd_error *err)
{
    QD_AUTO(qd_json_fini)
    json_t *record = json_pack("{s:s, s:s, s:s, s:I, s:s}", "url", shown_url, "etag", entry->etag, "last_modified",
                               entry->last_modified, "size", (json_int_t)entry->size, "sha256", entry->sha256);
    QD_AUTO(qd_free_pointer) char *text = record == NULL ? NULL : qd_json_print(record);
    QD_AUTO(qd_free_pointer) char *path = qd_cache_path(cache, "index", key, ".json");
    if (text == NULL || path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    qd_code code = QD_FAULT_CODE("index.write", err);
    return code == QD_OK ? qd_file_write(path, text, strlen(text), err) : code;
}

qd_code qd_cache_lock(const qd_cache *cache, const char *key, const qd_cancel *cancel, const atomic_bool *stop,
                      qd_cache_hold *out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = qd_cache_path(cache, "partial", key, ".lock");
    if (path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    for (;;) {
        QD_AUTO(qd_close_fd) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0 || QD_FAULT_FAILS("cache.lock"))
            return qd_fail_errno(err, "open '%s'", path);
        int got;
        while ((got = try_lock(fd, path)) == 0) {
            if (qd_cancel_requested(cancel) || atomic_load(stop))
                return qd_fail(err, QD_ECANCELLED, "cancelled");
            nanosleep(&(struct timespec){ .tv_nsec = LOCK_POLL_MS * 1000000L }, NULL);
        }
        if (got < 0)
            continue;
        futimens(fd, NULL); /* in use: not a week old */
        *out = (qd_cache_hold){ .fd = fd, .path = path };
        fd = -1;
        path = NULL;
        return QD_OK;
    }
}

/* Who waits for it sees that the name is gone, or another file's, and begins again. */
void qd_cache_unlock(qd_cache_hold *hold)
{
    if (hold->fd >= 0)
        unlink(hold->path);
    qd_close_fd(&hold->fd);
    free(hold->path);
    *hold = (qd_cache_hold){ .fd = -1 };
}

qd_code qd_cache_check_space(const qd_cache *cache, uint64_t needed, uint64_t floor, qd_error *err)
{
    struct statvfs info;
    if (statvfs(cache->root, &info) != 0)
        return qd_fail_errno(err, "statvfs '%s'", cache->root);
    uint64_t available = (uint64_t)info.f_bavail * info.f_frsize, wanted;
    if (__builtin_add_overflow(needed, floor, &wanted) || available < wanted)
        return qd_fail(err, QD_ENOSPC,
                       "%" PRIu64 " bytes are free for downloads; %" PRIu64 " are needed and %" PRIu64
                       " must stay free",
                       available, needed, floor);
    return QD_OK;
}
