/* transfer.c: see transfer.h. */
#include "fetch/transfer.h"

#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "fetch/head.h"
#include "fetch/outbound.h"

enum { MAX_HEADER_BYTES = 262144, MAX_DROPPED_BODY = 1 << 20, CONNECT_SECONDS = 30, LOW_SPEED_BYTES = 1024 };

/* One hop in flight: what the callbacks need. */
typedef struct hop {
    const qd_egress *egress;
    const qd_url *url;
    const qd_body_sink *sink;
    qd_reply_head *head;
    CURL *curl;
    enum { BODY_PENDING, BODY_TAKE, BODY_DROP } body;
    bool carries_token; /* or a signature */
    qd_outbound outbound;
    size_t header_bytes, dropped;
    qd_code code;   /* why a callback stopped the transfer; QD_OK = it did not */
    qd_code denied; /* QD_EDENIED when an address was refused; matters only if none could be reached */
    qd_error failure;
} hop;

bool qd_etag_is_strong(const char *etag)
{
    size_t length = strlen(etag);
    return length >= 2 && etag[0] == '"' && etag[length - 1] == '"';
}

qd_code qd_line_init(qd_line *line, qd_error *err)
{
    line->curl = curl_easy_init();
    return line->curl == NULL ? qd_fail(err, QD_ENOMEM, "libcurl gives no handle") : QD_OK;
}

void qd_line_fini(qd_line *line)
{
    curl_easy_cleanup(line->curl);
    line->curl = NULL;
}

/* The one gate to the network: called after name resolution, for each address, before anything is sent. */
static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    hop *h = ctx;
    qd_net net;
    const char *reason = "";
    char text[QD_ADDRESS_TEXT] = "?";
    if (purpose != CURLSOCKTYPE_IPCXN)
        return CURL_SOCKET_BAD;
    if (qd_net_of_sockaddr(&address->addr, &net, &h->failure) != QD_OK) {
        h->denied = QD_EDENIED;
        return CURL_SOCKET_BAD;
    }
    qd_net_text(&net, text);
    qd_verdict verdict = qd_address_judge(h->egress->addresses, &net, &reason);
    bool usual_port = h->url->port == 443 || (h->url->port == 80 && h->egress->allow_http);
    if (verdict == QD_ADDRESS_BLOCKED)
        h->denied = qd_fail(&h->failure, QD_EDENIED,
                            "address %s is not public (%s); allow-net opens networks of your own", text, reason);
    else if (verdict == QD_ADDRESS_PUBLIC && !usual_port)
        h->denied =
            qd_fail(&h->failure, QD_EDENIED, "port %u of public address %s is not 443%s; allow-net opens other servers",
                    h->url->port, text, h->egress->allow_http ? " or 80" : "");
    else if (verdict == QD_ADDRESS_PUBLIC && h->carries_token && h->url->scheme != QD_SCHEME_HTTPS)
        h->denied = qd_fail(&h->failure, QD_EDENIED,
                            "the token or signature would travel unencrypted to public address %s", text);
    else
        return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    return CURL_SOCKET_BAD;
}

static size_t take_header(char *line, size_t size, size_t count, void *ctx)
{
    hop *h = ctx;
    size_t length = size * count;
    h->header_bytes += length;
    if (h->header_bytes > MAX_HEADER_BYTES) {
        h->code = qd_fail(&h->failure, QD_ETOOBIG, "more than %d bytes of response header", MAX_HEADER_BYTES);
        return 0;
    }
    if (length >= 5 && strncasecmp(line, "HTTP/", 5) == 0)
        qd_head_reset(h->head); /* also after a 100 Continue */
    else
        qd_head_line(h->head, line, length);
    return length;
}

static bool is_redirect(long status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* Asks the sink once, when the header is whole. */
static qd_code begin_body(hop *h)
{
    if (h->body != BODY_PENDING)
        return QD_OK;
    h->body = BODY_DROP;
    curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &h->head->status);
    if (is_redirect(h->head->status))
        return QD_OK;
    qd_wanted wanted = QD_BODY_DROP;
    h->code = h->sink->begin(h->sink->ctx, h->head, &wanted, &h->failure);
    if (h->code == QD_OK && wanted == QD_BODY_TAKE)
        h->body = BODY_TAKE;
    return h->code;
}

