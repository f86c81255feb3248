/* file.h: read whole, write atomically, map read-only, folders.
 * Room: core/base. May use: libc.
 * Threads: any; a qd_map belongs to whoever opened it. */
#ifndef QD_BASE_FILE_H
#define QD_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

/* A regular file mapped read-only. data is NULL when size is 0. */
typedef struct qd_map {
    const unsigned char *data;
    size_t size;
} qd_map;

/* Refuses anything that is not a regular file (FIFOs, devices); follows symlinks. */
qd_code qd_map_open(const char *path, qd_map *out, qd_error *err);
void qd_map_fini(qd_map *map);

/* Whole file, at most `limit` bytes (QD_ETOOBIG beyond). `out` is replaced; it may hold NUL bytes. */
qd_code qd_file_read(const char *path, size_t limit, qd_str *out, qd_error *err);
/* The same for what must be a regular file: a file of a model. QD_EFORMAT for a pipe, a device or a folder. */
qd_code qd_file_read_regular(const char *path, size_t limit, qd_str *out, qd_error *err);
/* path.tmp.PID.N -> write -> fsync -> rename -> fsync of the folder. Readers see the old file or the whole new one. */
qd_code qd_file_write(const char *path, const void *bytes, size_t length, qd_error *err);
/* rename + fsync of the target's folder. */
qd_code qd_file_rename(const char *from, const char *to, qd_error *err);
/* Copies a regular file through a temporary name, fsynced and renamed as qd_file_write does. */
qd_code qd_file_copy(const char *from, const char *to, qd_error *err);
/* path.tmp.PID.N: a name beside `path` that no other thread or process of ours uses. Heap string; NULL when out of
 * memory. */
char *qd_path_temporary(const char *path);
/* Opens `path` (relative) for reading where it cannot leave the folder: no "..", no symbolic link. -1 and errno.
 * `flags` are added to O_RDONLY | O_CLOEXEC. */
int qd_open_beneath(int folder, const char *path, int flags);
/* fsync of the folder itself, so that names in it survive a power cut. */
qd_code qd_dir_sync(const char *path, qd_error *err);
/* mkdir -p with mode 0755. */
qd_code qd_dir_make(const char *path, qd_error *err);
/* Sizes of the regular files below it, to a depth of 8; 0 where nothing is. Never follows symlinks. */
uint64_t qd_dir_bytes(const char *path);
/* rm -rf; a path that does not exist is fine. Never follows symlinks. */
qd_code qd_dir_remove(const char *path, qd_error *err);
/* A folder that is there stays and loses what is in it; otherwise it is made. */
qd_code qd_dir_make_empty(const char *path, qd_error *err);
/* Names in a folder except . and .., sorted bytewise; *out is an array of `*out_count` heap strings to be released
 * by qd_names_free. */
qd_code qd_dir_list(const char *path, char ***out, size_t *out_count, qd_error *err);
void qd_names_free(char **names, size_t count);
/* Bytewise. */
void qd_names_sort(char **names, size_t count);
/* Of any type; a symbolic link is not followed. */
bool qd_path_exists(const char *path);
bool qd_path_is_folder(const char *path); /* or a link to one */
/* Bytes of a regular file. */
qd_code qd_file_size(const char *path, uint64_t *out, qd_error *err);
/* "a/b" as a heap string; never fails but for memory (returns NULL). */
char *qd_path_join(const char *folder, const char *name);
/* write() all bytes, through EINTR and short writes. */
qd_code qd_write_all(int fd, const void *bytes, size_t length, qd_error *err);

#endif
