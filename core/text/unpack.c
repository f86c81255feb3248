/* unpack.c: see unpack.h. */
#include "text/unpack.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/mem.h"

enum { INPUT_BYTES = 64 << 10, MAGIC_BYTES = 4, GZIP_WINDOW = 15 + 16 /* zlib's sign for gzip */ };

struct qd_unpacker {
    int fd;
    bool ended;  /* there are no more bytes in the file */
    bool inside; /* a member or frame has begun that is not finished */
    qd_packing packing;
    size_t limit, total; /* unpacked bytes */
    size_t at, end;      /* of input, what is not unpacked yet */
    z_stream gzip;
    ZSTD_DStream *zstd;
    unsigned char input[INPUT_BYTES];
};

static const char *const names[] = { "none", "gzip", "zstd" };

const char *qd_packing_name(size_t index)
{
    return index < QD_LENGTH(names) ? names[index] : NULL;
}

qd_packing qd_unpack_packing(const qd_unpacker *u)
{
    return u->packing;
}

/* Reads on behind what is there, a few bytes at most, once. */
static qd_code fill(qd_unpacker *u, qd_error *err)
{
    memmove(u->input, u->input + u->at, u->end - u->at);
    u->end -= u->at;
    u->at = 0;
    ssize_t got;
    do
        got = read(u->fd, u->input + u->end, sizeof u->input - u->end);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return qd_fail_errno(err, "read");
    u->end += (size_t)got;
    u->ended = got == 0;
    return QD_OK;
}

static bool begins_with(const qd_unpacker *u, const char *magic, size_t length)
{
    return u->end - u->at >= length && memcmp(u->input + u->at, magic, length) == 0;
}

/* A frame of zstd, or one that is skipped: its first byte is one of sixteen. */
static bool is_zstd(const qd_unpacker *u)
{
    return begins_with(u, "\x28\xB5\x2F\xFD", MAGIC_BYTES) ||
           (u->end - u->at >= MAGIC_BYTES && (u->input[u->at] & 0xF0) == 0x50 &&
            memcmp(u->input + u->at + 1, "\x2A\x4D\x18", MAGIC_BYTES - 1) == 0);
}

