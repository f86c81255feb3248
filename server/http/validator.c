/* validator.c: see validator.h. */
#include "http/validator.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
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
