/* hygiene.c: what the library lets through and we do not (server.md §1.5), and what the route says of the body. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "http/access.h"
#include "http/hosts.h"
#include "http/number.h"
#include "http/problem.h"

typedef struct reading {
    qd_exchange *exchange;
    qd_code code;
    qd_error err;
} reading;

/* Release 0.9.75 gives the length up to the first NUL, so one inside a value is only seen with later releases; a
 * proxy in front refuses it. */
static enum MHD_Result read_header(void *ctx, enum MHD_ValueKind kind, const char *name, size_t name_length,
                                   const char *value, size_t length)
{
    reading *r = ctx;
    (void)kind;
    if (memchr(name, '\0', name_length) != NULL)
        r->code = qd_fail(&r->err, QD_EINVAL, "a header's name holds a NUL");
    else
        r->code = qd_request_add_header(&r->exchange->request, name, value == NULL ? "" : value, length, &r->err);
    return r->code == QD_OK ? MHD_YES : MHD_NO;
}

static bool refuse(qd_exchange *x, qd_problem_kind kind, const char *text)
{
    /* What follows on the wire is not to be trusted. */
    x->closes = true;
    atomic_fetch_add(&x->http->counters.refused, 1);
    qd_reply_problem(&x->reply, &x->request, kind, NULL, "%s", text);
    return false;
}

static bool headers_ok(qd_exchange *x)
{
    reading r = { .exchange = x };
    MHD_get_connection_values_n(x->connection, MHD_HEADER_KIND, read_header, &r);
    if (r.code == QD_OK)
        return true;
    return refuse(x, r.code == QD_EINVAL ? QD_PROBLEM_BAD_REQUEST : qd_problem_kind_of(r.code), r.err.text);
}

/* RFC 9112 §6: a message whose length can be read in two ways is refused. */
static bool framing_ok(qd_exchange *x, const char *version)
{
    const char *coding = x->request.headers[QD_TRANSFER_ENCODING];
    const char *length = x->request.headers[QD_CONTENT_LENGTH];
    if (coding == NULL)
        return true;
    if (length != NULL)
        return refuse(x, QD_PROBLEM_BAD_REQUEST, "both Content-Length and Transfer-Encoding are given");
    if (strcmp(version, MHD_HTTP_VERSION_1_1) != 0)
        return refuse(x, QD_PROBLEM_BAD_REQUEST, "Transfer-Encoding needs HTTP/1.1");
    if (strcasecmp(coding, "chunked") != 0)
        return refuse(x, QD_PROBLEM_UNSUPPORTED, "Transfer-Encoding: only 'chunked' is known");
    return true;
}

static bool target_ok(qd_exchange *x)
{
    qd_error err;
    qd_code code = qd_target_parse(x->raw_target, &x->request.target, &err);
    if (code == QD_OK)
        return true;
    return refuse(x, code == QD_EINVAL ? QD_PROBLEM_BAD_REQUEST : qd_problem_kind_of(code), err.text);
}

/* A client without a Host (HTTP/1.0) is no browser. */
static bool host_ok(qd_exchange *x)
{
    const qd_http_config *config = &x->http->config;
    const char *host = x->request.headers[QD_HOST];
    if (host == NULL || config->hosts == QD_HOSTS_ANY || qd_host_allowed(host, config->host, config->host_names))
        return true;
    qd_error err;
    qd_fail(&err, QD_EDENIED,
            "Host: '%.200s' is not a name of this service; localhost, a loopback address, the listen address or a name "
            "of option host is wanted",
            host);
    return refuse(x, QD_PROBLEM_FORBIDDEN, err.text);
}

static bool is_json(const char *type)
{
    static const char *const types[] = { "application/json", "application/merge-patch+json" };
    size_t length = type == NULL ? 0 : strcspn(type, "; \t");
    for (size_t i = 0; i < QD_LENGTH(types); i++)
        if (strlen(types[i]) == length && strncasecmp(type, types[i], length) == 0)
            return true;
    return false;
}

static bool has_body(const qd_exchange *x)
{
    const char *length = x->request.headers[QD_CONTENT_LENGTH];
    return x->request.headers[QD_TRANSFER_ENCODING] != NULL || (length != NULL && strcmp(length, "0") != 0);
}

/* A page of another site can send simple forms here: what a browser sends (Origin) must be ours and JSON; what curl
 * -d sends is fine. */
static bool origin_ok(qd_exchange *x)
{
    const char *origin = x->request.headers[QD_ORIGIN];
    if (origin == NULL || x->request.method == QD_GET)
        return true;
    if (!qd_origin_same(origin, x->request.headers[QD_HOST], x->http->app.scheme))
        return refuse(x, QD_PROBLEM_FORBIDDEN, "Origin: only pages of this service may change jobs");
    if (has_body(x) && !is_json(x->request.headers[QD_CONTENT_TYPE]))
        return refuse(x, QD_PROBLEM_MEDIA_TYPE, "a browser must send Content-Type: application/json");
    return true;
}

/* Before a byte of the body is read. */
static bool length_ok(qd_exchange *x)
{
    const char *text = x->request.headers[QD_CONTENT_LENGTH];
    uint64_t length = 0;
    char why[160];
    qd_error err;
    if (qd_number_read("Content-Length", text, 0, INT64_MAX, &length, &err) != QD_OK)
        return refuse(x, QD_PROBLEM_BAD_REQUEST, err.text);
    if (length <= x->route->max_body)
        return true;
    snprintf(why, sizeof why, "a body of %" PRIu64 " bytes; %s %s takes at most %zu", length, x->method_name,
             x->route->pattern, x->route->max_body);
    return refuse(x, QD_PROBLEM_TOO_LARGE, why);
}

bool qd_hygiene_check(qd_exchange *x, const char *version)
{
    if (!headers_ok(x))
        return false;
    qd_access_address(x);
    if (!framing_ok(x, version) || !target_ok(x) || !host_ok(x))
        return false;
    x->route = qd_route_find(&x->request, x->method_name, &x->reply);
    if (x->route == NULL) {
        /* The body, if any, stays unread. */
        x->closes = x->request.headers[QD_CONTENT_LENGTH] != NULL || x->request.headers[QD_TRANSFER_ENCODING] != NULL;
        return false;
    }
    return qd_access_check(x) && origin_ok(x) && length_ok(x);
}
