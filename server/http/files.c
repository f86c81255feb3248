/* files.c: artifacts and logs: bytes with ranges and conditions. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "http/handlers.h"
#include "http/validator.h"

enum { MANIFEST_LIMIT = 64 << 20, MANIFEST_DEPTH = 16 };

qd_code qd_get_manifest(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *folder = NULL;
    json_t *manifest = NULL;
    qd_code code = qd_service_artifact_dir(app->service, request->job, &folder, err);
    if (code != QD_OK)
        return code;
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(folder, "manifest.json");
    if (path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    code = qd_json_read_object(path, MANIFEST_LIMIT, MANIFEST_DEPTH, &manifest, err);
    if (code == QD_OK)
        code = qd_reply_json_take(reply, 200, manifest, err);
    return code == QD_OK ? qd_reply_validate(reply, request, err) : code;
}

static void reply_file_take(const qd_request *request, int fd, uint64_t size, const char *tag, qd_reply *reply)
{
    if (!qd_reply_select(reply, request, size, tag)) {
        qd_close_fd(&fd);
        return;
    }
    reply->payload = QD_PAYLOAD_FILE;
    reply->fd = fd;
}

/* A name for the client's disk: the last part, and only when it needs no quoting. */
static void set_disposition(qd_reply *reply, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    for (const char *c = name; *c != '\0'; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c >= 0x7f) {
            qd_reply_header_set(reply, "Content-Disposition", "attachment");
            return;
        }
    qd_reply_header_set(reply, "Content-Disposition", "attachment; filename=\"%s\"", name);
}

qd_code qd_get_artifact(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    char digest[QD_DIGEST_HEX], tag[QD_ETAG_LENGTH];
    uint64_t size = 0;
    int fd = -1;
    qd_code code = qd_service_artifact_open(app->service, request->job, request->rest, &fd, &size, digest, err);
    if (code != QD_OK)
        return code;
    snprintf(tag, sizeof tag, "\"%s\"", digest);
    reply_file_take(request, fd, size, tag, reply);
    if (reply->payload == QD_PAYLOAD_FILE) {
        reply->content_type = "application/octet-stream";
        set_disposition(reply, request->rest);
        /* The bytes behind this tag never change; a client may keep them and ask again. */
        qd_reply_header_set(reply, "Cache-Control", "private, no-cache");
    }
    return QD_OK;
}

/* The tag of a file that is appended to, or begun anew: another one whenever its bytes may be others. */
static qd_code open_log(const char *path, int *out_fd, uint64_t *out_size, char out_tag[QD_ETAG_LENGTH], qd_error *err)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? qd_fail(err, QD_ENOTFOUND, "the job has no log yet")
                               : qd_fail_errno(err, "open '%s'", path);
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        close(fd);
        return qd_fail(err, QD_EIO, "'%s' is not a regular file", path);
    }
    *out_fd = fd;
    *out_size = (uint64_t)status.st_size;
    snprintf(out_tag, QD_ETAG_LENGTH, "\"%jx-%jx-%jx.%lx\"", (uintmax_t)status.st_ino, (uintmax_t)status.st_size,
             (uintmax_t)status.st_mtim.tv_sec, (unsigned long)status.st_mtim.tv_nsec);
    return QD_OK;
}

qd_code qd_get_log(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = NULL;
    char tag[QD_ETAG_LENGTH];
    uint64_t size = 0;
    int fd = -1;
    qd_code code = qd_service_log_path(app->service, request->job, &path, err);
    if (code == QD_OK)
        code = open_log(path, &fd, &size, tag, err);
    if (code != QD_OK)
        return code;
    reply_file_take(request, fd, size, tag, reply);
    if (reply->payload == QD_PAYLOAD_FILE)
        reply->content_type = "text/plain; charset=utf-8";
    return QD_OK;
}
