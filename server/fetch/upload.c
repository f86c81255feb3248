/* upload.c: one file to a folder that takes PUT, or to a bucket in one piece; in parts: multipart.c. See upload.h. */
#include "fetch/upload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hmac.h"
#include "base/mem.h"
#include "base/sign.h"

enum { CHUNK = 1 << 20, ANSWER_LIMIT = 1 << 20 };

qd_code qd_range_sha256(int fd, uint64_t offset, uint64_t size, const qd_cancel *cancel, char out[QD_DIGEST_HEX],
                        qd_error *err)
{
    QD_AUTO(qd_digest_fini) qd_digest digest = { 0 };
    QD_AUTO(qd_free_pointer) void *chunk = NULL;
    qd_code code = qd_alloc(CHUNK, 1, &chunk, err);
    if (code == QD_OK)
        code = qd_digest_init(&digest, QD_SHA256, err);
    while (code == QD_OK && size > 0) {
        ssize_t got = pread(fd, chunk, qd_min_size(size, CHUNK), (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? qd_fail_errno(err, "read") : qd_fail(err, QD_EFORMAT, "the file is shorter than it was");
        code = qd_digest_add(&digest, chunk, (size_t)got, err);
        if (code == QD_OK)
            code = qd_cancel_check(cancel, err);
        offset += (uint64_t)got;
        size -= (uint64_t)got;
    }
    if (code == QD_OK)
        qd_digest_hex(&digest, out);
    return code;
}

qd_code qd_base64_of_hex(const char *hex, char **out, qd_error *err)
{
    unsigned char raw[QD_HMAC_BYTES];
    qd_hex_decode(hex, sizeof raw, raw);
    return qd_base64_encode(raw, sizeof raw, out, err);
}

qd_code qd_upload_ask(qd_uploading *u, const qd_ask *ask, qd_answer *answer, qd_error *err)
{
    qd_code code = qd_answer_get(u->fetcher, &u->line, &u->egress, ask, ANSWER_LIMIT, answer, err);
    u->sent->status = answer->head.status;
    u->sent->retry_after = answer->head.retry_after;
    if (code != QD_OK)
        return code;
    long status = answer->head.status;
    return status >= 200 && status < 300 ? QD_OK : qd_answer_fail(answer, QD_ENETWORK, err);
}

/* ---- a folder that takes PUT ---- */

/* RFC 9530: a server that knows it refuses a body that came out wrong. */
static qd_code put_plain(qd_uploading *u, const qd_url *folder, qd_error *err)
{
    QD_AUTO(qd_url_fini) qd_url url = { 0 };
    QD_AUTO(qd_answer_fini) qd_answer answer = { 0 };
    QD_AUTO(qd_free_pointer) char *digest = NULL;
    QD_AUTO(qd_str_fini) qd_str field = { 0 };
    const qd_upload *upload = u->upload;
    qd_code code = qd_base64_of_hex(upload->sha256, &digest, err);
    if (code == QD_OK)
        code = qd_url_sibling(folder, upload->name, &url, err);
    if (code != QD_OK)
        return code;
    qd_str_addf(&field, "sha-256=:%s:", digest);
    const qd_ask_header headers[] = { { "content-type", "application/octet-stream" },
                                      { "content-digest", qd_str_borrow(&field) } };
    const qd_ask_body body = { .fd = upload->fd, .size = upload->size, .sha256 = upload->sha256 };
    const qd_ask ask = { .url = &url,
                         .method = QD_ASK_PUT,
                         .redirects = QD_REDIRECTS_NONE,
                         .body = &body,
                         .headers = headers,
                         .header_count = QD_LENGTH(headers) };
    return qd_upload_ask(u, &ask, &answer, err);
}

/* A folder's URL ends in a slash, whether it was written or not. */
static qd_code close_folder(qd_url *url, qd_error *err)
{
    size_t length = strlen(url->path);
    if (url->path[length - 1] == '/')
        return QD_OK;
    char *longer = realloc(url->path, length + 2);
    if (longer == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    memcpy(longer + length, "/", 2);
    url->path = longer;
    return QD_OK;
}

/* ---- a bucket ---- */

static qd_code put_object(qd_uploading *u, qd_error *err)
{
    QD_AUTO(qd_url_fini) qd_url url = { 0 };
    QD_AUTO(qd_answer_fini) qd_answer answer = { 0 };
    qd_code code = qd_base64_of_hex(u->upload->sha256, &u->checksum, err);
    if (code == QD_OK)
        code = qd_s3_url(&u->fetcher->s3, u->name.bucket, u->name.key, NULL, &url, err);
    if (code != QD_OK)
        return code;
    const qd_ask_header headers[] = { { "content-type", "application/octet-stream" },
                                      { "x-amz-checksum-sha256", u->checksum } };
    const qd_ask_body body = { .fd = u->upload->fd, .size = u->upload->size, .sha256 = u->upload->sha256 };
    const qd_ask ask = { .url = &url,
                         .method = QD_ASK_PUT,
                         .redirects = QD_REDIRECTS_NONE,
                         .body = &body,
                         .headers = headers,
                         .header_count = QD_LENGTH(headers) };
    return qd_upload_ask(u, &ask, &answer, err);
}

/* What the storage says of the object: its size, and the checksum where it keeps one. Those that keep none have
 * compared the body with the signed digest. */
static qd_code check_object(qd_uploading *u, qd_error *err)
{
    QD_AUTO(qd_url_fini) qd_url url = { 0 };
    QD_AUTO(qd_answer_fini) qd_answer answer = { 0 };
    const qd_ask_header mode = { "x-amz-checksum-mode", "ENABLED" };
    qd_code code = qd_s3_url(&u->fetcher->s3, u->name.bucket, u->name.key, NULL, &url, err);
    if (code != QD_OK)
        return code;
    const qd_ask ask = {
        .url = &url, .method = QD_ASK_HEAD, .redirects = QD_REDIRECTS_NONE, .headers = &mode, .header_count = 1
    };
    code = qd_upload_ask(u, &ask, &answer, err);
    if (code != QD_OK)
        return qd_within(err, code, "looked up after it was sent");
    if (answer.head.length != QD_SIZE_UNKNOWN && answer.head.length != u->upload->size)
        return qd_fail(err, QD_EFORMAT, "the storage holds %llu bytes instead of %llu",
                       (unsigned long long)answer.head.length, (unsigned long long)u->upload->size);
    if (answer.head.checksum[0] != '\0' && strcmp(answer.head.checksum, u->checksum) != 0)
        return qd_fail(err, QD_EFORMAT, "the storage holds other bytes: their checksum is %.100s, not %s",
                       answer.head.checksum, u->checksum);
    return QD_OK;
}

static qd_code open_name(qd_uploading *u, const qd_url *folder, qd_error *err)
{
    qd_str key = { 0 };
    qd_code code = qd_s3_name_parse(folder, &u->name, err);
    if (code != QD_OK)
        return code;
    size_t length = strlen(u->name.key);
    bool slash = length == 0 || u->name.key[length - 1] == '/';
    qd_str_addf(&key, "%s%s%s", u->name.key, slash ? "" : "/", u->upload->name);
    free(u->name.key);
    u->name.key = qd_str_take(&key);
    return u->name.key == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_s3_allow(&u->fetcher->s3, &u->name, err);
}

static qd_code send_object(qd_uploading *u, const qd_url *folder, qd_error *err)
{
    QD_AUTO(qd_aws_keys_fini) qd_aws_keys keys = { 0 };
    QD_AUTO(qd_url_fini) qd_url home = { 0 };
    qd_code code = open_name(u, folder, err);
    if (code == QD_OK)
        code = qd_s3_keys(&u->fetcher->s3, &keys, err);
    if (code == QD_OK)
        code = qd_s3_url(&u->fetcher->s3, u->name.bucket, "", NULL, &home, err);
    if (code != QD_OK)
        return code;
    const qd_signing signing = { .keys = &keys, .region = u->fetcher->s3.region, .home = &home };
    u->egress.signing = &signing;
    code = qd_multipart_give_up(u, u->upload->stale, err);
    if (code == QD_OK)
        code = u->upload->size > QD_UPLOAD_PART ? qd_multipart_send(u, err) : put_object(u, err);
    if (code == QD_OK)
        code = check_object(u, err);
    u->egress.signing = NULL;
    return code;
}

static void uploading_fini(qd_uploading *u)
{
    qd_line_fini(&u->line);
    qd_s3_name_fini(&u->name);
    free(u->checksum);
}

static qd_code send_to(qd_uploading *u, qd_error *err)
{
    QD_AUTO(qd_url_fini) qd_url folder = { 0 };
    char digest[QD_DIGEST_HEX];
    qd_code code = qd_fetch_check_destination(u->fetcher, u->upload->url, QD_FOR_UPLOAD, err);
    if (code == QD_OK)
        code = qd_url_parse(u->upload->url, &folder, err);
    if (code == QD_EDENIED || code == QD_EINVAL)
        u->sent->outlook = QD_SENT_NEVER;
    if (code == QD_OK)
        code = qd_line_init(&u->line, err);
    if (code == QD_OK)
        code = qd_range_sha256(u->upload->fd, 0, u->upload->size, u->egress.cancel, digest, err);
    if (code == QD_OK && strcmp(digest, u->upload->sha256) != 0) {
        u->sent->outlook = QD_SENT_NEVER;
        code = qd_fail(err, QD_EFORMAT, "the file on the disk is not the one that was published: it is not sent");
    }
    if (code == QD_OK && folder.scheme == QD_SCHEME_S3)
        return send_object(u, &folder, err);
    if (code == QD_OK)
        code = close_folder(&folder, err);
    return code == QD_OK ? put_plain(u, &folder, err) : code;
}

qd_code qd_fetch_upload(const qd_fetcher *fetcher, const qd_upload *upload, const qd_cancel *cancel, qd_sent *out,
                        qd_error *err)
{
    atomic_bool stop = false;
    QD_AUTO(uploading_fini)
    qd_uploading u = { .fetcher = fetcher,
                       .upload = upload,
                       .sent = out,
                       .egress = { .addresses = &fetcher->addresses,
                                   .allow_http = fetcher->allow_http,
                                   .low_speed_seconds = fetcher->low_speed_seconds,
                                   .cancel = cancel,
                                   .stop = &stop } };
    *out = (qd_sent){ .retry_after = -1 };
    qd_code code = send_to(&u, err);
    if (code == QD_OK)
        out->bytes = upload->size;
    else if (code == QD_EDENIED)
        out->outlook = QD_SENT_NEVER;
    return code == QD_OK ? QD_OK : qd_within(err, code, "'%s'", upload->name);
}
