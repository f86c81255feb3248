/* metrics.c: GET /metrics: Prometheus text, by hand. No job id is a label. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "http/counters.h"
#include "http/handlers.h"

static void head(qd_str *out, const char *name, const char *type, const char *help)
{
    qd_str_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(qd_str *out, const char *name, const char *type, const char *help, double value)
{
    head(out, name, type, help);
    qd_str_addf(out, "%s %.17g\n", name, value);
}

static void add_jobs(qd_str *out, const qd_service_stats *stats)
{
    head(out, "quantd_jobs", "gauge", "Jobs by state.");
    for (size_t i = 0; qd_state_name(i) != NULL && i < QD_LENGTH(stats->jobs_by_state); i++)
        qd_str_addf(out, "quantd_jobs{state=\"%s\"} %zu\n", qd_state_name(i), stats->jobs_by_state[i]);
    head(out, "quantd_phase_seconds_total", "counter", "Seconds spent in each phase by all jobs.");
    for (size_t i = 0; qd_phase_name(i) != NULL && i < QD_LENGTH(stats->phase_seconds_total); i++)
        qd_str_addf(out, "quantd_phase_seconds_total{phase=\"%s\"} %.17g\n", qd_phase_name(i),
                    stats->phase_seconds_total[i]);
    one(out, "quantd_queue_depth", "gauge", "Jobs waiting for a worker.", (double)stats->queue_depth);
    one(out, "quantd_jobs_running", "gauge", "Jobs a worker has taken.", (double)stats->running);
    one(out, "quantd_workers_alive", "gauge", "Worker threads alive.", (double)stats->workers_alive);
    one(out, "quantd_layers_total", "counter", "Layers finished.", (double)stats->layers_total);
    one(out, "quantd_degraded_layers_total", "counter", "Layers finished by a fallback.",
        (double)stats->degraded_layers_total);
    one(out, "quantd_last_layer_relative_error", "gauge", "Relative error of the newest finished layer.",
        stats->last_relative_error);
    one(out, "quantd_last_run_over_forecast", "gauge",
        "Seconds that the newest finished run took over those that were forecast; 0 before the first.",
        stats->last_over_forecast);
    one(out, "quantd_resumes_total", "counter", "Runs continued from a checkpoint.", (double)stats->resumes_total);
    one(out, "quantd_commits_total", "counter", "Commits of the database writer.", (double)stats->commits_total);
    one(out, "quantd_downloaded_bytes_total", "counter", "Bytes of models downloaded.",
        (double)stats->downloaded_bytes_total);
    one(out, "quantd_cache_bytes", "gauge", "Size of the model cache when last collected.", (double)stats->cache_bytes);
    one(out, "quantd_artifacts_bytes", "gauge", "Size of all artifacts when last collected.",
        (double)stats->artifacts_bytes);
    one(out, "quantd_removed_bytes_total", "counter", "Bytes that collections have removed.",
        (double)stats->removed_bytes_total);
    one(out, "quantd_collections_total", "counter", "Collections so far.", (double)stats->collections_total);
    one(out, "quantd_free_disk_bytes", "gauge", "Free space where the state lies.", (double)stats->free_disk_bytes);
    one(out, "quantd_children_resident_bytes", "gauge", "Resident memory of running jobs.",
        (double)stats->children_rss_bytes);
}

typedef struct delivery_metric {
    const char *name, *type, *help;
    size_t offset; /* of a uint64_t in qd_delivery_tally */
} delivery_metric;

static void add_deliveries(qd_str *out, const qd_service_stats *stats)
{
    static const delivery_metric rows[] = {
        { "quantd_delivery_attempts_total", "counter", "Tries of webhooks and uploads.",
          offsetof(qd_delivery_tally, attempts) },
        { "quantd_deliveries_taken_total", "counter", "Webhooks and uploads that the other side has taken.",
          offsetof(qd_delivery_tally, delivered) },
        { "quantd_deliveries_failed_total", "counter", "Webhooks and uploads given up.",
          offsetof(qd_delivery_tally, failed) },
        { "quantd_deliveries_pending", "gauge", "Webhooks and uploads still to be taken.",
          offsetof(qd_delivery_tally, pending) },
    };
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        head(out, rows[i].name, rows[i].type, rows[i].help);
        for (size_t kind = 0; qd_delivery_kind_name(kind) != NULL; kind++) {
            uint64_t value;
            memcpy(&value, (const char *)&stats->deliveries[kind] + rows[i].offset, sizeof value);
            qd_str_addf(out, "%s{kind=\"%s\"} %" PRIu64 "\n", rows[i].name, qd_delivery_kind_name(kind), value);
        }
    }
    one(out, "quantd_uploaded_bytes_total", "counter", "Bytes of artifacts uploaded.",
        (double)stats->uploaded_bytes_total);
}

