/* folder.c: file:// sources below the configured roots, opened so that no '..', link or race leads out. See run.h.
 * Files are copied into the cache: a model must not change under a job that takes hours. */
#include "fetch/run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/clock.h"
#include "base/file.h"
#include "fetch/part.h"
#include "fetch/peek_item.h"

enum { CHUNK = 1 << 20 };
static const double report_seconds = 0.2;

/* The part of `path` below `root` ("" = the root itself), or NULL. */
static const char *below(const char *root, const char *path)
{
    size_t length = strlen(root);
    while (length > 0 && root[length - 1] == '/')
        length--;
    if (strncmp(root, path, length) != 0 || (path[length] != '/' && path[length] != '\0'))
        return NULL;
    return path + length + strspn(path + length, "/");
}

static const char *find_root(const qd_fetcher *fetcher, const char *path, const char **out_rest)
{
    for (size_t i = 0; i < fetcher->root_count; i++) {
        const qd_root *root = &fetcher->roots[i];
        *out_rest = below(root->real, path);
        if (*out_rest == NULL && root->given[0] == '/')
            *out_rest = below(root->given, path);
        if (*out_rest != NULL)
            return root->real;
    }
    return NULL;
}

qd_code qd_folder_check(const qd_fetcher *fetcher, const char *path, qd_error *err)
{
    const char *rest;
    if (find_root(fetcher, path, &rest) != NULL)
        return QD_OK;
    if (fetcher->root_count == 0)
        return qd_fail(err, QD_EDENIED, "'%s': no file-root is configured, so file urls are refused", path);
    return qd_fail(err, QD_EDENIED, "'%s' is not below a file-root", path);
}

static qd_code open_beneath(const char *root, const char *rest, int *out_fd, qd_error *err)
{
    QD_AUTO(qd_close_fd) int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return qd_fail_errno(err, "file-root '%s'", root);
    int fd = qd_open_beneath(dir, rest[0] == '\0' ? "." : rest, O_NONBLOCK);
    if (fd >= 0) {
        *out_fd = fd;
        return QD_OK;
    }
    if (errno == ENOSYS)
        return qd_fail(err, QD_EUNSUPPORTED, "file urls need openat2, which this system lacks (Linux 5.6 has it)");
    if (errno == ELOOP || errno == EXDEV)
        return qd_fail(err, QD_EDENIED, "'%s/%s' leads through a symbolic link or out of the file-root", root, rest);
    return qd_fail_errno(err, "'%s/%s'", root, rest);
}

static qd_code open_source(const qd_fetch_run *run, const char *path, int *out_fd, struct stat *out_info, qd_error *err)
{
    const char *rest = "", *root;
    qd_code code = qd_folder_check(run->fetcher, path, err);
    if (code != QD_OK)
        return code;
    root = find_root(run->fetcher, path, &rest);
    code = open_beneath(root, rest, out_fd, err);
    if (code != QD_OK)
        return code;
    if (fstat(*out_fd, out_info) != 0)
        return qd_fail_errno(err, "stat '%s'", path);
    return S_ISREG(out_info->st_mode) ? QD_OK : qd_fail(err, QD_EFORMAT, "'%s' is not a regular file", path);
}

static qd_code copy_bytes(qd_fetch_run *run, int from, qd_part *part, qd_error *err)
{
    QD_AUTO(qd_free_pointer) void *chunk = NULL;
    double reported = qd_clock_seconds();
    qd_code code = qd_alloc(CHUNK, 1, &chunk, err);
    while (code == QD_OK) {
        ssize_t got = read(from, chunk, CHUNK);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return qd_fail_errno(err, "read");
        if (got == 0)
            return part->offset == part->size ? QD_OK : qd_fail(err, QD_EFORMAT, "the file changed while it was read");
        if ((uint64_t)got > part->size - part->offset)
            return qd_fail(err, QD_EFORMAT, "the file changed while it was read");
        code = qd_part_add(part, chunk, (size_t)got, err);
        atomic_fetch_add(&run->done, (uint64_t)got);
        if (code == QD_OK)
            code = qd_cancel_check(run->egress.cancel, err);
        if (qd_clock_seconds() - reported < report_seconds)
            continue;
        reported = qd_clock_seconds();
        qd_fetch_run_report(run, part->shown_url);
    }
    return code;
}

