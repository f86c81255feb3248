/* multipart.c: a large object in parts; see upload.h. Source: S3's CreateMultipartUpload, UploadPart,
 * CompleteMultipartUpload, AbortMultipartUpload; each part has its own checksum, and the object's is made of theirs. */
#include "fetch/upload.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hmac.h"
#include "base/mem.h"
#include "base/sign.h"
#include "fetch/s3_xml.h"

enum { PARTS_MAX = 10000, UPLOAD_ID = 1024 };

typedef struct multipart {
    qd_uploading *u;
    char id[UPLOAD_ID];
    char *encoded_id;
    uint64_t part_bytes;
    qd_str complete; /* the document that ends it */
    qd_digest all;   /* of the parts' digests */
    size_t count;
} multipart;

static void multipart_fini(multipart *m)
{
    free(m->encoded_id);
    qd_str_fini(&m->complete);
    qd_digest_fini(&m->all);
}

static qd_code object_url(const qd_uploading *u, const char *query, qd_url *out, qd_error *err)
{
    return qd_s3_url(&u->fetcher->s3, u->name.bucket, u->name.key, query, out, err);
}

static qd_code create(multipart *m, qd_error *err)
{
    QD_AUTO(qd_url_fini) qd_url url = { 0 };
    QD_AUTO(qd_answer_fini) qd_answer answer = { 0 };
    const qd_ask_header headers[] = { { "content-type", "application/octet-stream" },
                                      { "x-amz-checksum-algorithm", "SHA256" } };
    qd_code code = object_url(m->u, "uploads=", &url, err);
    const qd_ask ask = { .url = &url,
                         .method = QD_ASK_POST,
                         .redirects = QD_REDIRECTS_NONE,
                         .headers = headers,
                         .header_count = QD_LENGTH(headers) };
    if (code == QD_OK)
        code = qd_upload_ask(m->u, &ask, &answer, err);
    if (code == QD_OK &&
        (qd_s3_read_text(qd_str_borrow(&answer.body), answer.body.length, "UploadId", m->id, sizeof m->id) != QD_SAME ||
         m->id[0] == '\0'))
        code = qd_fail(err, QD_ENETWORK, "the storage names no UploadId");
    if (code == QD_OK)
        code = qd_aws_encode(m->id, QD_SLASH_ENCODED, &m->encoded_id, err);
    if (code == QD_OK && m->u->upload->note != NULL)
        code = m->u->upload->note(m->u->upload->ctx, m->id, err);
    return code;
}

static void add_part(multipart *m, const char *etag, const char *checksum)
{
    qd_str_addf(&m->complete, "<Part><PartNumber>%zu</PartNumber><ETag>", m->count);
    for (const char *p = etag; *p != '\0'; p++) {
        if (*p == '"')
            qd_str_add(&m->complete, "&quot;");
        else if (*p != '<' && *p != '&')
            qd_str_add_bytes(&m->complete, p, 1);
    }
    qd_str_addf(&m->complete, "</ETag><ChecksumSHA256>%s</ChecksumSHA256></Part>", checksum);
}

static qd_code ask_part(multipart *m, const qd_ask_body *body, const char *checksum, qd_answer *answer, qd_error *err)
{
    QD_AUTO(qd_url_fini) qd_url url = { 0 };
    QD_AUTO(qd_str_fini) qd_str query = { 0 };
    const qd_ask_header header = { "x-amz-checksum-sha256", checksum };
    qd_str_addf(&query, "partNumber=%zu&uploadId=%s", m->count, m->encoded_id);
    qd_code code = qd_str_check(&query, err);
    if (code == QD_OK)
        code = object_url(m->u, qd_str_borrow(&query), &url, err);
    const qd_ask ask = { .url = &url,
                         .method = QD_ASK_PUT,
                         .redirects = QD_REDIRECTS_NONE,
                         .body = body,
                         .headers = &header,
                         .header_count = 1 };
    return code == QD_OK ? qd_upload_ask(m->u, &ask, answer, err) : code;
}

static qd_code send_part(multipart *m, uint64_t offset, uint64_t size, qd_error *err)
{
    QD_AUTO(qd_answer_fini) qd_answer answer = { 0 };
    QD_AUTO(qd_free_pointer) char *checksum = NULL;
    char digest[QD_DIGEST_HEX];
    unsigned char raw[QD_HMAC_BYTES];
    int fd = m->u->upload->fd;
    qd_code code = qd_range_sha256(fd, offset, size, m->u->egress.cancel, digest, err);
    if (code == QD_OK)
        code = qd_base64_of_hex(digest, &checksum, err);
    if (code != QD_OK)
        return code;
    m->count++;
    const qd_ask_body body = { .fd = fd, .offset = offset, .size = size, .sha256 = digest };
    code = ask_part(m, &body, checksum, &answer, err);
    if (code == QD_OK && answer.head.etag[0] == '\0')
        code = qd_fail(err, QD_ENETWORK, "the storage gives no ETag");
    if (code == QD_OK && answer.head.checksum[0] != '\0' && strcmp(answer.head.checksum, checksum) != 0)
        code = qd_fail(err, QD_EFORMAT, "the storage took other bytes: their checksum is %.100s, not %s",
                       answer.head.checksum, checksum);
    if (code != QD_OK)
        return qd_within(err, code, "part %zu", m->count);
    add_part(m, answer.head.etag, checksum);
    qd_hex_decode(digest, sizeof raw, raw);
    return qd_digest_add(&m->all, raw, sizeof raw, err);
}

