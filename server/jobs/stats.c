/* stats.c: numbers for /metrics and /readyz; see service.h. */
#include <math.h>

#include "base/clock.h"
#include "jobs/service_private.h"
#include "jobs/supervise.h"
#include "store/delivery_rows.h"
#include "store/job_rows.h"

static void count(void *ctx, const char *state, size_t jobs)
{
    qd_service_stats *stats = ctx;
    qd_state_id id;
    if (qd_state_find(state, &id))
        stats->jobs_by_state[id] = jobs;
}

static qd_code read_counts(void *ctx, qd_tx *tx, qd_error *err)
{
    qd_service_stats *stats = ctx;
    qd_code code = qd_job_row_count(tx, count, stats, err);
    for (size_t i = 0; code == QD_OK && qd_delivery_kind_name(i) != NULL; i++)
        code = qd_delivery_row_count_pending(tx, qd_delivery_kind_name(i), &stats->deliveries[i].pending, err);
    return code;
}

static void read_memory(qd_service *service, qd_service_stats *out)
{
    const qd_tally *tally = &service->tally;
    pthread_mutex_lock(&service->mutex);
    out->cache_bytes = service->cache_bytes;
    out->artifacts_bytes = service->artifacts_bytes;
    out->removed_bytes_total = tally->removed_bytes;
    out->collections_total = tally->collections;
    out->workers_alive = service->workers_alive;
    out->downloaded_bytes_total = tally->downloaded_bytes;
    out->layers_total = tally->layers;
    out->degraded_layers_total = tally->degraded_layers;
    out->resumes_total = tally->resumes;
    out->last_relative_error = tally->last_relative_error;
    out->last_over_forecast = tally->last_over_forecast;
    out->runs_crashed_total = tally->runs_crashed;
    out->runs_silent_total = tally->runs_silent;
    out->runs_out_of_memory_total = tally->runs_out_of_memory;
    for (size_t i = 0; i < QD_LENGTH(out->phase_seconds_total); i++)
        out->phase_seconds_total[i] = tally->phase_seconds[i];
    out->uploaded_bytes_total = tally->uploaded_bytes;
    for (size_t i = 0; i < QD_LENGTH(out->deliveries); i++) {
        out->deliveries[i].attempts = tally->deliveries[i].attempts;
        out->deliveries[i].delivered = tally->deliveries[i].delivered;
        out->deliveries[i].failed = tally->deliveries[i].failed;
    }
    for (const qd_active *a = service->active; a != NULL; a = a->next) {
        out->children_rss_bytes += a->rss;
        if (a->heard > 0)
            out->heartbeat_age_seconds = fmax(out->heartbeat_age_seconds, qd_clock_seconds() - a->heard);
        out->running++;
    }
    pthread_mutex_unlock(&service->mutex);
}

qd_code qd_service_stats_read(qd_service *service, qd_service_stats *out, qd_error *err)
{
    qd_service_stats stats = { .free_disk_bytes = qd_free_bytes(service),
                               .commits_total = qd_store_commits(service->store) };
    qd_code code = qd_store_read(service->store, read_counts, &stats, err);
    if (code != QD_OK)
        return code;
    stats.queue_depth = stats.jobs_by_state[QD_STATE_QUEUED];
    read_memory(service, &stats);
    *out = stats;
    return QD_OK;
}

qd_code qd_service_ready(qd_service *service, qd_error *err)
{
    uint64_t free_bytes = qd_free_bytes(service), floor_bytes = service->settings.config.disk_floor_bytes;
    qd_code code = qd_store_health(service->store, err);
    if (code != QD_OK)
        return qd_within(err, code, "the database cannot be written");
    if (free_bytes < floor_bytes)
        return qd_fail(err, QD_ENOSPC, "%llu bytes are free on the disk, the floor is %llu",
                       (unsigned long long)free_bytes, (unsigned long long)floor_bytes);
    pthread_mutex_lock(&service->mutex);
    size_t alive = service->workers_alive;
    bool draining = service->draining;
    pthread_mutex_unlock(&service->mutex);
    if (draining)
        return qd_fail(err, QD_EBUSY, "the service is stopping");
    return alive == 0 ? qd_fail(err, QD_EBUSY, "no worker is alive") : QD_OK;
}
