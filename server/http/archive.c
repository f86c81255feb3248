/* archive.c: see archive.h. GET of an artifact as one tar file. */
#include "http/archive.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "http/handlers.h"
#include "http/tar.h"

struct qd_archive {
    qd_artifact artifact;
    uint64_t *starts; /* of each file's prefix; one more: where the end begins */
    int64_t mtime_seconds;
    size_t at;     /* index of the file whose prefix is in `prefix` and which is open as `fd` (-1 = not yet) */
    qd_str prefix; /* empty: of none */
    int fd;
};

void qd_archive_destroy(qd_archive *archive)
{
    if (archive == NULL)
        return;
    qd_artifact_fini(&archive->artifact);
    qd_str_fini(&archive->prefix);
    qd_close_fd(&archive->fd);
    free(archive->starts);
    free(archive);
}

/* The prefix of file `index`, and nothing open. */
static qd_code go_to(qd_archive *archive, size_t index, qd_error *err)
{
    const qd_artifact_file *file = &archive->artifact.files[index];
    qd_close_fd(&archive->fd);
    qd_str_clear(&archive->prefix);
    qd_tar_add_prefix(&archive->prefix, file->path, file->size, archive->mtime_seconds);
    archive->at = index;
    return qd_str_check(&archive->prefix, err);
}

static qd_code lay_out(qd_archive *archive, qd_error *err)
{
    const qd_artifact *artifact = &archive->artifact;
    qd_code code = qd_alloc(artifact->count + 1, sizeof *archive->starts, (void **)&archive->starts, err);
    for (size_t i = 0; code == QD_OK && i < artifact->count; i++) {
        uint64_t size = artifact->files[i].size;
        code = go_to(archive, i, err);
        archive->starts[i + 1] = archive->starts[i] + archive->prefix.length + size + qd_tar_padding(size);
    }
    return code;
}

qd_code qd_archive_create_take(qd_artifact *artifact, qd_archive **out, qd_error *err)
{
    qd_archive *archive = NULL;
    qd_code code = qd_alloc(1, sizeof *archive, (void **)&archive, err);
    if (code != QD_OK) {
        qd_artifact_fini(artifact);
        return code;
    }
    archive->artifact = *artifact;
    *artifact = (qd_artifact){ .folder = -1 };
    archive->fd = -1;
    archive->mtime_seconds = archive->artifact.finished_ms / 1000;
    code = lay_out(archive, err);
    if (code == QD_OK)
        *out = archive;
    else
        qd_archive_destroy(archive);
    return code;
}

uint64_t qd_archive_length(const qd_archive *archive)
{
    return archive->starts[archive->artifact.count] + QD_TAR_END;
}

qd_code qd_archive_tag(const qd_archive *archive, char out[QD_ETAG_LENGTH], qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    char digest[QD_DIGEST_HEX];
    qd_str_addf(&text, "tar %" PRId64 "\n", archive->mtime_seconds);
    for (size_t i = 0; i < archive->artifact.count; i++) {
        const qd_artifact_file *file = &archive->artifact.files[i];
        qd_str_addf(&text, "%s %" PRIu64 " %s\n", file->sha256, file->size, file->path);
    }
    qd_code code = qd_str_check(&text, err);
    if (code == QD_OK)
        code = qd_sha256(text.data, text.length, digest, err);
    if (code == QD_OK)
        snprintf(out, QD_ETAG_LENGTH, "\"%s\"", digest);
    return code;
}

static ssize_t zeros(char *out, size_t room, uint64_t left)
{
    size_t length = left < room ? (size_t)left : room;
    memset(out, 0, length);
    return (ssize_t)length;
}

/* The file that holds this place; count: the end. */
static size_t find_file(const qd_archive *archive, uint64_t place)
{
    size_t low = 0, high = archive->artifact.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (place >= archive->starts[middle + 1])
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool open_file(qd_archive *archive)
{
    const qd_artifact_file *file = &archive->artifact.files[archive->at];
    struct stat status;
    if (archive->fd >= 0)
        return true;
    archive->fd = qd_open_beneath(archive->artifact.folder, file->path, 0);
    return archive->fd >= 0 && fstat(archive->fd, &status) == 0 && S_ISREG(status.st_mode) &&
           (uint64_t)status.st_size == file->size;
}

static ssize_t read_file(qd_archive *archive, uint64_t offset, char *out, size_t room)
{
    ssize_t count;
    uint64_t left = archive->artifact.files[archive->at].size - offset;
    if (!open_file(archive))
        return -1;
    do
        count = pread(archive->fd, out, left < room ? (size_t)left : room, (off_t)offset);
    while (count < 0 && errno == EINTR);
    return count > 0 ? count : -1;
}

ssize_t qd_archive_read(qd_archive *archive, uint64_t place, char *out, size_t room)
{
    uint64_t length = qd_archive_length(archive);
    size_t index = find_file(archive, place);
    if (place >= length)
        return 0;
    if (index == archive->artifact.count)
        return zeros(out, room, length - place);
    if ((archive->at != index || archive->prefix.length == 0) && go_to(archive, index, NULL) != QD_OK)
        return -1;
    uint64_t within = place - archive->starts[index], size = archive->artifact.files[index].size;
    if (within < archive->prefix.length) {
        size_t count = qd_min_size(archive->prefix.length - (size_t)within, room);
        memcpy(out, archive->prefix.data + within, count);
        return (ssize_t)count;
    }
    within -= archive->prefix.length;
    return within < size ? read_file(archive, within, out, room) : zeros(out, room, archive->starts[index + 1] - place);
}

static ssize_t read_content(void *content, uint64_t position, char *out, size_t room)
{
    return qd_archive_read(content, position, out, room);
}

static void release_content(void *content)
{
    qd_archive_destroy(content);
}

qd_code qd_get_archive(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    qd_artifact artifact = { .folder = -1 };
    qd_archive *archive = NULL;
    char tag[QD_ETAG_LENGTH];
    qd_code code = qd_service_artifact_list(app->service, request->job, &artifact, err);
    if (code == QD_OK)
        code = qd_archive_create_take(&artifact, &archive, err);
    if (code == QD_OK)
        code = qd_archive_tag(archive, tag, err);
    if (code != QD_OK || !qd_reply_select(reply, request, qd_archive_length(archive), tag)) {
        qd_archive_destroy(archive);
        return code;
    }
    reply->payload = QD_PAYLOAD_MADE;
    reply->content = archive;
    reply->read = read_content;
    reply->release = release_content;
    reply->content_type = "application/x-tar";
    qd_reply_header_set(reply, "Content-Disposition", "attachment; filename=\"%s.tar\"", request->job);
    qd_reply_header_set(reply, "Cache-Control", "private, no-cache");
    return QD_OK;
}