static qd_code send_parts(multipart *m, qd_error *err)
{
    uint64_t size = m->u->upload->size;
    qd_code code = qd_digest_init(&m->all, QD_SHA256, err);
    qd_str_add(&m->complete, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (uint64_t offset = 0; code == QD_OK && offset < size; offset += m->part_bytes)
        code = send_part(m, offset, size - offset < m->part_bytes ? size - offset : m->part_bytes, err);
    qd_str_add(&m->complete, "</CompleteMultipartUpload>");
    return code == QD_OK ? qd_str_check(&m->complete, err) : code;
}

/* A status of 200 may still carry an error: the storage begins its answer before it is done. */
static qd_code complete(multipart *m, qd_error *err)
{
    QD_AUTO(qd_url_fini) qd_url url = { 0 };
    QD_AUTO(qd_answer_fini) qd_answer answer = { 0 };
    QD_AUTO(qd_str_fini) qd_str query = { 0 };
    char digest[QD_DIGEST_HEX], word[80];
    const qd_ask_header header = { "content-type", "application/xml" };
    qd_str_addf(&query, "uploadId=%s", m->encoded_id);
    qd_code code = qd_str_check(&query, err);
    if (code == QD_OK)
        code = object_url(m->u, qd_str_borrow(&query), &url, err);
    if (code == QD_OK)
        code = qd_sha256(m->complete.data, m->complete.length, digest, err);
    const qd_ask_body body = { .bytes = m->complete.data, .size = m->complete.length, .sha256 = digest };
    const qd_ask ask = { .url = &url,
                         .method = QD_ASK_POST,
                         .redirects = QD_REDIRECTS_NONE,
                         .body = &body,
                         .headers = &header,
                         .header_count = 1 };
    if (code == QD_OK)
        code = qd_upload_ask(m->u, &ask, &answer, err);
    if (code == QD_OK &&
        qd_s3_read_text(qd_str_borrow(&answer.body), answer.body.length, "Code", word, sizeof word) == QD_SAME)
        code = qd_answer_fail(&answer, QD_ENETWORK, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "putting the parts together");
}

/* "BASE64-COUNT": the checksum of the parts' checksums. */
static qd_code make_checksum(multipart *m, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *base = NULL;
    char digest[QD_DIGEST_HEX];
    qd_str text = { 0 };
    qd_digest_hex(&m->all, digest);
    qd_code code = qd_base64_of_hex(digest, &base, err);
    if (code != QD_OK)
        return code;
    qd_str_addf(&text, "%s-%zu", base, m->count);
    m->u->checksum = qd_str_take(&text);
    return m->u->checksum == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}

qd_code qd_multipart_give_up(qd_uploading *u, const char *id, qd_error *err)
{
    QD_AUTO(qd_url_fini) qd_url url = { 0 };
    QD_AUTO(qd_answer_fini) qd_answer answer = { 0 };
    QD_AUTO(qd_free_pointer) char *encoded = NULL;
    QD_AUTO(qd_str_fini) qd_str query = { 0 };
    if (id == NULL || id[0] == '\0')
        return QD_OK;
    qd_code code = qd_aws_encode(id, QD_SLASH_ENCODED, &encoded, err);
    if (code != QD_OK)
        return code;
    qd_str_addf(&query, "uploadId=%s", encoded);
    code = qd_str_check(&query, err);
    if (code == QD_OK)
        code = object_url(u, qd_str_borrow(&query), &url, err);
    const qd_ask ask = { .url = &url, .method = QD_ASK_DELETE, .redirects = QD_REDIRECTS_NONE };
    if (code == QD_OK)
        code = qd_upload_ask(u, &ask, &answer, err);
    if (code != QD_OK && answer.head.status != 404)
        return qd_within(err, code, "giving up an earlier upload");
    return u->upload->note == NULL ? QD_OK : u->upload->note(u->upload->ctx, "", err);
}

/* Parts cost money until somebody gives them up. A service that is stopped has no time for it: its next start does. */
static void clean_up(multipart *m)
{
    const qd_sent before = *m->u->sent;
    if (m->id[0] != '\0' && !qd_cancel_requested(m->u->egress.cancel))
        (void)qd_multipart_give_up(m->u, m->id, NULL);
    *m->u->sent = before;
}

qd_code qd_multipart_send(qd_uploading *u, qd_error *err)
{
    QD_AUTO(multipart_fini) multipart m = { .u = u, .part_bytes = QD_UPLOAD_PART };
    uint64_t smallest = (u->upload->size + PARTS_MAX - 1) / PARTS_MAX;
    if (smallest > m.part_bytes)
        m.part_bytes = smallest;
    qd_code code = create(&m, err);
    if (code == QD_OK)
        code = send_parts(&m, err);
    if (code == QD_OK)
        code = complete(&m, err);
    if (code != QD_OK) {
        clean_up(&m);
        return code;
    }
    code = make_checksum(&m, err);
    return code == QD_OK && u->upload->note != NULL ? u->upload->note(u->upload->ctx, "", err) : code;
}