static void settle(qd_item *item, qd_origin origin, const char *sha256, uint64_t bytes)
{
    item->presence = QD_PRESENT;
    item->origin = origin;
    item->bytes = bytes;
    memcpy(item->sha256, sha256, strlen(sha256) + 1);
}

/* Reads the whole file; what the network does with a range, a disk does not need. */
static qd_code import(qd_fetch_run *run, int from, const char *key, qd_item *item, const qd_index_entry *stamp,
                      qd_error *err)
{
    const qd_fetcher *fetcher = run->fetcher;
    QD_AUTO(qd_part_fini) qd_part part = { .fd = -1 };
    qd_code code = qd_part_init(&part, &fetcher->cache, key, item->name, QD_PROOF_NONE, fetcher->disk_floor_bytes, err);
    if (code == QD_OK)
        code = qd_part_restart(&part, err);
    if (code == QD_OK)
        code = qd_part_expect(&part, stamp->etag, stamp->size, err);
    if (code == QD_OK)
        code = copy_bytes(run, from, &part, err);
    qd_index_entry entry = *stamp;
    if (code == QD_OK)
        code = qd_part_finish(&part, item->want_sha256, "", entry.sha256, err);
    if (code == QD_OK)
        code = qd_cache_remember(&fetcher->cache, key, item->name, &entry, err);
    if (code == QD_OK)
        settle(item, QD_ORIGIN_NETWORK, entry.sha256, entry.size);
    if (part.path != NULL)
        qd_part_discard(&part);
    return code;
}

/* Unchanged since it was read last: same place, size, times and inode. */
static void stamp_of(const struct stat *info, qd_index_entry *out)
{
    *out = (qd_index_entry){ .size = (uint64_t)info->st_size };
    snprintf(out->etag, sizeof out->etag, "%ju:%ju:%jd:%jd.%09ld:%jd.%09ld", (uintmax_t)info->st_dev,
             (uintmax_t)info->st_ino, (intmax_t)info->st_size, (intmax_t)info->st_mtim.tv_sec, info->st_mtim.tv_nsec,
             (intmax_t)info->st_ctim.tv_sec, info->st_ctim.tv_nsec);
}

qd_same qd_folder_cached(const qd_fetcher *fetcher, const char *path, const struct stat *info)
{
    char key[QD_DIGEST_HEX];
    qd_index_entry stamp, known;
    stamp_of(info, &stamp);
    if (qd_cache_key("file", path, key, NULL) != QD_OK || qd_cache_recall(&fetcher->cache, key, &known) != QD_SAME)
        return QD_DIFFERENT;
    return strcmp(known.etag, stamp.etag) == 0 ? QD_SAME : QD_DIFFERENT;
}

static qd_code take(qd_fetch_run *run, const char *path, int fd, const struct stat *info, qd_item *item, qd_error *err)
{
    char key[QD_DIGEST_HEX];
    qd_index_entry stamp, known;
    QD_AUTO(qd_cache_unlock) qd_cache_hold lock = { .fd = -1 };
    const qd_cache *cache = &run->fetcher->cache;
    stamp_of(info, &stamp);
    atomic_fetch_add(&run->unannounced, 1);
    qd_code code = qd_item_announce(run, item, stamp.size, err);
    if (code == QD_OK)
        code = qd_cache_key("file", path, key, err);
    if (code == QD_OK)
        code = qd_cache_lock(cache, key, run->egress.cancel, &run->stop, &lock, err);
    if (code != QD_OK)
        return code;
    if (qd_cache_recall(cache, key, &known) == QD_SAME && strcmp(known.etag, stamp.etag) == 0 &&
        (item->want_sha256[0] == '\0' || strcmp(item->want_sha256, known.sha256) == 0)) {
        settle(item, QD_ORIGIN_CACHE, known.sha256, known.size);
        atomic_fetch_add(&run->done, known.size);
        return QD_OK;
    }
    return import(run, fd, key, item, &stamp, err);
}