static size_t take_body(char *bytes, size_t size, size_t count, void *ctx)
{
    hop *h = ctx;
    size_t length = size * count;
    if (begin_body(h) != QD_OK)
        return CURL_WRITEFUNC_ERROR;
    if (h->body == BODY_DROP) {
        h->dropped += length;
        if (h->dropped <= MAX_DROPPED_BODY)
            return length;
        h->code = QD_ECANCELLED; /* enough seen: the status says it all */
        return CURL_WRITEFUNC_ERROR;
    }
    h->code = h->sink->bytes(h->sink->ctx, bytes, length, &h->failure);
    return h->code == QD_OK ? length : CURL_WRITEFUNC_ERROR;
}

static int look_up(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    hop *h = ctx;
    return qd_cancel_requested(h->egress->cancel) || atomic_load(h->egress->stop);
}

static void set_options(hop *h, const qd_ask *ask, const char *url, struct curl_slist *headers)
{
    CURL *curl = h->curl;
    curl_easy_reset(curl); /* keeps connections: an address once judged stays judged */
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, h->url->scheme == QD_SCHEME_HTTPS ? "https" : "http");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* a proxy would hide the address from open_socket */
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "quantd");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    qd_outbound_set(&h->outbound, curl, ask);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)LOW_SPEED_BYTES);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, h->egress->low_speed_seconds);
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 262144L);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, h);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, h);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, h);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look_up);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, h);
}

/* What libcurl's result means to us. */
static qd_code judge_result(const hop *h, const qd_ask *ask, CURLcode result, qd_trouble *out_trouble, qd_error *err)
{
    const char *why = curl_easy_strerror(result);
    *out_trouble = QD_TROUBLE_FINAL;
    switch (result) {
    case CURLE_COULDNT_RESOLVE_HOST:
        *out_trouble = QD_TROUBLE_UNREACHABLE;
        return qd_fail(err, QD_ENETWORK, "host '%s' does not resolve", h->url->host);
    case CURLE_COULDNT_CONNECT:
        if (h->denied != QD_OK)
            return qd_fail(err, h->denied, "host '%s': %s", h->url->host, h->failure.text);
        *out_trouble = QD_TROUBLE_UNREACHABLE;
        return qd_fail(err, QD_ENETWORK, "host '%s', port %u cannot be reached: connection refused or no route",
                       h->url->host, h->url->port);
    case CURLE_OPERATION_TIMEDOUT:
        *out_trouble = QD_TROUBLE_BROKEN;
        if (ask->timeout_seconds > 0)
            return qd_fail(err, QD_ETIMEOUT, "no answer within %.0f seconds", ask->timeout_seconds);
        return qd_fail(err, QD_ETIMEOUT, "below %d bytes a second for %ld seconds", LOW_SPEED_BYTES,
                       h->egress->low_speed_seconds);
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SEND_FAIL_REWIND:
        *out_trouble = QD_TROUBLE_BROKEN;
        return qd_fail(err, QD_ENETWORK, "the connection broke off: %s", why);
    case CURLE_OUT_OF_MEMORY:
        return qd_fail(err, QD_ENOMEM, "out of memory");
    default:
        return qd_fail(err, QD_ENETWORK, "%s", why);
    }
}

static qd_code perform(hop *h, const qd_ask *ask, qd_trouble *out_trouble, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *url = qd_url_text(h->url);
    struct curl_slist *headers = NULL;
    qd_code code = url == NULL ? qd_fail(err, QD_ENOMEM, "out of memory")
                               : qd_outbound_headers(h->egress, ask, h->url, &headers, err);
    if (code != QD_OK) {
        curl_slist_free_all(headers);
        return code;
    }
    set_options(h, ask, url, headers);
    CURLcode result = curl_easy_perform(h->curl);
    if (result == CURLE_OK)
        begin_body(h); /* an empty body */
    qd_outbound_answered(h->curl, h->head);
    curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(headers);
    if (h->code == QD_ECANCELLED && h->dropped > MAX_DROPPED_BODY)
        return QD_OK;
    if (h->outbound.code != QD_OK) {
        *out_trouble = QD_TROUBLE_FINAL;
        return qd_fail(err, h->outbound.code, "%s", h->outbound.failure.text);
    }
    if (h->code != QD_OK) {
        *out_trouble = QD_TROUBLE_FINAL;
        return qd_fail(err, h->code, "%s", h->failure.text);
    }
    if (result == CURLE_ABORTED_BY_CALLBACK) {
        *out_trouble = QD_TROUBLE_FINAL;
        return qd_fail(err, QD_ECANCELLED, "cancelled");
    }
    return result == CURLE_OK ? QD_OK : judge_result(h, ask, result, out_trouble, err);
}

