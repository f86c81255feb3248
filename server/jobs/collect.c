/* collect.c: one collection; see collect.h and service.h. */
#include "jobs/collect.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "jobs/leftovers.h"
#include "jobs/once.h"
#include "jobs/paths.h"
#include "jobs/run_limits.h"
#include "store/retention_rows.h"

enum { ROWS_AT_ONCE = 1000, RESOLVED_DEPTH = 32, ITEMS_MAX = 10000 };
/* What a database that cannot write needs at least. */
static const uint64_t database_room = 64 << 20;

typedef struct finished {
    char id[QD_ID_SIZE];
    int64_t finished_ms;
    uint64_t bytes;
} finished;

typedef struct collection {
    qd_service *service;
    qd_collect_mode mode;
    qd_retention rules;
    int64_t now_ms;
    uint64_t removed_bytes;
    size_t rows;
    json_t *items;
    /* of the view that is running */
    finished *list;
    size_t count, capacity, limit;
    char **kept; /* snapshots of unfinished jobs */
    size_t kept_count, kept_capacity;
} collection;

static void collection_fini(collection *c)
{
    json_decref(c->items);
    free(c->list);
    qd_names_free(c->kept, c->kept_count);
}

static void note_removed(void *ctx, const char *kind, const char *name, uint64_t bytes)
{
    collection *c = ctx;
    c->removed_bytes += bytes;
    if (json_array_size(c->items) < ITEMS_MAX)
        json_array_append_new(c->items,
                              json_pack("{s:s, s:s, s:I}", "kind", kind, "name", name, "bytes", (json_int_t)bytes));
    if (c->mode == QD_COLLECT_REMOVE)
        qd_service_say(c->service, "info", "collect.removed", "kind=%s name=%s bytes=%llu", kind, name,
                       (unsigned long long)bytes);
}

static qd_code add_finished(void *ctx, const qd_finished_row *row, qd_error *err)
{
    collection *c = ctx;
    qd_code code = qd_grow((void **)&c->list, &c->capacity, c->count + 1, sizeof *c->list, err);
    if (code != QD_OK)
        return code;
    finished *f = &c->list[c->count++];
    *f = (finished){ .finished_ms = row->finished_ms, .bytes = row->artifact_bytes };
    snprintf(f->id, sizeof f->id, "%s", row->id);
    return QD_OK;
}

static int64_t before(const collection *c, double keep_seconds)
{
    return c->now_ms - (int64_t)(keep_seconds * 1000);
}

static qd_code list_old_jobs(void *ctx, qd_tx *tx, qd_error *err)
{
    collection *c = ctx;
    c->count = 0;
    return qd_retention_each_finished(tx, before(c, c->rules.keep_jobs), ROWS_AT_ONCE, add_finished, c, err);
}

static void remove_job(collection *c, const finished *job)
{
    qd_error err = { 0 };
    const qd_caller own = qd_caller_own();
    QD_AUTO(qd_job_paths_fini) qd_job_paths paths = { 0 };
    qd_code code = qd_job_paths_init(c->service->settings.state_dir, job->id, &paths, &err);
    uint64_t bytes = code == QD_OK ? job->bytes + qd_dir_bytes(paths.dir) + qd_dir_bytes(paths.quarantine) : 0;
    if (code == QD_OK && c->mode == QD_COLLECT_REMOVE)
        code = qd_service_delete(c->service, &own, job->id, &err);
    if (code == QD_OK)
        note_removed(c, "job", job->id, bytes);
    else if (code != QD_ECONFLICT && code != QD_ENOTFOUND) /* retried, or deleted, meanwhile */
        qd_service_say(c->service, "warn", "collect.not-removed", "job=%s reason=\"%s\"", job->id, err.text);
}

static qd_code collect_jobs(collection *c, qd_error *err)
{
    qd_code code = QD_OK;
    if (c->rules.keep_jobs <= 0)
        return QD_OK;
    do {
        code = qd_store_read(c->service->store, list_old_jobs, c, err);
        for (size_t i = 0; code == QD_OK && i < c->count && !qd_service_stopping(c->service); i++)
            remove_job(c, &c->list[i]);
    } while (code == QD_OK && c->count == ROWS_AT_ONCE && c->mode == QD_COLLECT_REMOVE &&
             !qd_service_stopping(c->service));
    return code;
}

static qd_code list_artifacts(void *ctx, qd_tx *tx, qd_error *err)
{
    collection *c = ctx;
    c->count = 0;
    return qd_retention_each_artifact(tx, add_finished, c, err);
}

