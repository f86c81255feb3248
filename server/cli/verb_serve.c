/* verb_serve.c: quantd serve: wires configuration, log, job service and HTTP server; serves; drains; exits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/fault.h"
#include "cli/attend.h"
#include "cli/verb.h"
#include "config/config.h"
#include "config/log.h"
#include "http/server.h"
#include "jobs/keys.h"

extern char **environ;

enum { HOST_SIZE = 256 };

static void write_log(void *ctx, const char *level, const char *event, const char *details)
{
    int found = qd_log_level_find(level);
    qd_log_line(ctx, found < 0 ? QD_LOG_INFO : (qd_log_level)found, event, details);
}

/* "127.0.0.1:8080", "[::1]:8080" -> host without brackets, port. */
static qd_code split_listen(const char *listen, char host[HOST_SIZE], uint16_t *out_port, qd_error *err)
{
    const char *colon = strrchr(listen, ':');
    char *end = NULL;
    unsigned long port = colon != NULL && colon[1] >= '0' && colon[1] <= '9' ? strtoul(colon + 1, &end, 10) : 0;
    if (end == NULL || *end != '\0' || port > UINT16_MAX)
        return qd_fail(err, QD_EINVAL, "listen: '%s' is not HOST:PORT with a port of 0..65535", listen);
    size_t length = (size_t)(colon - listen);
    if (length >= 2 && listen[0] == '[' && listen[length - 1] == ']') {
        listen++;
        length -= 2;
    }
    if (length == 0 || length >= HOST_SIZE)
        return qd_fail(err, QD_EINVAL, "listen: a host such as 127.0.0.1 is wanted before the port");
    memcpy(host, listen, length);
    host[length] = '\0';
    *out_port = (uint16_t)port;
    return QD_OK;
}

/* Where nobody has to show a key only this machine may come, unless the operator says otherwise. */
static qd_code check_exposure(const qd_config *config, const char *host, qd_service *service, qd_error *err)
{
    bool loopback = strncmp(host, "127.", 4) == 0 || strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0;
    bool asks = false;
    if (loopback || config->insecure)
        return QD_OK;
    qd_code code = qd_keyring_asks(qd_service_keyring(service), &asks, err);
    if (code != QD_OK || asks)
        return code;
    return qd_fail(err, QD_EINVAL,
                   "listen: '%s' is not a loopback address and clients show no keys: make one with `quantd key create` "
                   "(or set auth = keys), or add --insecure to serve anyone who can reach it",
                   host);
}

/* Event streams and downloads hold descriptors: take as many as the system gives. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static qd_service_config service_config(const qd_config *config, qd_service_log log)
{
    return (qd_service_config){
        .state_dir = config->state,
        .workers = config->workers,
        .threads = config->threads,
        .queue_limit = config->queue_limit,
        .launcher = (const char *const *)config->launcher,
        .calibration_text = config->calibration_text,
        .evaluation_text = config->evaluation_text,
        .evaluation_tasks = config->evaluation_tasks,
        .signing_key = config->signing_key,
        .disk_floor_bytes = config->disk_floor,
        .heartbeat_seconds = (double)config->heartbeat,
        .memory_bytes = config->memory,
        .job_runtime_seconds = (double)config->job_runtime,
        .retention = { .keep_jobs = (double)config->keep_jobs,
                       .keep_artifacts = (double)config->keep_artifacts,
                       .keep_failed = (double)config->keep_failed,
                       .keep_models = (double)config->keep_models,
                       .keep_audit = (double)config->keep_audit,
                       .cache_limit_bytes = config->cache_limit,
                       .artifacts_limit_bytes = config->artifacts_limit },
        .confine = qd_config_choice("confine", config->confine),
        .cgroup = config->cgroup,
        .access = { .auth = qd_config_choice("auth", config->auth),
                    .rate_per_minute = config->rate_limit,
                    .queue_quota = config->queue_quota,
                    .disk_quota_bytes = config->disk_quota },
        .webhook_tries = (unsigned)config->webhook_tries,
        .fetch = { .hub_url = config->hub_url,
                   .allow_net = (const char *const *)config->allow_net,
                   .file_roots = (const char *const *)config->file_root,
                   .allow_http = config->allow_http,
                   .s3 = { .endpoint = config->s3_endpoint,
                           .region = config->s3_region,
                           .credentials = config->s3_credentials,
                           .allow = (const char *const *)config->s3_allow },
                   .max_file_bytes = config->max_file,
                   .disk_floor_bytes = config->disk_floor },
        .log = log,
    };
}

/* A text that cannot be read is found now, not by the first job. */
static qd_code check_text(const char *name, const char *path, qd_error *err)
{
    return path == NULL || access(path, R_OK) == 0 ? QD_OK : qd_fail_errno(err, "%s: '%s'", name, path);
}

static void announce(const qd_http_config *http, uint16_t port)
{
    bool v6 = strchr(http->host, ':') != NULL;
    printf("listening on %s://%s%s%s:%u\n", http->tls_cert == NULL ? "http" : "https", v6 ? "[" : "", http->host,
           v6 ? "]" : "", (unsigned)port);
    fflush(stdout);
}

/* All of a running service. */
typedef struct serving {
    int argc;
    char **argv;
    qd_config config;
    qd_log log;
    qd_service_log sink;
    qd_notifier notifier;
    char host[HOST_SIZE];
    uint16_t port;
    qd_service *service;
    qd_http *http;
} serving;

