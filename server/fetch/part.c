/* part.c: see part.h. */
#include "fetch/part.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

enum { CHUNK = 1 << 18, STATE_LIMIT = 65536 };
static const uint64_t sync_bytes = 64u << 20;
static const double sync_seconds = 1.0; /* on a slow line 64 MB may take hours */

/* Gives back reserved blocks beyond the bytes: an abandoned download holds no more disk than it has brought. */
static void release(const qd_part *part)
{
    if (ftruncate(part->fd, (off_t)part->offset) != 0)
        return; /* the week-old collection is the second line */
}

void qd_part_fini(qd_part *part)
{
    if (part->fd >= 0 && part->offset > part->synced)
        qd_part_sync(part, NULL);
    if (part->fd >= 0)
        release(part);
    qd_close_fd(&part->fd);
    part->fd = -1;
    qd_digest_fini(&part->sha256);
    free(part->path);
    free(part->state_path);
    part->path = part->state_path = NULL;
}

static qd_code write_state(const qd_part *part, qd_error *err)
{
    QD_AUTO(qd_json_fini)
    json_t *state =
        json_pack("{s:s, s:s, s:I}", "url", part->shown_url, "etag", part->etag, "got", (json_int_t)part->synced);
    if (state == NULL || (part->size != QD_SIZE_UNKNOWN &&
                          json_object_set_new(state, "size", json_integer((json_int_t)part->size)) != 0))
        return qd_fail(err, QD_ENOMEM, "out of memory");
    QD_AUTO(qd_free_pointer) char *text = qd_json_print(state);
    return text == NULL ? qd_fail(err, QD_ENOMEM, "out of memory")
                        : qd_file_write(part->state_path, text, strlen(text), err);
}

/* Bytes that may be continued; 0 when there is no usable record. */
static uint64_t read_state(qd_part *part, qd_proof proof)
{
    QD_AUTO(qd_json_fini) json_t *state = NULL;
    const char *etag;
    size_t size, got;
    struct stat info;
    if (qd_json_read_object(part->state_path, STATE_LIMIT, 4, &state, NULL) != QD_OK ||
        qd_json_text(state, "etag", "", &etag, NULL) != QD_OK || strlen(etag) >= sizeof part->etag ||
        qd_json_size(state, "size", SIZE_MAX, &size, NULL) != QD_OK ||
        qd_json_size(state, "got", 0, &got, NULL) != QD_OK || fstat(part->fd, &info) != 0)
        return 0;
    if (!qd_etag_is_strong(etag) && proof == QD_PROOF_NONE)
        return 0;
    memcpy(part->etag, etag, strlen(etag) + 1);
    part->size = size == SIZE_MAX ? QD_SIZE_UNKNOWN : size;
    return qd_min_size(got, (size_t)info.st_size);
}

