/* dir.c: the folder half of file.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"

qd_code qd_dir_sync(const char *path, qd_error *err)
{
    QD_AUTO(qd_close_fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return qd_fail_errno(err, "open folder '%s'", path);
    if (QD_FAULT_FAILS("folder.sync") || fsync(fd) != 0)
        return qd_fail_errno(err, "fsync folder '%s'", path);
    return QD_OK;
}

qd_code qd_dir_make(const char *path, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *copy = strdup(path);
    if (copy == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    for (char *slash = copy + 1;; slash++) {
        slash = strchr(slash, '/');
        if (slash != NULL)
            *slash = '\0';
        if (QD_FAULT_FAILS("folder.make") || (mkdir(copy, 0755) != 0 && errno != EEXIST))
            return qd_fail_errno(err, "make folder '%s'", copy);
        if (slash == NULL)
            return QD_OK;
        *slash = '/';
        if (slash[1] == '\0')
            return QD_OK;
    }
}

static qd_code remove_at(int parent, const char *name, qd_error *err)
{
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
        return QD_OK;
    if (errno != EISDIR && errno != EPERM)
        return qd_fail_errno(err, "remove '%s'", name);
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return qd_fail_errno(err, "open folder '%s'", name);
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        close(fd);
        return qd_fail_errno(err, "read folder '%s'", name);
    }
    qd_code code = QD_OK;
    for (struct dirent *entry; code == QD_OK && (entry = readdir(dir)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            code = remove_at(dirfd(dir), entry->d_name, err);
    closedir(dir);
    if (code == QD_OK && unlinkat(parent, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        return qd_fail_errno(err, "remove folder '%s'", name);
    return code;
}

qd_code qd_dir_remove(const char *path, qd_error *err)
{
    if (QD_FAULT_FAILS("folder.remove"))
        return qd_fail_errno(err, "remove '%s'", path);
    return remove_at(AT_FDCWD, path, err);
}

qd_code qd_dir_make_empty(const char *path, qd_error *err)
{
    char **names = NULL;
    size_t count = 0;
    qd_code code = qd_dir_make(path, err);
    if (code == QD_OK)
        code = qd_dir_list(path, &names, &count, err);
    for (size_t i = 0; code == QD_OK && i < count; i++) {
        QD_AUTO(qd_free_pointer) char *inner = qd_path_join(path, names[i]);
        code = inner == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_dir_remove(inner, err);
    }
    qd_names_free(names, count);
    return code;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void qd_names_free(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

void qd_names_sort(char **names, size_t count)
{
    if (count > 1)
        qsort(names, count, sizeof *names, compare_names);
}

qd_code qd_dir_list(const char *path, char ***out, size_t *out_count, qd_error *err)
{
    DIR *dir = opendir(path);
    if (dir == NULL)
        return qd_fail_errno(err, "read folder '%s'", path);
    char **names = NULL;
    size_t count = 0, capacity = 0;
    qd_code code = QD_OK;
    for (struct dirent *entry; code == QD_OK && (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        code = qd_grow((void **)&names, &capacity, count + 1, sizeof *names, err);
        if (code == QD_OK)
            code = qd_dup(entry->d_name, &names[count], err);
        if (code == QD_OK)
            count++;
    }
    closedir(dir);
    if (code != QD_OK) {
        qd_names_free(names, count);
        return code;
    }
    qd_names_sort(names, count);
    *out = names;
    *out_count = count;
    return QD_OK;
}

static uint64_t bytes_below(const char *path, unsigned depth)
{
    enum { DEPTH_MAX = 8 };
    char **names = NULL;
    size_t count = 0;
    uint64_t sum = 0;
    struct stat info;
    if (lstat(path, &info) != 0)
        return 0;
    if (!S_ISDIR(info.st_mode))
        return S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0;
    if (depth == DEPTH_MAX || qd_dir_list(path, &names, &count, NULL) != QD_OK)
        return 0;
    for (size_t i = 0; i < count; i++) {
        QD_AUTO(qd_free_pointer) char *below = qd_path_join(path, names[i]);
        sum += below == NULL ? 0 : bytes_below(below, depth + 1);
    }
    qd_names_free(names, count);
    return sum;
}

uint64_t qd_dir_bytes(const char *path)
{
    return bytes_below(path, 0);
}
