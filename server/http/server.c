/* server.c: see server.h. */
#include "http/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hmac.h"
#include "base/mem.h"
#include "http/documents.h"
#include "http/exchange.h"

/* Two threads serve all connections: cores belong to the jobs (server.md §1.1). */
enum { POOL_THREADS = 2, AWAY_THREADS = 8, CONNECTION_MEMORY = 16 << 10, LOG_LENGTH = 1200 };
enum { SESSIONS = 1000, SESSIONS_EACH = 20, WRONG_KEYS_PER_MINUTE = 20 };
static const double drain_seconds = 5;
static const char tls_versions[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

void qd_http_log(const qd_http *http, const char *level, const char *event, const char *format, ...)
{
    char details[LOG_LENGTH];
    va_list args;
    if (http->config.log.line == NULL)
        return;
    va_start(args, format);
    vsnprintf(details, sizeof details, format, args);
    va_end(args);
    http->config.log.line(http->config.log.ctx, level, event, details);
}

static void set_defaults(qd_http_config *config)
{
    config->connections = config->connections == 0 ? 8000 : config->connections;
    config->streams = config->streams == 0 ? 2000 : config->streams;
    config->downloads = config->downloads == 0 ? 64 : config->downloads;
    config->header_seconds = config->header_seconds <= 0 ? 10 : config->header_seconds;
    config->body_seconds = config->body_seconds <= 0 ? 15 : config->body_seconds;
    config->send_seconds = config->send_seconds <= 0 ? 20 : config->send_seconds;
    config->idle_seconds = config->idle_seconds <= 0 ? 30 : config->idle_seconds;
    config->heartbeat_seconds = config->heartbeat_seconds <= 0 ? 15 : config->heartbeat_seconds;
}

typedef union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} address;

static qd_code read_address(const char *host, uint16_t port, address *out, qd_error *err)
{
    memset(out, 0, sizeof *out);
    const char *text = host == NULL || strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    if (inet_pton(AF_INET, text, &out->v4.sin_addr) == 1) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(port);
    } else if (inet_pton(AF_INET6, text, &out->v6.sin6_addr) == 1) {
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons(port);
    } else
        return qd_fail(err, QD_EINVAL, "listen: '%s' is neither an address nor \"localhost\"", text);
    return QD_OK;
}

__attribute__((format(printf, 2, 0))) static void log_library(void *ctx, const char *format, va_list args)
{
    char text[LOG_LENGTH];
    vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\r\n")] = '\0';
    qd_http_log(ctx, "debug", "http.library", "detail=\"%s\"", text);
}

/* The library leaves the connection with the session, and we leave ourselves with the connection. */
static int present_certificate(gnutls_session_t session, const struct gnutls_cert_retr_st *info,
                               gnutls_pcert_st **chain, unsigned *count, gnutls_ocsp_data_st **ocsp,
                               unsigned *ocsp_count, gnutls_privkey_t *key, unsigned *flags)
{
    (void)info;
    const union MHD_ConnectionInfo *found =
        MHD_get_connection_info(gnutls_session_get_ptr(session), MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    const qd_peer *peer = found == NULL ? NULL : found->socket_context;
    if (peer == NULL)
        return -1;
    qd_tls_material *material = qd_tls_current(peer->http->tls);
    *chain = material->chain;
    *count = material->count;
    *key = material->key;
    *ocsp = NULL;
    *ocsp_count = 0;
    *flags = 0; /* they stay ours */
    return 0;
}

static qd_code start_daemon(qd_http *http, qd_error *err)
{
    address where;
    qd_code code = read_address(http->config.host, http->config.port, &where, err);
    if (code != QD_OK)
        return code;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | MHD_USE_ERROR_LOG;
    flags |= where.any.sa_family == AF_INET6 ? MHD_USE_IPv6 : 0;
    flags |= http->tls != NULL ? MHD_USE_TLS : 0;
    struct MHD_OptionItem tls[] = {
        { MHD_OPTION_HTTPS_CERT_CALLBACK2, 0, (void *)(uintptr_t)present_certificate },
        { MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)tls_versions },
        { MHD_OPTION_END, 0, NULL },
    };
    errno = 0;
    http->daemon = MHD_start_daemon(
        flags, http->config.port, NULL, NULL, qd_intake_request, http, MHD_OPTION_EXTERNAL_LOGGER, log_library, http,
        MHD_OPTION_SOCK_ADDR, &where.any, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)POOL_THREADS,
        MHD_OPTION_CONNECTION_LIMIT, http->config.connections, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        http->config.connections_per_address, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(http->config.idle_seconds + 0.999), MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_URI_LOG_CALLBACK, qd_intake_target, http, MHD_OPTION_NOTIFY_COMPLETED, qd_intake_completed, http,
        MHD_OPTION_NOTIFY_CONNECTION, qd_intake_connection, http, MHD_OPTION_ARRAY, http->tls != NULL ? tls : &tls[2],
        MHD_OPTION_END);
    if (http->daemon == NULL)
        return qd_fail(err, QD_EIO, "listen on %s:%u: %s", http->config.host == NULL ? "127.0.0.1" : http->config.host,
                       (unsigned)http->config.port, errno == 0 ? "the library refused" : strerror(errno));
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_BIND_PORT);
    http->port = info == NULL ? http->config.port : info->port;
    return QD_OK;
}

