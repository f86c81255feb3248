/* intake.c: the library's repeated callbacks -> one complete request, within limits; then its handler, here or in the
 * pool. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "http/access.h"
#include "http/problem.h"

/* A chunked body beyond the limit is read on so that it can be answered, but not for ever. */
enum { SURPLUS_MAX = 16 << 20, PARAMETERS_MAX = 64 };

static qd_reaper_socket *socket_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    const qd_peer *peer = info == NULL ? NULL : info->socket_context;
    return peer == NULL ? NULL : peer->socket;
}

static void arm(const qd_exchange *x, double seconds)
{
    qd_reaper_arm(x->http->reaper, socket_of(x->connection), seconds);
}

/* What is small goes to the kernel at once; event streams are silent by nature. */
static enum MHD_Result send_reply(qd_exchange *x)
{
    enum MHD_Result result = qd_send(x);
    if (result == MHD_YES && x->reply.payload != QD_PAYLOAD_EVENTS && x->reply.length > QD_REAPER_TAKEN)
        qd_reaper_arm_sending(x->http->reaper, socket_of(x->connection), x->http->config.send_seconds);
    return result;
}

static size_t parameters_of(const char *target)
{
    size_t count = 0;
    for (const char *at = strchr(target, '?'); at != NULL; at = strchr(at + 1, '&'))
        count++;
    return count;
}

/* Release 0.9.75 keeps a record of each query parameter in the connection's memory; when that is used up it neither answers nor closes. So the
 * answer is given here, before it begins to. Nothing of this request has been written, and what came before has been sent. */
static void answer_in_place(qd_exchange *x)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    qd_reply_problem(&x->reply, &x->request, QD_PROBLEM_BAD_REQUEST, NULL, "target: more than %d query parameters",
                     (int)PARAMETERS_MAX);
    qd_str_addf(&text,
                "HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nContent-Length: %" PRIu64
                "\r\nX-Request-Id: %s\r\nConnection: close\r\n\r\n%s",
                x->reply.length, x->request.caller.request_id, x->reply.bytes == NULL ? "" : x->reply.bytes);
    x->stage = QD_STAGE_SENT;
    atomic_fetch_add(&x->http->counters.refused, 1);
    if (info == NULL || qd_str_check(&text, NULL) != QD_OK)
        return;
    if (x->http->tls == NULL && /* plain text is no record of TLS: there the connection is only closed */
        send(info->connect_fd, text.data, text.length, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)text.length)
        x->status = x->reply.status;
    shutdown(info->connect_fd, SHUT_RDWR);
}

void *qd_intake_target(void *ctx, const char *target, struct MHD_Connection *connection)
{
    qd_http *http = ctx;
    qd_exchange *x = calloc(1, sizeof *x);
    char *copy = strdup(target);
    if (x == NULL || copy == NULL) {
        free(x);
        free(copy);
        return NULL;
    }
    x->http = http;
    x->connection = connection;
    x->raw_target = copy;
    x->started = qd_clock_seconds();
    qd_reply_init(&x->reply);
    snprintf(x->request.caller.request_id, sizeof x->request.caller.request_id, "%s%012" PRIxFAST64,
             http->request_prefix, (uint_fast64_t)(atomic_fetch_add(&http->request_count, 1) & 0xffffffffffff));
    atomic_fetch_add(&http->counters.in_flight, 1);
    if (parameters_of(target) > PARAMETERS_MAX)
        answer_in_place(x);
    return x;
}

static void run_handler(qd_exchange *x)
{
    qd_error err = { 0 };
    qd_code code = qd_route_run(x->route, &x->http->app, &x->request, &x->reply, &err);
    if (x->reply.status >= 500)
        qd_http_log(x->http, "error", "http.failed", "request_id=%s route=%s code=%s detail=\"%s\"",
                    x->request.caller.request_id, x->route->pattern, qd_code_name(code), err.text);
    x->stage = QD_STAGE_REPLY;
}

static void run_away(qd_away_task *task)
{
    qd_exchange *x = (qd_exchange *)task;
    run_handler(x);
    MHD_resume_connection(x->connection); /* from here on it belongs to the connection's thread */
}