qd_code qd_folder_obtain_file(qd_fetch_run *run, const char *path, qd_item *item, qd_error *err)
{
    QD_AUTO(qd_close_fd) int fd = -1;
    struct stat info;
    qd_error inner;
    qd_code code = open_source(run, path, &fd, &info, &inner);
    if (code == QD_ENOTFOUND && item->need == QD_NEED_NOT) {
        item->presence = QD_ABSENT;
        return QD_OK;
    }
    if (code == QD_ENOTFOUND && item->need == QD_NEED_INDEXED)
        return qd_fail(err, QD_EFORMAT, "the index names '%s', which is missing", item->name);
    if (code == QD_OK)
        code = qd_peek_takes(run, item) == QD_SAME ? qd_peek_local(run, path, fd, &info, item, &inner)
                                                   : take(run, path, fd, &info, item, &inner);
    if (code != QD_OK)
        return qd_fail(err, code, "'%s': %s", item->name, inner.text);
    qd_fetch_run_report(run, item->name);
    return QD_OK;
}

static qd_code locate(void *ctx, const char *name, qd_item *item, qd_error *err)
{
    const qd_source *source = ctx;
    item->url.path = qd_path_join(source->local, name);
    return item->url.path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}

static qd_code obtain(void *ctx, qd_fetch_run *run, qd_items *items, size_t first, qd_error *err)
{
    (void)ctx;
    qd_code code = QD_OK;
    for (size_t i = first; code == QD_OK && i < items->count; i++)
        if (items->rows[i].presence == QD_PENDING)
            code = qd_folder_obtain_file(run, items->rows[i].url.path, &items->rows[i], err);
    return code;
}

/* Names in the source's folder, as far as they may be in a snapshot. */
static qd_code list_names(const qd_fetch_run *run, const char *path, char ***names, size_t *count, qd_error *err)
{
    QD_AUTO(qd_close_fd) int fd = -1;
    const char *rest = "", *root = find_root(run->fetcher, path, &rest);
    size_t capacity = 0;
    qd_code code = root == NULL ? qd_folder_check(run->fetcher, path, err) : open_beneath(root, rest, &fd, err);
    if (code != QD_OK)
        return code;
    DIR *folder = fdopendir(fd);
    if (folder == NULL)
        return qd_fail_errno(err, "'%s'", path);
    fd = -1; /* closed with it */
    for (const struct dirent *entry; code == QD_OK && (entry = readdir(folder)) != NULL;) {
        if (qd_name_is_plain(entry->d_name) != QD_SAME)
            continue;
        code = qd_grow((void **)names, &capacity, *count + 1, sizeof **names, err);
        if (code == QD_OK)
            code = qd_dup(entry->d_name, &(*names)[*count], err);
        *count += code == QD_OK;
    }
    closedir(folder);
    qd_names_sort(*names, *count);
    return code;
}

qd_code qd_folder_obtain(qd_fetch_run *run, const qd_source *source, const json_t *sha256, qd_items *items,
                         qd_error *err)
{
    char **names = NULL;
    size_t count = 0;
    qd_supply supply = { .obtain = obtain, .locate = locate, .ctx = (void *)(uintptr_t)source };
    qd_code code = QD_OK;
    if (source->weights == NULL) {
        /* A folder that may not be listed may still hold files of known names: they will tell. */
        (void)list_names(run, source->local, &names, &count, NULL);
        code = qd_contents_find_gguf((const char *const *)names, count, &supply.gguf, err);
        if (code != QD_OK)
            code = qd_within(err, code, "'%s'", source->local);
    }
    if (code == QD_OK)
        code = qd_contents_obtain(run, &supply, source->weights, sha256, items, err);
    qd_names_free(names, count);
    return code;
}