/* Digests the bytes that are there already, up to `length`. */
static qd_code digest_prefix(qd_part *part, uint64_t length, qd_error *err)
{
    QD_AUTO(qd_free_pointer) void *chunk = NULL;
    qd_code code = qd_alloc(CHUNK, 1, &chunk, err);
    while (code == QD_OK && part->offset < length) {
        ssize_t got = pread(part->fd, chunk, qd_min_size(CHUNK, length - part->offset), (off_t)part->offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return qd_fail_errno(err, "read '%s'", part->path);
        code = qd_digest_add(&part->sha256, chunk, (size_t)got, err);
        part->offset += (uint64_t)got;
    }
    return code;
}

static qd_code open_part(qd_part *part, qd_proof proof, qd_error *err)
{
    part->fd = open(part->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (part->fd < 0 || QD_FAULT_FAILS("part.opened"))
        return qd_fail_errno(err, "open '%s'", part->path);
    qd_code code = qd_digest_init(&part->sha256, QD_SHA256, err);
    if (code != QD_OK)
        return code;
    uint64_t keep = read_state(part, proof);
    if (keep == 0)
        return qd_part_restart(part, err);
    if (ftruncate(part->fd, (off_t)keep) != 0)
        return qd_fail_errno(err, "truncate '%s'", part->path);
    part->synced = keep;
    part->origin = QD_PART_RESUMED;
    return digest_prefix(part, keep, err);
}

qd_code qd_part_init(qd_part *part, const qd_cache *cache, const char *key, const char *shown_url, qd_proof proof,
                     uint64_t floor, qd_error *err)
{
    *part = (qd_part){ .cache = cache, .shown_url = shown_url, .fd = -1, .size = QD_SIZE_UNKNOWN, .floor = floor };
    part->synced_at = qd_clock_seconds();
    part->path = qd_cache_path(cache, "partial", key, "");
    part->state_path = qd_cache_path(cache, "partial", key, ".json");
    qd_code code = part->path == NULL || part->state_path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory")
                                                                  : open_part(part, proof, err);
    if (code != QD_OK)
        qd_part_fini(part);
    return code;
}

qd_code qd_part_restart(qd_part *part, qd_error *err)
{
    /* the record goes first: a crash in between must not leave it beside other bytes */
    if (unlink(part->state_path) != 0 && errno != ENOENT)
        return qd_fail_errno(err, "remove '%s'", part->state_path);
    if (ftruncate(part->fd, 0) != 0)
        return qd_fail_errno(err, "truncate '%s'", part->path);
    qd_digest_fini(&part->sha256);
    part->offset = part->synced = 0;
    part->size = QD_SIZE_UNKNOWN;
    part->etag[0] = '\0';
    part->origin = QD_PART_FRESH;
    return qd_digest_init(&part->sha256, QD_SHA256, err);
}

/* Blocks are reserved without changing the size, so that the size keeps saying how far the bytes go. */
static qd_code reserve(qd_part *part, qd_error *err)
{
    uint64_t missing = part->size == QD_SIZE_UNKNOWN || part->size < part->offset ? 0 : part->size - part->offset;
    qd_code code = qd_cache_check_space(part->cache, missing, part->floor, err);
    if (code != QD_OK || missing == 0)
        return code;
    int failed;
    do
        failed = QD_FAULT_FAILS("part.reserve") ||
                 fallocate(part->fd, FALLOC_FL_KEEP_SIZE, (off_t)part->offset, (off_t)missing) != 0;
    while (failed && errno == EINTR);
    if (failed && (errno == ENOSPC || errno == EDQUOT)) {
        qd_fail_errno(err, "%" PRIu64 " bytes for '%s'", missing, part->path);
        release(part);
        return QD_ENOSPC;
    }
    return QD_OK; /* where a file system cannot reserve, writing will tell */
}

qd_code qd_part_expect(qd_part *part, const char *etag, uint64_t size, qd_error *err)
{
    part->size = size;
    memcpy(part->etag, etag, strlen(etag) + 1);
    qd_code code = reserve(part, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("part.expected", err);
    return code == QD_OK ? write_state(part, err) : code;
}

qd_code qd_part_sync(qd_part *part, qd_error *err)
{
    if (QD_FAULT_FAILS("part.sync") || fdatasync(part->fd) != 0)
        return qd_fail_errno(err, "fsync '%s'", part->path);
    part->synced = part->offset;
    part->synced_at = qd_clock_seconds();
    return write_state(part, err);
}

qd_code qd_part_add(qd_part *part, const void *bytes, size_t length, qd_error *err)
{
    const char *at = bytes;
    for (size_t left = length; left > 0;) {
        size_t piece = QD_FAULT_LENGTH("part.piece", left);
        ssize_t put = QD_FAULT_FAILS("part.write") ? -1 : pwrite(part->fd, at, piece, (off_t)part->offset);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return qd_fail_errno(err, "write '%s'", part->path);
        qd_code code = qd_digest_add(&part->sha256, at, (size_t)put, err);
        if (code != QD_OK)
            return code;
        at += put;
        left -= (size_t)put;
        part->offset += (uint64_t)put;
    }
    if (part->offset - part->synced < sync_bytes && qd_clock_seconds() - part->synced_at < sync_seconds)
        return QD_OK;
    qd_code code = part->size == QD_SIZE_UNKNOWN ? qd_cache_check_space(part->cache, 0, part->floor, err) : QD_OK;
    return code == QD_OK ? qd_part_sync(part, err) : code;
}

/* git's object id of a file: sha1("blob N\0" + content). */
static qd_code git_sha1(const qd_part *part, char out_hex[QD_DIGEST_HEX], qd_error *err)
{
    QD_AUTO(qd_map_fini) qd_map map = { 0 };
    QD_AUTO(qd_digest_fini) qd_digest digest = { 0 };
    char front[40];
    int length = snprintf(front, sizeof front, "blob %" PRIu64, part->offset);
    qd_code code = qd_map_open(part->path, &map, err);
    if (code == QD_OK)
        code = qd_digest_init(&digest, QD_SHA1, err);
    if (code == QD_OK)
        code = qd_digest_add(&digest, front, (size_t)length + 1, err);
    if (code == QD_OK && map.size > 0)
        code = qd_digest_add(&digest, map.data, map.size, err);
    if (code == QD_OK)
        qd_digest_hex(&digest, out_hex);
    return code;
}

qd_code qd_part_finish(qd_part *part, const char *want_sha256, const char *want_git_sha1,
                       char out_sha256[QD_DIGEST_HEX], qd_error *err)
{
    char sha256[QD_DIGEST_HEX], sha1[QD_DIGEST_HEX];
    qd_digest_hex(&part->sha256, sha256);
    if (want_sha256[0] != '\0' && strcmp(want_sha256, sha256) != 0)
        return qd_fail(err, QD_EFORMAT, "sha256 is %s, not %s as it should be", sha256, want_sha256);
    if (want_git_sha1[0] != '\0') {
        qd_code code = git_sha1(part, sha1, err);
        if (code != QD_OK)
            return code;
        if (strcmp(want_git_sha1, sha1) != 0)
            return qd_fail(err, QD_EFORMAT, "git blob id is %s, not %s as the hub says", sha1, want_git_sha1);
    }
    if (QD_FAULT_FAILS("part.finish") || ftruncate(part->fd, (off_t)part->offset) != 0 || fsync(part->fd) != 0)
        return qd_fail_errno(err, "fsync '%s'", part->path);
    qd_code code = qd_cache_publish(part->cache, part->path, sha256, err);
    if (code != QD_OK)
        return code;
    QD_FAULT("part.published");
    qd_close_fd(&part->fd);
    part->fd = -1;
    unlink(part->state_path);
    memcpy(out_sha256, sha256, sizeof sha256);
    return QD_OK;
}

void qd_part_discard(qd_part *part)
{
    part->synced = part->offset; /* nothing left to save */
    unlink(part->state_path);
    unlink(part->path);
    qd_close_fd(&part->fd);
    part->fd = -1;
}
