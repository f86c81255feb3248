/* outbound.c: see outbound.h. */
#include "fetch/outbound.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

static const char *const methods[] = {
    [QD_ASK_GET] = "GET",   [QD_ASK_HEAD] = "HEAD",     [QD_ASK_PUT] = "PUT",
    [QD_ASK_POST] = "POST", [QD_ASK_DELETE] = "DELETE",
};

bool qd_outbound_has_token(const qd_egress *egress, const qd_url *url)
{
    return egress->token != NULL && egress->token_home != NULL &&
           qd_url_same_origin(url, egress->token_home) == QD_SAME;
}

bool qd_outbound_is_signed(const qd_egress *egress, const qd_url *url)
{
    return egress->signing != NULL && qd_url_same_origin(url, egress->signing->home) == QD_SAME;
}

static qd_code add_header(struct curl_slist **list, const char *name, const char *value, qd_error *err)
{
    if (value == NULL || value[0] == '\0')
        return QD_OK;
    qd_str line = { 0 };
    qd_str_addf(&line, "%s: %s", name, value);
    QD_AUTO(qd_free_pointer) char *text = qd_str_take(&line);
    struct curl_slist *longer = text == NULL ? NULL : curl_slist_append(*list, text);
    if (longer == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    *list = longer;
    return QD_OK;
}

static qd_code add_token(const qd_egress *egress, struct curl_slist **list, qd_error *err)
{
    qd_str text = { 0 };
    qd_str_addf(&text, "Bearer %s", egress->token);
    QD_AUTO(qd_free_pointer) char *bearer = qd_str_take(&text);
    return bearer == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : add_header(list, "Authorization", bearer, err);
}

/* The given headers and those that a signature wants, all of them signed. */
static qd_code add_signed(const qd_egress *egress, const qd_ask *ask, const qd_url *url, struct curl_slist **list,
                          qd_error *err)
{
    const qd_signing *signing = egress->signing;
    char date[QD_AMZ_DATE];
    qd_ask_header rows[QD_SIGNED_HEADERS_MAX];
    size_t count = 0;
    QD_AUTO(qd_free_pointer) char *authorization = NULL;
    const char *digest = ask->body == NULL ? qd_empty_sha256 : ask->body->sha256;
    qd_amz_date(qd_clock_wall_ms(), date);
    rows[count++] = (qd_ask_header){ "x-amz-content-sha256", digest };
    rows[count++] = (qd_ask_header){ "x-amz-date", date };
    if (signing->keys->token != NULL)
        rows[count++] = (qd_ask_header){ "x-amz-security-token", signing->keys->token };
    for (size_t i = 0; i < ask->header_count; i++) {
        if (count == QD_LENGTH(rows))
            return qd_fail(err, QD_EINTERNAL, "more headers than can be signed");
        rows[count++] = ask->headers[i];
    }
    const qd_sigv4_request request = { .method = methods[ask->method],
                                       .url = url,
                                       .headers = rows,
                                       .header_count = count,
                                       .payload_sha256 = digest,
                                       .date = date,
                                       .region = signing->region,
                                       .service = "s3" };
    qd_code code = qd_sigv4_sign(&request, signing->keys, &authorization, err);
    if (code == QD_OK)
        code = add_header(list, "Authorization", authorization, err);
    for (size_t i = 0; code == QD_OK && i < count; i++)
        code = add_header(list, rows[i].name, rows[i].value, err);
    return code;
}

qd_code qd_outbound_headers(const qd_egress *egress, const qd_ask *ask, const qd_url *url, struct curl_slist **list,
                            qd_error *err)
{
    qd_code code = QD_OK;
    if (qd_outbound_has_token(egress, url))
        code = add_token(egress, list, err);
    if (qd_outbound_is_signed(egress, url))
        code = add_signed(egress, ask, url, list, err);
    else
        for (size_t i = 0; code == QD_OK && i < ask->header_count; i++)
            code = add_header(list, ask->headers[i].name, ask->headers[i].value, err);
    if (code == QD_OK)
        code = add_header(list, "If-Range", ask->range != NULL ? ask->if_range : NULL, err);
    if (code == QD_OK)
        code = add_header(list, "If-Match", ask->if_match, err);
    if (code == QD_OK)
        code = add_header(list, "If-None-Match", ask->if_none_match, err);
    if (code == QD_OK)
        code = add_header(list, "If-Modified-Since", ask->if_modified_since, err);
    return code;
}

/* ---- the body ---- */

static size_t read_body(char *out, size_t size, size_t count, void *ctx)
{
    qd_outbound *o = ctx;
    const qd_ask_body *body = o->body;
    size_t wanted = (size_t)((uint64_t)size * count < body->size - o->at ? (uint64_t)size * count : body->size - o->at);
    ssize_t got;
    if (body->bytes != NULL) {
        memcpy(out, (const char *)body->bytes + o->at, wanted);
        got = (ssize_t)wanted;
    } else {
        do
            got = pread(body->fd, out, wanted, (off_t)(body->offset + o->at));
        while (got < 0 && errno == EINTR);
    }
    if (got < 0 || (got == 0 && wanted > 0)) {
        o->code = got < 0 ? qd_fail_errno(&o->failure, "read the file that is sent")
                          : qd_fail(&o->failure, QD_EFORMAT, "the file that is sent became shorter");
        return CURL_READFUNC_ABORT;
    }
    o->at += (uint64_t)got;
    return (size_t)got;
}

/* A connection that was kept may turn out to be closed, and libcurl takes another. */
static int seek_body(void *ctx, curl_off_t offset, int origin)
{
    qd_outbound *o = ctx;
    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > o->body->size)
        return CURL_SEEKFUNC_FAIL;
    o->at = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

void qd_outbound_set(qd_outbound *outbound, CURL *curl, const qd_ask *ask)
{
    static const qd_ask_body nothing = { .bytes = "" };
    bool sends = ask->method == QD_ASK_PUT || ask->method == QD_ASK_POST;
    *outbound = (qd_outbound){ .body = ask->body == NULL ? &nothing : ask->body };
    curl_easy_setopt(curl, CURLOPT_NOBODY, ask->method == QD_ASK_HEAD ? 1L : 0L);
    curl_easy_setopt(curl, CURLOPT_RANGE, ask->range);
    if (ask->timeout_seconds > 0)
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(ask->timeout_seconds * 1000));
    if (ask->method == QD_ASK_DELETE)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, methods[ask->method]);
    if (!sends)
        return;
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, methods[ask->method]);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, read_body);
    curl_easy_setopt(curl, CURLOPT_READDATA, outbound);
    curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, seek_body);
    curl_easy_setopt(curl, CURLOPT_SEEKDATA, outbound);
    curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)outbound->body->size);
    curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, 524288L);
}

void qd_outbound_answered(CURL *curl, qd_reply_head *head)
{
    curl_off_t seconds = 0;
    if (curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &seconds) == CURLE_OK && seconds > 0)
        head->retry_after = (long)qd_min_size((size_t)seconds, 1000000);
}
