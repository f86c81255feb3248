/* send.c: destinations and the one POST; see send.h. */
#include "fetch/send.h"

#include "fetch/answer.h"

qd_code qd_fetch_check_destination(const qd_fetcher *fetcher, const char *url, qd_purpose purpose, qd_error *err)
{
    QD_AUTO(qd_url_fini) qd_url parsed = { 0 };
    char shown[320];
    qd_code code = qd_url_parse(url, &parsed, err);
    if (code != QD_OK)
        return code;
    bool web = parsed.scheme == QD_SCHEME_HTTPS || parsed.scheme == QD_SCHEME_HTTP;
    if (web || (parsed.scheme == QD_SCHEME_S3 && purpose == QD_FOR_UPLOAD))
        code = qd_destination_check(fetcher, &parsed, err);
    else
        code = qd_fail(err, QD_EINVAL, "only %s can be sent to",
                       purpose == QD_FOR_UPLOAD ? "https, http and s3 urls" : "https and http urls");
    qd_url_redact(url, shown, sizeof shown);
    return code == QD_OK ? QD_OK : qd_within(err, code, "url '%s'", shown);
}

/* A long answer says nothing more than its status. */
static qd_code begin(void *ctx, const qd_reply_head *head, qd_wanted *out_wanted, qd_error *err)
{
    (void)ctx, (void)head, (void)err;
    *out_wanted = QD_BODY_DROP;
    return QD_OK;
}

static qd_code post_to(const qd_fetcher *fetcher, const qd_url *url, const qd_post *post, const qd_cancel *cancel,
                       qd_sent *out, qd_error *err)
{
    QD_AUTO(qd_line_fini) qd_line line = { 0 };
    atomic_bool stop = false;
    qd_trouble trouble;
    qd_reply_head head;
    const qd_egress egress = { .addresses = &fetcher->addresses,
                               .allow_http = fetcher->allow_http,
                               .low_speed_seconds = fetcher->low_speed_seconds,
                               .cancel = cancel,
                               .stop = &stop };
    const qd_ask_body body = { .bytes = post->body, .size = post->length };
    const qd_ask ask = { .url = url,
                         .method = QD_ASK_POST,
                         .redirects = QD_REDIRECTS_NONE,
                         .body = &body,
                         .headers = post->headers,
                         .header_count = post->header_count,
                         .timeout_seconds = post->timeout_seconds };
    const qd_body_sink sink = { .begin = begin };
    qd_code code = qd_line_init(&line, err);
    if (code == QD_OK)
        code = qd_transfer(&line, &egress, &ask, &sink, &head, &trouble, err);
    if (code != QD_OK)
        return code;
    out->status = head.status;
    out->retry_after = head.retry_after;
    return head.status >= 200 && head.status < 300 ? QD_OK : qd_fail(err, QD_ENETWORK, "status %ld", head.status);
}

qd_code qd_fetch_post(const qd_fetcher *fetcher, const qd_post *post, const qd_cancel *cancel, qd_sent *out,
                      qd_error *err)
{
    QD_AUTO(qd_url_fini) qd_url url = { 0 };
    *out = (qd_sent){ .retry_after = -1 };
    qd_code code = qd_fetch_check_destination(fetcher, post->url, QD_FOR_POST, err);
    if (code == QD_OK)
        code = qd_url_parse(post->url, &url, err);
    if (code == QD_OK)
        code = post_to(fetcher, &url, post, cancel, out, err);
    if (code == QD_EDENIED || code == QD_EINVAL)
        out->outlook = QD_SENT_NEVER;
    return code;
}