static qd_http_config http_config(const serving *s)
{
    const qd_config *config = &s->config;
    return (qd_http_config){ .host = s->host,
                             .port = s->port,
                             .hosts = config->insecure ? QD_HOSTS_ANY : QD_HOSTS_OWN,
                             .host_names = (const char *const *)config->host,
                             .trusted_proxies = (const char *const *)config->trusted_proxy,
                             .tls_cert = config->tls_cert,
                             .tls_key = config->tls_key,
                             .service = s->service,
                             .log = s->sink,
                             .connections = (unsigned)config->connections,
                             .connections_per_address = (unsigned)config->connections_per_address,
                             .streams = (unsigned)config->event_streams,
                             .streams_per_address = (unsigned)config->event_streams_per_address,
                             .downloads = (unsigned)config->downloads };
}

/* What can be found wrong before anything is opened. */
static qd_code check(serving *s, qd_error *err)
{
    const qd_config *config = &s->config;
    qd_code code = split_listen(config->listen, s->host, &s->port, err);
    if (code == QD_OK)
        code = check_text("calibration-text", config->calibration_text, err);
    if (code == QD_OK)
        code = check_text("evaluation-text", config->evaluation_text, err);
    return code == QD_OK ? check_text("evaluation-tasks", config->evaluation_tasks, err) : code;
}

static void say_adopted(serving *s, const qd_str *applied, const qd_str *waiting)
{
    char details[1200];
    snprintf(details, sizeof details, "changed=%s", applied->length == 0 ? "nothing" : qd_str_borrow(applied));
    qd_log_line(&s->log, QD_LOG_INFO, "serve.reloaded", details);
    if (waiting->length == 0)
        return;
    snprintf(details, sizeof details, "reason=\"%s: changed, which needs a restart\"", qd_str_borrow(waiting));
    qd_log_line(&s->log, QD_LOG_WARN, "serve.restart-needed", details);
}

/* SIGHUP. A configuration with a mistake changes nothing. */
static void reload(void *ctx)
{
    serving *s = ctx;
    char details[sizeof((qd_error *)NULL)->text + 16];
    qd_error err = { 0 };
    QD_AUTO(qd_config_fini) qd_config fresh = { 0 };
    QD_AUTO(qd_str_fini) qd_str applied = { 0 }, waiting = { 0 };
    if (qd_config_read(s->argc, s->argv, (const char *const *)environ, &fresh, &err) != QD_OK) {
        snprintf(details, sizeof details, "reason=\"%s\"", err.text);
        qd_log_line(&s->log, QD_LOG_ERROR, "serve.not-reloaded", details);
        return;
    }
    qd_config_adopt(&s->config, &fresh, &applied, &waiting);
    qd_log_set(&s->log, s->config.log_level, s->config.log_format);
    const qd_service_config jobs = service_config(&s->config, s->sink);
    qd_service_reload(s->service, &jobs);
    say_adopted(s, &applied, &waiting);
    if (qd_http_reload_tls(s->http, &err) != QD_OK) {
        snprintf(details, sizeof details, "reason=\"%s\"", err.text);
        qd_log_line(&s->log, QD_LOG_ERROR, "serve.certificate-not-reloaded", details);
    }
}

static qd_code serve(serving *s, qd_error *err)
{
    s->sink = (qd_service_log){ .line = write_log, .ctx = &s->log };
    raise_descriptor_limit();
    qd_signals_install();
    const qd_service_config jobs = service_config(&s->config, s->sink);
    qd_code code = qd_service_create(&jobs, &s->service, err);
    if (code == QD_OK)
        code = check_exposure(&s->config, s->host, s->service, err);
    const qd_http_config http = http_config(s);
    if (code == QD_OK)
        code = QD_FAULT_CODE("serve.created", err);
    if (code == QD_OK)
        code = qd_http_start(&http, &s->http, err);
    if (code == QD_OK) {
        const qd_attendance attendance = { .service = s->service,
                                           .http = s->http,
                                           .log = &s->log,
                                           .notifier = &s->notifier,
                                           .drain_seconds = &s->config.drain,
                                           .reload = reload,
                                           .ctx = s };
        announce(&http, qd_http_port(s->http));
        qd_attend(&attendance);
    }
    qd_signals_last();
    qd_http_stop(s->http);
    qd_service_destroy(s->service);
    return code;
}

static bool wants(int argc, char **argv, const char *flag)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], flag) == 0)
            return true;
    return false;
}

static int print_help(void)
{
    printf("usage: quantd serve [OPTION]...\n\n%s\n\n", qd_verb_serve.summary);
    qd_config_print_help(stdout);
    printf("\nExit status: %s\n", qd_verb_exit_statuses);
    return QD_EXIT_OK;
}

static int run_raw(int argc, char **argv)
{
    qd_error err = { 0 };
    serving s = { .argc = argc, .argv = argv };
    if (wants(argc, argv, "--help"))
        return print_help();
    QD_FAULT_PROCESS("server");
    qd_code code = qd_config_read(argc, argv, (const char *const *)environ, &s.config, &err);
    if (code == QD_OK)
        code = check(&s, &err);
    if (code == QD_OK && wants(argc, argv, "--" QD_CONFIG_CHECK_FLAG))
        qd_config_print(&s.config, stdout);
    else if (code == QD_OK) {
        qd_notifier_init(&s.notifier);
        qd_log_init(&s.log, s.config.log_level, s.config.log_format);
        code = serve(&s, &err);
        qd_log_fini(&s.log);
    }
    qd_config_fini(&s.config);
    return code == QD_OK ? QD_EXIT_OK : qd_verb_fail(code, &err);
}

const qd_verb qd_verb_serve = {
    .name = "serve",
    .summary = "the service: HTTP, job store, workers; SIGTERM drains and stops it",
    .operands = "",
    .run_raw = run_raw,
};