static qd_code make_prefix(qd_http *http, qd_error *err)
{
    unsigned char random[QD_REQUEST_PREFIX / 2];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return qd_fail_errno(err, "getrandom");
    qd_hex_encode(random, sizeof random, http->request_prefix);
    return QD_OK;
}

static qd_code start_access(qd_http *http, qd_error *err)
{
    const qd_http_config *config = &http->config;
    qd_code code = qd_proxies_init(&http->proxies, config->trusted_proxies, err);
    if (code == QD_OK && (config->tls_cert != NULL || config->tls_key != NULL))
        code = qd_tls_create(config->tls_cert, config->tls_key, config->log, &http->tls, err);
    if (code == QD_OK)
        code = qd_sessions_create(SESSIONS, SESSIONS_EACH, QD_SESSION_SECONDS, &http->sessions, err);
    return code == QD_OK ? qd_guard_create(WRONG_KEYS_PER_MINUTE, &http->guard, err) : code;
}

static qd_code start_parts(qd_http *http, qd_error *err)
{
    const qd_streams_config streams = {
        .service = http->config.service,
        .counters = &http->counters,
        .limit = http->config.streams,
        .limit_per_address = http->config.streams_per_address,
        .heartbeat_seconds = http->config.heartbeat_seconds,
    };
    qd_code code = make_prefix(http, err);
    if (code == QD_OK)
        code = start_access(http, err);
    if (code == QD_OK)
        code = qd_documents_create(&http->documents, err);
    if (code == QD_OK)
        code = qd_reaper_create(&http->counters.cut, &http->reaper, err);
    if (code == QD_OK)
        code = qd_away_create(AWAY_THREADS, &http->away, err);
    if (code == QD_OK)
        code = qd_streams_create(&streams, &http->streams, err);
    http->app = (qd_app){ .service = http->config.service,
                          .documents = http->documents,
                          .counters = &http->counters,
                          .sessions = http->sessions,
                          .guard = http->guard,
                          .scheme = http->tls == NULL ? QD_SCHEME_ANY : QD_SCHEME_HTTPS };
    return code == QD_OK ? start_daemon(http, err) : code;
}

qd_code qd_http_start(const qd_http_config *config, qd_http **out, qd_error *err)
{
    qd_http *http = NULL;
    qd_code code = qd_alloc(1, sizeof *http, (void **)&http, err);
    if (code != QD_OK)
        return code;
    http->config = *config;
    set_defaults(&http->config);
    code = start_parts(http, err);
    if (code != QD_OK) {
        qd_http_stop(http);
        return qd_within(err, code, "http");
    }
    *out = http;
    return QD_OK;
}

uint16_t qd_http_port(const qd_http *http)
{
    return http->port;
}

qd_code qd_http_reload_tls(qd_http *http, qd_error *err)
{
    return http->tls == NULL ? QD_OK : qd_tls_reload(http->tls, err);
}

/* Our own count: idle connections would hold the library's up for half a minute. */
static void drain(qd_http *http)
{
    const struct timespec pause = { .tv_nsec = 5000000 };
    double end = qd_clock_seconds() + drain_seconds;
    while (atomic_load(&http->counters.in_flight) > 0 && qd_clock_seconds() < end)
        nanosleep(&pause, NULL);
}

void qd_http_drain(qd_http *http)
{
    qd_streams_close(http->streams);
}

/* The order of server.md §1.6. No connection may sleep when the daemon stops: streams are closed and the pool is
 * empty by then. */
void qd_http_stop(qd_http *http)
{
    if (http == NULL)
        return;
    atomic_store(&http->closing, true);
    /* From now on nobody is let in; the socket stays until the daemon's threads have let go of it, which they do in
     * their own time and abort the process when it is gone. */
    QD_AUTO(qd_close_fd) int listening = http->daemon == NULL ? -1 : MHD_quiesce_daemon(http->daemon);
    if (listening >= 0)
        shutdown(listening, SHUT_RDWR);
    if (http->streams != NULL)
        qd_streams_close(http->streams);
    if (http->daemon != NULL)
        drain(http);
    qd_away_destroy(http->away);
    if (http->daemon != NULL)
        MHD_stop_daemon(http->daemon);
    qd_streams_destroy(http->streams);
    qd_reaper_destroy(http->reaper);
    qd_documents_destroy(http->documents);
    qd_sessions_destroy(http->sessions);
    qd_guard_destroy(http->guard);
    qd_proxies_fini(&http->proxies);
    qd_tls_destroy(http->tls);
    free(http);
}
