/* validator.c: see validator.h. */
#include "http/validator.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "http/problem.h"
#include "http/range.h"

void qd_job_etag(const qd_job *job, char out[QD_ETAG_LENGTH])
{
    snprintf(out, QD_ETAG_LENGTH, "\"%s-%" PRIu64 "\"", job->edition, job->version);
}

static const char *skip_blanks(const char *s)
{
    return s + strspn(s, " \t");
}

bool qd_if_match(const char *header, const char *edition)
{
    size_t length = strlen(edition);
    if (header == NULL || strcmp(skip_blanks(header), "*") == 0)
        return true;
    for (const char *s = skip_blanks(header); *s != '\0';) {
        bool weak = strncmp(s, "W/", 2) == 0;
        s += weak ? 2 : 0;
        const char *end = *s == '"' ? strchr(s + 1, '"') : NULL;
        if (end == NULL)
            return false;
        if (!weak && strncmp(s + 1, edition, length) == 0 && s[1 + length] == '-')
            return true;
        s = skip_blanks(end + 1);
        if (*s == ',')
            s = skip_blanks(s + 1);
        else if (*s != '\0')
            return false;
    }
    return false;
}

qd_code qd_reply_validate(qd_reply *reply, const qd_request *request, qd_error *err)
{
    char digest[QD_DIGEST_HEX], tag[QD_ETAG_LENGTH];
    const char *known = qd_reply_header_get(reply, "ETag");
    qd_code code = known != NULL ? QD_OK : qd_sha256(reply->bytes, reply->length, digest, err);
    if (code != QD_OK)
        return code;
    if (known != NULL)
        snprintf(tag, sizeof tag, "%s", known);
    else
        snprintf(tag, sizeof tag, "\"%s\"", digest);
    bool fresh = reply->status == 200 && qd_if_none_match(request->headers[QD_IF_NONE_MATCH], tag);
    if (fresh) {
        qd_reply_clear(reply);
        reply->status = 304;
    }
    if (fresh || known == NULL)
        qd_reply_header_set(reply, "ETag", "%s", tag);
    return QD_OK;
}

static void set_range(qd_reply *reply, qd_range range, uint64_t size)
{
    reply->status = range.kind == QD_RANGE_PART ? 206 : 200;
    reply->offset = range.first;
    reply->length = range.length;
    if (range.kind == QD_RANGE_PART)
        qd_reply_header_set(reply, "Content-Range", "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, range.first,
                            range.first + range.length - 1, size);
}

bool qd_reply_select(qd_reply *reply, const qd_request *request, uint64_t size, const char *tag)
{
    bool honoured = qd_if_range_ok(request->headers[QD_IF_RANGE], tag);
    qd_range range = qd_range_parse(honoured ? request->headers[QD_RANGE] : NULL, size);
    if (qd_if_none_match(request->headers[QD_IF_NONE_MATCH], tag))
        reply->status = 304;
    else if (range.kind == QD_RANGE_UNSATISFIABLE) {
        qd_reply_problem(reply, request, QD_PROBLEM_RANGE, NULL, "range '%.100s' of a file of %" PRIu64 " bytes",
                         request->headers[QD_RANGE], size);
        qd_reply_header_set(reply, "Content-Range", "bytes */%" PRIu64, size);
    } else
        set_range(reply, range, size);
    qd_reply_header_set(reply, "Accept-Ranges", "bytes");
    qd_reply_header_set(reply, "ETag", "%s", tag);
    return reply->status == 200 || reply->status == 206;
}