/* The whole request is there. */
static enum MHD_Result dispatch(qd_exchange *x)
{
    arm(x, 0);
    if (x->surplus == 0 && x->route->where == QD_AWAY && !atomic_load(&x->http->closing)) {
        x->stage = QD_STAGE_AWAY;
        x->task.run = run_away;
        MHD_suspend_connection(x->connection);
        qd_away_post(x->http->away, &x->task);
        return MHD_YES; /* x is the pool's now: it may be answered already */
    }
    x->stage = QD_STAGE_REPLY;
    if (x->surplus > 0)
        qd_reply_problem(&x->reply, &x->request, QD_PROBLEM_TOO_LARGE, NULL,
                         "a body beyond %zu bytes; %s takes no more", x->route->max_body, x->route->pattern);
    else if (atomic_load(&x->http->closing))
        qd_reply_problem(&x->reply, &x->request, QD_PROBLEM_UNAVAILABLE, NULL, "the service is stopping");
    else
        run_handler(x);
    return send_reply(x);
}

static enum MHD_Result take_body(qd_exchange *x, const char *data, size_t *size)
{
    size_t room = x->route->max_body - x->request.body.length;
    if (x->surplus > 0 || *size > room)
        x->surplus += *size;
    else
        qd_str_add_bytes(&x->request.body, data, *size);
    *size = 0;
    return x->surplus > SURPLUS_MAX || x->request.body.failed ? MHD_NO : MHD_YES;
}

static enum MHD_Result begin(qd_exchange *x, const char *method, const char *version)
{
    snprintf(x->method_name, sizeof x->method_name, "%s", method);
    x->request.method = qd_method_find(method);
    x->request.head = strcmp(method, "HEAD") == 0;
    qd_access_address(x);
    if (qd_hygiene_check(x, version)) {
        x->stage = QD_STAGE_READING;
        arm(x, x->http->config.body_seconds);
        return MHD_YES;
    }
    arm(x, 0);
    x->stage = QD_STAGE_REPLY;
    return send_reply(x);
}

enum MHD_Result qd_intake_request(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *data, size_t *size, void **exchange)
{
    (void)ctx;
    (void)url;
    qd_exchange *x = *exchange;
    if (x == NULL)
        return MHD_NO;
    assert(x->connection == connection);
    if (x->stage == QD_STAGE_SENT && x->method_name[0] == '\0')
        return MHD_NO; /* answered in place */
    if (x->stage == QD_STAGE_NEW)
        return begin(x, method, version);
    if (x->stage == QD_STAGE_READING && *size > 0)
        return take_body(x, data, size);
    if (x->stage == QD_STAGE_READING)
        return dispatch(x);
    return x->stage == QD_STAGE_REPLY ? send_reply(x) : MHD_YES;
}

static void log_exchange(const qd_exchange *x)
{
    size_t path_length = strcspn(x->raw_target, "?");
    const char *level = x->request.method == QD_GET ? "debug" : "info";
    qd_http_log(x->http, level, "http.request",
                "request_id=%s address=%s key=%s method=%s path=%.*s status=%u seconds=%.6f",
                x->request.caller.request_id, x->request.caller.address,
                x->request.caller.key_id[0] == '\0' ? "-" : x->request.caller.key_id,
                x->method_name[0] == '\0' ? "-" : x->method_name, (int)(path_length < 300 ? path_length : 300),
                x->raw_target, x->status, qd_clock_seconds() - x->started);
}

void qd_intake_completed(void *ctx, struct MHD_Connection *connection, void **exchange,
                         enum MHD_RequestTerminationCode why)
{
    qd_http *http = ctx;
    qd_exchange *x = *exchange;
    (void)why;
    if (x == NULL)
        return;
    qd_reaper_arm(http->reaper, socket_of(connection), http->config.idle_seconds + http->config.header_seconds);
    if (x->status == 0)
        qd_counters_add(&http->counters, qd_route_index(x->route), 0, qd_clock_seconds() - x->started);
    if (x->download)
        atomic_fetch_sub(&http->counters.downloads, 1);
    log_exchange(x);
    qd_request_fini(&x->request);
    qd_reply_fini(&x->reply);
    free(x->raw_target);
    free(x);
    *exchange = NULL;
    atomic_fetch_sub(&http->counters.in_flight, 1);
}

void qd_intake_connection(void *ctx, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode what)
{
    qd_http *http = ctx;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        qd_peer *peer = calloc(1, sizeof *peer);
        *socket_context = peer;
        if (peer != NULL) {
            peer->http = http;
            peer->socket = info == NULL ? NULL : qd_reaper_add(http->reaper, info->connect_fd);
            qd_reaper_arm(http->reaper, peer->socket, http->config.header_seconds);
        }
        atomic_fetch_add(&http->counters.connections, 1);
    } else {
        qd_peer *peer = *socket_context;
        if (peer != NULL && peer->socket != NULL)
            qd_reaper_remove(http->reaper, peer->socket);
        free(peer);
        *socket_context = NULL;
        atomic_fetch_sub(&http->counters.connections, 1);
    }
}