static void add_runs(qd_str *out, qd_service *service, const qd_service_stats *stats)
{
    qd_service_confinement c;
    qd_service_confinement_read(service, &c);
    head(out, "quantd_confinement", "gauge",
         "What confines runs: Landlock's ABI, and whether there are seccomp and a cgroup.");
    qd_str_addf(out, "quantd_confinement{part=\"landlock\"} %d\n", c.landlock_abi);
    qd_str_addf(out, "quantd_confinement{part=\"seccomp\"} %d\n", c.seccomp);
    qd_str_addf(out, "quantd_confinement{part=\"cgroup\"} %d\n", c.cgroup);
    head(out, "quantd_runs_died_total", "counter", "Runs that ended without a result, by why.");
    qd_str_addf(out, "quantd_runs_died_total{why=\"crash\"} %" PRIu64 "\n", stats->runs_crashed_total);
    qd_str_addf(out, "quantd_runs_died_total{why=\"silent\"} %" PRIu64 "\n", stats->runs_silent_total);
    qd_str_addf(out, "quantd_runs_died_total{why=\"out-of-memory\"} %" PRIu64 "\n", stats->runs_out_of_memory_total);
    one(out, "quantd_heartbeat_age_seconds", "gauge", "How long the quietest run has said nothing.",
        stats->heartbeat_age_seconds);
}

static void add_process(qd_str *out)
{
    uint64_t bytes = qd_resident_bytes();
    if (bytes > 0)
        one(out, "quantd_resident_bytes", "gauge", "Resident memory of the service itself.", (double)bytes);
}

static void label(char *out, size_t size, size_t index)
{
    const qd_route *route = qd_route_at(index);
    if (route == NULL)
        snprintf(out, size, "route=\"none\",method=\"any\"");
    else
        snprintf(out, size, "route=\"%s\",method=\"%s\"", route->pattern, qd_method_name(route->method));
}

static uint_fast64_t route_count(qd_route_counters *route)
{
    uint_fast64_t count = 0;
    for (size_t i = 0; i < QD_COUNTED_BUCKETS; i++)
        count += atomic_load(&route->bucket[i]);
    return count;
}

static void add_histogram(qd_str *out, qd_route_counters *route, const char *labels)
{
    static const char name[] = "quantd_http_request_seconds";
    uint_fast64_t sum = 0;
    for (size_t i = 0; i < QD_COUNTED_BUCKETS - 1; i++) {
        sum += atomic_load(&route->bucket[i]);
        qd_str_addf(out, "%s_bucket{%s,le=\"%g\"} %" PRIuFAST64 "\n", name, labels, qd_counters_bounds[i], sum);
    }
    sum += atomic_load(&route->bucket[QD_COUNTED_BUCKETS - 1]);
    qd_str_addf(out, "%s_bucket{%s,le=\"+Inf\"} %" PRIuFAST64 "\n", name, labels, sum);
    qd_str_addf(out, "%s_sum{%s} %.6f\n", name, labels, (double)atomic_load(&route->microseconds) * 1e-6);
    qd_str_addf(out, "%s_count{%s} %" PRIuFAST64 "\n", name, labels, sum);
}

static void add_http(qd_str *out, qd_counters *counters)
{
    char labels[160];
    head(out, "quantd_http_requests_total", "counter", "Replies by route and class of status.");
    for (size_t i = 0; i < QD_COUNTED_ROUTES; i++)
        for (size_t class = 1; class < QD_LENGTH(counters->routes[i].status); class ++) {
            uint_fast64_t count = atomic_load(&counters->routes[i].status[class]);
            label(labels, sizeof labels, i);
            if (count > 0)
                qd_str_addf(out, "quantd_http_requests_total{%s,status=\"%zuxx\"} %" PRIuFAST64 "\n", labels, class,
                            count);
        }
    head(out, "quantd_http_request_seconds", "histogram", "From the request's first line to its reply.");
    for (size_t i = 0; i < QD_COUNTED_ROUTES; i++) {
        label(labels, sizeof labels, i);
        if (route_count(&counters->routes[i]) > 0)
            add_histogram(out, &counters->routes[i], labels);
    }
    one(out, "quantd_http_refused_total", "counter", "Requests refused for their form.",
        (double)atomic_load(&counters->refused));
    head(out, "quantd_http_denied_total", "counter", "Requests denied for who sent them.");
    qd_str_addf(out, "quantd_http_denied_total{why=\"unauthorized\"} %" PRIuFAST64 "\n",
                atomic_load(&counters->unauthorized));
    qd_str_addf(out, "quantd_http_denied_total{why=\"forbidden\"} %" PRIuFAST64 "\n",
                atomic_load(&counters->forbidden));
    qd_str_addf(out, "quantd_http_denied_total{why=\"throttled\"} %" PRIuFAST64 "\n",
                atomic_load(&counters->throttled));
    one(out, "quantd_http_cut_total", "counter", "Connections cut for being slow.",
        (double)atomic_load(&counters->cut));
    one(out, "quantd_http_connections", "gauge", "Open connections.", (double)atomic_load(&counters->connections));
    one(out, "quantd_http_streams", "gauge", "Open event streams.", (double)atomic_load(&counters->streams));
    one(out, "quantd_http_downloads", "gauge", "Files being sent.", (double)atomic_load(&counters->downloads));
}

qd_code qd_get_metrics(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    qd_service_stats stats = { 0 };
    (void)request;
    qd_code code = qd_service_stats_read(app->service, &stats, err);
    if (code != QD_OK)
        return code;
    add_jobs(&text, &stats);
    add_runs(&text, app->service, &stats);
    add_deliveries(&text, &stats);
    add_process(&text);
    add_http(&text, app->counters);
    return qd_reply_text_take(reply, 200, "text/plain; version=0.0.4; charset=utf-8", &text, err);
}
