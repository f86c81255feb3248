/* publish.c: see publish.h. */
#define _GNU_SOURCE
#include "jobs/publish.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

enum { MANIFEST_MAX = 16 << 20, DEPTH_MAX = 16, FILES_MAX = 10000, PATH_MAX_BYTES = 512 };
static const char manifest_name[] = "manifest.json";

void qd_publication_fini(qd_publication *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->files[i].path);
    free(p->files);
    *p = (qd_publication){ 0 };
}

/* A bare relative path: components of [A-Za-z0-9._-], none hidden, none empty. */
static bool path_ok(const char *path)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    if (strlen(path) > PATH_MAX_BYTES)
        return false;
    for (const char *at = path;; at++) {
        size_t length = strspn(at, allowed);
        if (length == 0 || *at == '.')
            return false;
        at += length;
        if (*at == '\0')
            return true;
        if (*at != '/')
            return false;
    }
}

static qd_code add(qd_publication *p, const char *path, uint64_t size, const char *sha256, qd_error *err)
{
    qd_record_file *file = &p->files[p->count];
    qd_code code = qd_dup(path, &file->path, err);
    if (code != QD_OK)
        return code;
    file->size = size;
    memcpy(file->sha256, sha256, sizeof file->sha256);
    p->count++;
    return QD_OK;
}

static qd_code check_file(int folder, const char *path, json_int_t size, qd_error *err)
{
    struct stat info;
    if (fstatat(folder, path, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return qd_fail(err, QD_EFORMAT, "'%s' of the manifest is not there", path);
    if (!S_ISREG(info.st_mode) || info.st_size != size)
        return qd_fail(err, QD_EFORMAT, "'%s' has %lld bytes, the manifest says %lld", path, (long long)info.st_size,
                       (long long)size);
    return QD_OK;
}

static qd_code take_entry(int folder, const json_t *entry, qd_publication *p, qd_error *err)
{
    const char *path = json_string_value(json_object_get(entry, "path"));
    const char *sha256 = json_string_value(json_object_get(entry, "sha256"));
    const json_t *size = json_object_get(entry, "size");
    if (path == NULL || !path_ok(path))
        return qd_fail(err, QD_EFORMAT, "%s: a file's path is not a bare relative name", manifest_name);
    if (!qd_hex_ok(sha256, 64, QD_HEX_LOWER) || !json_is_integer(size))
        return qd_fail(err, QD_EFORMAT, "%s: size or sha256 of '%s' is missing or wrong", manifest_name, path);
    qd_code code = check_file(folder, path, json_integer_value(size), err);
    return code == QD_OK ? add(p, path, (uint64_t)json_integer_value(size), sha256, err) : code;
}

/* The manifest itself can be downloaded too, and what attests it. Paths that are listed already stay as they are listed. */
static const char *const unlisted[] = { manifest_name, "provenance.json", "provenance.dsse.json" };

static bool is_listed(const qd_publication *p, const char *path)
{
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(p->files[i].path, path) == 0)
            return true;
    return false;
}

static qd_code add_unlisted(const char *dir, const char *name, qd_publication *p, qd_error *err)
{
    char sha256[QD_DIGEST_HEX];
    struct stat info;
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, name);
    if (path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    if (is_listed(p, name) || lstat(path, &info) != 0) /* the manifest was read before */
        return QD_OK;
    if (!S_ISREG(info.st_mode))
        return qd_fail(err, QD_EFORMAT, "'%s' is not a regular file", name);
    qd_code code = qd_sha256_file(path, sha256, err);
    return code == QD_OK ? add(p, name, (uint64_t)info.st_size, sha256, err) : code;
}

static qd_code read_manifest(int folder, const char *dir, const char *path, qd_publication *p, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *manifest = NULL;
    qd_code code = qd_json_read_object(path, MANIFEST_MAX, DEPTH_MAX, &manifest, err);
    if (code == QD_ENOTFOUND)
        return qd_fail(err, QD_EFORMAT, "the run left no artifact: there is no %s", manifest_name);
    const json_t *files = json_object_get(manifest, "files");
    if (code == QD_OK && (!json_is_array(files) || json_array_size(files) > FILES_MAX))
        code = qd_fail(err, QD_EFORMAT, "%s: 'files' is not an array of at most %d", manifest_name, (int)FILES_MAX);
    if (code == QD_OK)
        code = qd_alloc(json_array_size(files) + QD_LENGTH(unlisted), sizeof *p->files, (void **)&p->files, err);
    for (size_t i = 0; code == QD_OK && i < json_array_size(files); i++)
        code = take_entry(folder, json_array_get(files, i), p, err);
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(unlisted); i++)
        code = add_unlisted(dir, unlisted[i], p, err);
    return code;
}

/* artifacts/, which an operator may have removed to free space, is made again. */
static qd_code install(const qd_job_paths *paths, qd_error *err)
{
    QD_AUTO(qd_free_pointer)
    char *parent = strndup(paths->artifact, (size_t)(strrchr(paths->artifact, '/') - paths->artifact));
    qd_code code = parent == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_dir_make(parent, err);
    if (code == QD_OK)
        code = qd_dir_remove(paths->artifact, err); /* of an earlier try that was not recorded */
    if (code == QD_OK)
        code = QD_FAULT_CODE("publish.install", err);
    return code == QD_OK ? qd_file_rename(paths->out, paths->artifact, err) : code;
}

qd_code qd_publish(const qd_job_paths *paths, qd_publication *out, qd_error *err)
{
    QD_AUTO(qd_publication_fini) qd_publication p = { 0 };
    QD_AUTO(qd_free_pointer) char *manifest = qd_path_join(paths->out, manifest_name);
    QD_AUTO(qd_close_fd) int folder = open(paths->out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (manifest == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    if (folder < 0)
        return qd_fail(err, QD_EFORMAT, "the run left no artifact");
    qd_code code = read_manifest(folder, paths->out, manifest, &p, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("publish.listed", err);
    if (code == QD_OK &&
        (QD_FAULT_FAILS("publish.sync") || syncfs(folder) != 0)) /* whatever the run did or did not sync */
        code = qd_fail_errno(err, "sync '%s'", paths->out);
    if (code == QD_OK)
        code = install(paths, err);
    QD_FAULT("publish.installed");
    if (code == QD_OK) {
        *out = p;
        p = (qd_publication){ 0 };
    }
    return code;
}