static qd_code begin(qd_unpacker *u, qd_error *err)
{
    qd_code code = QD_OK;
    while (code == QD_OK && !u->ended && u->end - u->at < MAGIC_BYTES)
        code = fill(u, err);
    if (code != QD_OK)
        return code;
    u->packing = begins_with(u, "\x1F\x8B", 2) ? QD_PACKING_GZIP : is_zstd(u) ? QD_PACKING_ZSTD : QD_PACKING_NONE;
    u->inside = u->packing != QD_PACKING_NONE;
    if (u->packing == QD_PACKING_GZIP && inflateInit2(&u->gzip, GZIP_WINDOW) != Z_OK)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    if (u->packing == QD_PACKING_ZSTD && (u->zstd = ZSTD_createDStream()) == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return QD_OK;
}

qd_code qd_unpack_open(int fd, size_t limit, qd_unpacker **out, qd_error *err)
{
    qd_unpacker *u = NULL;
    qd_code code = qd_alloc(1, sizeof *u, (void **)&u, err);
    if (code != QD_OK) {
        close(fd);
        return code;
    }
    u->fd = fd;
    u->limit = limit;
    code = begin(u, err);
    if (code == QD_OK)
        *out = u;
    else
        qd_unpack_close(u);
    return code;
}

void qd_unpack_close(qd_unpacker *u)
{
    if (u == NULL)
        return;
    if (u->packing == QD_PACKING_GZIP)
        inflateEnd(&u->gzip);
    ZSTD_freeDStream(u->zstd);
    qd_close_fd(&u->fd);
    free(u);
}

/* Between members: zeros are padding (tapes, tar), and another member may begin. */
static qd_code next_member(qd_unpacker *u, qd_error *err)
{
    while (u->at < u->end && u->input[u->at] == 0)
        u->at++;
    if (u->at == u->end)
        return QD_OK;
    if (u->end - u->at == 1 && !u->ended)
        return QD_OK; /* the magic's second byte is still to come */
    if (!begins_with(u, "\x1F\x8B", 2))
        return qd_fail(err, QD_EFORMAT, "gzip: behind the end of a member stands something that is not gzip");
    return inflateReset(&u->gzip) == Z_OK ? QD_OK : qd_fail(err, QD_EINTERNAL, "gzip: it cannot be begun again");
}

/* One step: some input becomes some output. */
static qd_code inflate_some(qd_unpacker *u, void *out, size_t capacity, size_t *out_count, qd_error *err)
{
    if (!u->inside) {
        qd_code code = next_member(u, err);
        if (code != QD_OK || u->end - u->at < 2)
            return code;
    }
    u->gzip.next_in = u->input + u->at;
    u->gzip.avail_in = (uInt)(u->end - u->at);
    u->gzip.next_out = out;
    u->gzip.avail_out = (uInt)qd_min_size(capacity, INPUT_BYTES);
    const uInt room = u->gzip.avail_out;
    int status = inflate(&u->gzip, Z_NO_FLUSH);
    u->at = u->end - u->gzip.avail_in;
    *out_count = room - u->gzip.avail_out;
    u->inside = status != Z_STREAM_END;
    if (status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR)
        return QD_OK;
    return status == Z_MEM_ERROR
               ? qd_fail(err, QD_ENOMEM, "out of memory")
               : qd_fail(err, QD_EFORMAT, "gzip: damaged: %s", u->gzip.msg == NULL ? "no reason given" : u->gzip.msg);
}

static qd_code decompress_some(qd_unpacker *u, void *out, size_t capacity, size_t *out_count, qd_error *err)
{
    if (!u->inside && u->at == u->end)
        return QD_OK;
    ZSTD_inBuffer from = { u->input, u->end, u->at };
    ZSTD_outBuffer to = { out, capacity, 0 };
    size_t status = ZSTD_decompressStream(u->zstd, &to, &from);
    u->at = from.pos;
    *out_count = to.pos;
    if (ZSTD_isError(status))
        return qd_fail(err, QD_EFORMAT, "zstd: damaged: %s", ZSTD_getErrorName(status));
    u->inside = status != 0;
    return QD_OK;
}

static void copy_some(qd_unpacker *u, void *out, size_t capacity, size_t *out_count)
{
    *out_count = qd_min_size(capacity, u->end - u->at);
    memcpy(out, u->input + u->at, *out_count);
    u->at += *out_count;
}

static qd_code step(qd_unpacker *u, void *out, size_t capacity, size_t *out_count, qd_error *err)
{
    if (u->packing == QD_PACKING_GZIP)
        return inflate_some(u, out, capacity, out_count, err);
    if (u->packing == QD_PACKING_ZSTD)
        return decompress_some(u, out, capacity, out_count, err);
    copy_some(u, out, capacity, out_count);
    return QD_OK;
}

/* What is at hand is unpacked before more is read: the other end of a pipe may wait for an answer. */
qd_code qd_unpack_read(qd_unpacker *u, void *out, size_t capacity, size_t *out_count, qd_error *err)
{
    qd_code code = QD_OK;
    for (*out_count = 0; code == QD_OK;) {
        size_t before = u->end - u->at;
        code = step(u, out, capacity, out_count, err);
        if (code != QD_OK || *out_count > 0)
            break;
        bool stuck = before == u->end - u->at;
        if (stuck && u->ended)
            return u->inside || before > 0
                       ? qd_fail(err, QD_EFORMAT, "%s: cut off: its end is missing", names[u->packing])
                       : QD_OK;
        if (stuck)
            code = fill(u, err);
    }
    u->total += *out_count;
    if (code == QD_OK && u->total > u->limit)
        return qd_fail(err, QD_ETOOBIG, "%s more than the limit of %zu bytes",
                       u->packing == QD_PACKING_NONE ? "it has" : "it unpacks to", u->limit);
    return code;
}