static qd_code forget_artifact(void *ctx, qd_tx *tx, qd_error *err)
{
    return qd_retention_forget_artifact(tx, ctx, err);
}

/* The rows first: from then on it is gone for clients; what a crash leaves of the files is a leftover. */
static qd_code remove_artifact(collection *c, finished *job, qd_error *err)
{
    QD_AUTO(qd_job_paths_fini) qd_job_paths paths = { 0 };
    qd_code code = qd_job_paths_init(c->service->settings.state_dir, job->id, &paths, err);
    if (code == QD_OK && c->mode == QD_COLLECT_REMOVE)
        code = qd_store_write(c->service->store, forget_artifact, job->id, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("collect.forgotten", err);
    if (code == QD_OK && c->mode == QD_COLLECT_REMOVE)
        code = qd_dir_remove(paths.artifact, err);
    if (code == QD_OK)
        note_removed(c, "artifact", job->id, job->bytes);
    return code;
}

static qd_code collect_artifacts(collection *c, qd_error *err)
{
    const qd_retention *rules = &c->rules;
    uint64_t total = 0;
    if (rules->keep_artifacts <= 0 && rules->artifacts_limit_bytes == 0)
        return QD_OK;
    qd_code code = qd_store_read(c->service->store, list_artifacts, c, err);
    for (size_t i = 0; code == QD_OK && i < c->count; i++)
        total += c->list[i].bytes;
    for (size_t i = 0; code == QD_OK && i < c->count; i++) {
        finished *job = &c->list[i];
        bool old = rules->keep_artifacts > 0 && job->finished_ms < before(c, rules->keep_artifacts);
        bool much = rules->artifacts_limit_bytes > 0 && total > rules->artifacts_limit_bytes;
        if (!old && !much)
            continue;
        code = remove_artifact(c, job, err);
        total -= job->bytes;
    }
    return code;
}

/* 0 = audit rows stay. */
static int64_t oldest_audit(const collection *c)
{
    return c->rules.keep_audit > 0 ? before(c, c->rules.keep_audit) : 0;
}

static qd_code count_rows(void *ctx, qd_tx *tx, qd_error *err)
{
    collection *c = ctx;
    size_t audit = 0, answers = 0;
    qd_code code = qd_retention_count_old(tx, oldest_audit(c), before(c, QD_ONCE_SECONDS), &audit, &answers, err);
    c->count = audit + answers;
    return code;
}

static qd_code forget_rows(void *ctx, qd_tx *tx, qd_error *err)
{
    collection *c = ctx;
    size_t audit = 0, answers = 0;
    qd_code code = qd_retention_forget_audit(tx, oldest_audit(c), ROWS_AT_ONCE, &audit, err);
    if (code == QD_OK)
        code = qd_retention_forget_idempotency(tx, before(c, QD_ONCE_SECONDS), ROWS_AT_ONCE, &answers, err);
    c->count = audit + answers;
    return code;
}

/* A thousand at a time: the writer has others to serve. Where there is nothing to remove, nothing is written. */
static qd_code collect_rows(collection *c, qd_error *err)
{
    qd_code code = qd_store_read(c->service->store, count_rows, c, err);
    if (c->mode == QD_COLLECT_LIST)
        c->rows += c->count;
    if (code != QD_OK || c->count == 0 || c->mode == QD_COLLECT_LIST)
        return code;
    do {
        code = qd_store_write(c->service->store, forget_rows, c, err);
        c->rows += code == QD_OK ? c->count : 0;
    } while (code == QD_OK && c->count >= ROWS_AT_ONCE && !qd_service_stopping(c->service));
    return code;
}

/* The snapshot of an unfinished job; one that knows its files not yet has no snapshot. */
static qd_code keep_snapshot(void *ctx, const char *resolved, qd_error *err)
{
    collection *c = ctx;
    QD_AUTO(qd_json_fini) json_t *document = NULL;
    char id[QD_DIGEST_HEX];
    if (resolved == NULL ||
        qd_json_parse_object(resolved, strlen(resolved), RESOLVED_DEPTH, &document, NULL) != QD_OK ||
        qd_fetch_snapshot_id(json_object_get(json_object_get(document, "model"), "files"), id, NULL) != QD_OK)
        return QD_OK;
    qd_code code = qd_grow((void **)&c->kept, &c->kept_capacity, c->kept_count + 1, sizeof *c->kept, err);
    if (code == QD_OK)
        code = qd_dup(id, &c->kept[c->kept_count], err);
    c->kept_count += code == QD_OK;
    return code;
}

static qd_code list_kept(void *ctx, qd_tx *tx, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < QD_STATE_COUNT; i++)
        if (qd_state_at(i)->kind != QD_STATE_FINAL)
            code = qd_retention_each_resolved(tx, qd_state_at(i)->name, keep_snapshot, ctx, err);
    return code;
}

