/* file.c: see file.h. Folders are in dir.c. */
#include "base/fault.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

qd_code qd_map_open(const char *path, qd_map *out, qd_error *err)
{
    QD_AUTO(qd_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return qd_fail_errno(err, "open '%s'", path);
    struct stat info;
    if (fstat(fd, &info) != 0)
        return qd_fail_errno(err, "stat '%s'", path);
    if (!S_ISREG(info.st_mode))
        return qd_fail(err, QD_EFORMAT, "'%s' is not a regular file", path);
    *out = (qd_map){ .data = NULL, .size = (size_t)info.st_size };
    if (out->size == 0)
        return QD_OK;
    void *data = mmap(NULL, out->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return qd_fail_errno(err, "map '%s'", path);
    out->data = data;
    return QD_OK;
}

void qd_map_fini(qd_map *map)
{
    if (map->data != NULL)
        munmap((void *)(uintptr_t)map->data, map->size);
    *map = (qd_map){ 0 };
}

int qd_open_beneath(int folder, const char *path, int flags)
{
    const struct open_how how = { .flags = (uint64_t)(O_RDONLY | O_CLOEXEC | flags),
                                  .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
    long fd;
    do
        fd = syscall(SYS_openat2, folder, path, &how, sizeof how);
    while (fd < 0 && (errno == EINTR || errno == EAGAIN));
    return (int)fd;
}

static qd_code read_all(int fd, const char *path, size_t limit, qd_str *out, qd_error *err)
{
    qd_str_clear(out);
    char chunk[65536];
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return qd_fail_errno(err, "read '%s'", path);
        if (got == 0)
            break;
        if ((size_t)got > limit - out->length)
            return qd_fail(err, QD_ETOOBIG, "'%s' is larger than the limit of %zu bytes", path, limit);
        qd_str_add_bytes(out, chunk, (size_t)got);
    }
    return qd_str_check(out, err);
}

qd_code qd_file_read(const char *path, size_t limit, qd_str *out, qd_error *err)
{
    QD_AUTO(qd_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return qd_fail_errno(err, "open '%s'", path);
    return read_all(fd, path, limit, out, err);
}

qd_code qd_file_read_regular(const char *path, size_t limit, qd_str *out, qd_error *err)
{
    QD_AUTO(qd_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not make us wait */
    struct stat info;
    if (fd < 0)
        return qd_fail_errno(err, "open '%s'", path);
    if (fstat(fd, &info) != 0)
        return qd_fail_errno(err, "stat '%s'", path);
    if (!S_ISREG(info.st_mode))
        return qd_fail(err, QD_EFORMAT, "'%s' is not a regular file", path);
    if ((uint64_t)info.st_size > limit)
        return qd_fail(err, QD_ETOOBIG, "'%s' is larger than the limit of %zu bytes", path, limit);
    return read_all(fd, path, limit, out, err);
}

qd_code qd_write_all(int fd, const void *bytes, size_t length, qd_error *err)
{
    const char *at = bytes;
    while (length > 0) {
        size_t piece = QD_FAULT_LENGTH("file.piece", length);
        ssize_t put = QD_FAULT_FAILS("file.write") ? -1 : write(fd, at, piece);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return qd_fail_errno(err, "write of %zu bytes", length);
        at += put;
        length -= (size_t)put;
    }
    return QD_OK;
}

char *qd_path_temporary(const char *path)
{
    static atomic_uint counter; /* only to make names differ; not state */
    qd_str name = { 0 };
    qd_str_addf(&name, "%s.tmp.%ld.%u", path, (long)getpid(), atomic_fetch_add(&counter, 1));
    return qd_str_take(&name);
}

static qd_code sync_parent(const char *path, qd_error *err)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return qd_dir_sync(".", err);
    QD_AUTO(qd_free_pointer) char *folder = strndup(path, slash == path ? 1 : (size_t)(slash - path));
    if (folder == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return qd_dir_sync(folder, err);
}

qd_code qd_file_rename(const char *from, const char *to, qd_error *err)
{
    if (QD_FAULT_FAILS("file.rename") || rename(from, to) != 0)
        return qd_fail_errno(err, "rename '%s' to '%s'", from, to);
    QD_FAULT("file.renamed");
    return sync_parent(to, err);
}

static qd_code write_and_sync(const char *path, const void *bytes, size_t length, qd_error *err)
{
    QD_AUTO(qd_close_fd) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 || QD_FAULT_FAILS("file.created"))
        return qd_fail_errno(err, "create '%s'", path);
    qd_code code = qd_write_all(fd, bytes, length, err);
    if (code != QD_OK)
        return qd_within(err, code, "'%s'", path);
    if (QD_FAULT_FAILS("file.sync") || fsync(fd) != 0)
        return qd_fail_errno(err, "fsync '%s'", path);
    return QD_OK;
}

qd_code qd_file_write(const char *path, const void *bytes, size_t length, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *temporary = qd_path_temporary(path);
    if (temporary == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    qd_code code = write_and_sync(temporary, bytes, length, err);
    if (code == QD_OK)
        code = qd_file_rename(temporary, path, err);
    if (code != QD_OK)
        unlink(temporary);
    return code;
}

qd_code qd_file_copy(const char *from, const char *to, qd_error *err)
{
    QD_AUTO(qd_map_fini) qd_map map = { 0 };
    qd_code code = qd_map_open(from, &map, err);
    if (code != QD_OK)
        return code;
    return qd_file_write(to, map.data, map.size, err);
}

qd_code qd_file_size(const char *path, uint64_t *out, qd_error *err)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return qd_fail_errno(err, "stat '%s'", path);
    if (!S_ISREG(info.st_mode))
        return qd_fail(err, QD_EFORMAT, "'%s' is not a regular file", path);
    *out = (uint64_t)info.st_size;
    return QD_OK;
}

bool qd_path_exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

bool qd_path_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

char *qd_path_join(const char *folder, const char *name)
{
    qd_str path = { 0 };
    qd_str_add(&path, folder);
    if (path.length > 0 && path.data[path.length - 1] != '/')
        qd_str_add(&path, "/");
    qd_str_add(&path, name);
    return qd_str_take(&path);
}