qd_code qd_redirect_target(const qd_url *first, const qd_url *from, const char *text, qd_redirects redirects,
                           qd_url *out, qd_error *err)
{
    QD_AUTO(qd_url_fini) qd_url next = { 0 };
    qd_code code = qd_url_parse(text, &next, err);
    if (code == QD_EINVAL) {
        qd_within(err, QD_EDENIED, "redirect");
        if (err != NULL)
            err->code = QD_EDENIED;
        return QD_EDENIED;
    }
    QD_AUTO(qd_free_pointer) char *shown = qd_url_public(&next);
    if (code != QD_OK || shown == NULL)
        return code != QD_OK ? code : qd_fail(err, QD_ENOMEM, "out of memory");
    if (next.scheme != QD_SCHEME_HTTPS && next.scheme != QD_SCHEME_HTTP)
        return qd_fail(err, QD_EDENIED, "redirect to '%s': only https and http are followed", shown);
    if (next.scheme == QD_SCHEME_HTTP && from->scheme == QD_SCHEME_HTTPS)
        return qd_fail(err, QD_EDENIED, "redirect from https to plain http ('%s')", shown);
    if (redirects == QD_REDIRECTS_SAME_ORIGIN && qd_url_same_origin(first, &next) != QD_SAME)
        return qd_fail(err, QD_EDENIED, "redirect to another host ('%s') where only the hub may answer", shown);
    *out = next;
    next = (qd_url){ 0 };
    return QD_OK;
}

static qd_code next_url(const hop *h, const qd_url *first, qd_redirects redirects, qd_url *out, qd_error *err)
{
    char *text = NULL;
    curl_easy_getinfo(h->curl, CURLINFO_REDIRECT_URL, &text);
    if (text == NULL)
        return qd_fail(err, QD_ENETWORK, "status %ld without a place to go", h->head->status);
    return qd_redirect_target(first, h->url, text, redirects, out, err);
}

static void prepare_hop(hop *h, qd_line *line, const qd_egress *egress, const qd_url *url)
{
    h->url = url;
    h->curl = line->curl;
    h->carries_token = qd_outbound_has_token(egress, url) || qd_outbound_is_signed(egress, url);
    qd_head_reset(h->head);
}

qd_code qd_transfer(qd_line *line, const qd_egress *egress, const qd_ask *ask, const qd_body_sink *sink,
                    qd_reply_head *out_head, qd_trouble *out_trouble, qd_error *err)
{
    QD_AUTO(qd_url_fini) qd_url current = { 0 };
    *out_trouble = QD_TROUBLE_NONE;
    *out_head = (qd_reply_head){ .hub_size = QD_SIZE_UNKNOWN };
    for (unsigned redirect = 0;; redirect++) {
        const qd_url *url = redirect == 0 ? ask->url : &current;
        hop h = { .egress = egress, .sink = sink, .head = out_head };
        prepare_hop(&h, line, egress, url);
        qd_code code = perform(&h, ask, out_trouble, err);
        out_head->final_origin = qd_url_same_origin(url, ask->url);
        if (code != QD_OK && redirect > 0) {
            QD_AUTO(qd_free_pointer) char *shown = qd_url_public(url);
            return qd_within(err, code, "redirected to '%s'", shown == NULL ? "?" : shown);
        }
        if (code != QD_OK || !is_redirect(out_head->status) || ask->redirects == QD_REDIRECTS_NONE)
            return code;
        *out_trouble = QD_TROUBLE_FINAL;
        if (redirect == QD_MAX_REDIRECTS)
            return qd_fail(err, QD_ENETWORK, "more than %d redirects", QD_MAX_REDIRECTS);
        qd_url next = { 0 };
        code = next_url(&h, ask->url, ask->redirects, &next, err);
        if (code != QD_OK)
            return code;
        qd_url_fini(&current);
        current = next;
        *out_trouble = QD_TROUBLE_NONE;
    }
}