/* Below twice the floor, back to it; a database that is short of room gets some. */
static uint64_t bytes_wanted(qd_service *service)
{
    uint64_t floor_bytes = service->settings.config.disk_floor_bytes, twice = 2 * floor_bytes;
    pthread_mutex_lock(&service->mutex);
    uint64_t free_bytes = service->free_bytes;
    pthread_mutex_unlock(&service->mutex);
    uint64_t wanted = twice > floor_bytes && free_bytes < twice ? twice - free_bytes : 0;
    return qd_store_health(service->store, NULL) == QD_ENOSPC ? wanted + database_room : wanted;
}

static qd_code collect_cache(collection *c, uint64_t *out_bytes, qd_error *err)
{
    qd_code code = qd_store_read(c->service->store, list_kept, c, err);
    if (code != QD_OK)
        return code;
    qd_names_sort(c->kept, c->kept_count);
    const qd_cache_rules rules = { .keep_seconds = c->rules.keep_models,
                                   .limit_bytes = c->rules.cache_limit_bytes,
                                   .wanted_bytes = bytes_wanted(c->service),
                                   .kept = c->kept,
                                   .kept_count = c->kept_count,
                                   .mode = c->mode,
                                   .removed = note_removed,
                                   .ctx = c };
    return qd_fetch_collect(c->service->fetcher, &rules, out_bytes, err);
}

static qd_code read_artifact_bytes(void *ctx, qd_tx *tx, qd_error *err)
{
    return qd_retention_artifact_bytes(tx, ctx, err);
}

/* Files first: where the disk is full, rows cannot be removed, and models are what frees most. */
static qd_code collect(collection *c, qd_collected *out, qd_error *err)
{
    qd_error later = { 0 };
    qd_code code = QD_FAULT_CODE("collect.begin", err);
    if (code == QD_OK)
        code = collect_cache(c, &out->cache_bytes, err);
    const qd_leftovers leftovers = {
        .service = c->service, .mode = c->mode, .keep_failed = c->rules.keep_failed, .removed = note_removed, .ctx = c
    };
    qd_leftovers_remove(&leftovers);
    qd_code (*const steps[])(collection *, qd_error *) = { collect_artifacts, collect_jobs, collect_rows };
    for (size_t i = 0; i < QD_LENGTH(steps); i++) {
        qd_code one = steps[i](c, &later);
        if (one != QD_OK && code == QD_OK) { /* the others are tried all the same */
            code = one;
            *err = later;
        }
    }
    return code == QD_OK ? qd_store_read(c->service->store, read_artifact_bytes, &out->artifacts_bytes, err) : code;
}

void qd_collected_fini(qd_collected *collected)
{
    json_decref(collected->items);
    *collected = (qd_collected){ 0 };
}

static bool begin(qd_service *service)
{
    pthread_mutex_lock(&service->mutex);
    bool begun = !service->collecting;
    service->collecting = true;
    pthread_mutex_unlock(&service->mutex);
    return begun;
}

static void end(qd_service *service, const collection *c, const qd_collected *out, qd_code code)
{
    pthread_mutex_lock(&service->mutex);
    service->collecting = false;
    if (c->mode == QD_COLLECT_REMOVE) {
        service->tally.removed_bytes += c->removed_bytes;
        service->tally.collections++;
    }
    if (code == QD_OK && c->mode == QD_COLLECT_REMOVE) {
        service->cache_bytes = out->cache_bytes;
        service->artifacts_bytes = out->artifacts_bytes;
    }
    pthread_mutex_unlock(&service->mutex);
}

qd_code qd_service_collect(qd_service *service, qd_collect_mode mode, qd_collected *out, qd_error *err)
{
    QD_AUTO(collection_fini)
    collection c = { .service = service, .mode = mode, .now_ms = qd_clock_wall_ms(), .items = json_array() };
    qd_collected collected = { 0 };
    if (c.items == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    if (!begin(service))
        return qd_fail(err, QD_EBUSY, "a collection is under way");
    c.rules = qd_service_now(service).retention;
    qd_code code = collect(&c, &collected, err);
    end(service, &c, &collected, code);
    if (code != QD_OK)
        return code;
    collected.removed_bytes = c.removed_bytes;
    collected.rows = c.rows;
    collected.items = json_incref(c.items);
    *out = collected;
    return QD_OK;
}
