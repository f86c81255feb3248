/* query.c: reading jobs; see service.h. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "jobs/service_private.h"
#include "store/event_rows.h"
#include "store/job_rows.h"
#include "store/layer_rows.h"

enum { DEPTH_MAX = 32, LIMIT_MAX = 200, VERSION_SHIFT = 20 };

void qd_job_fini(qd_job *job)
{
    free(job->name);
    json_t *values[] = {
        job->tags, job->request, job->resolved, job->progress, job->result, job->problem, job->forecast
    };
    for (size_t i = 0; i < QD_LENGTH(values); i++)
        json_decref(values[i]);
    *job = (qd_job){ 0 };
}

/* Our own rows: what does not parse is a damaged database. */
static qd_code load(const char *text, json_t **out, qd_error *err)
{
    if (text != NULL)
        return qd_json_parse_object(text, strlen(text), DEPTH_MAX, out, err);
    *out = json_null();
    return QD_OK;
}

/* A running job's newest progress is in memory; each report makes another version. */
static void overlay_progress(qd_service *service, qd_job *job)
{
    uint64_t steps = 0;
    job->version <<= VERSION_SHIFT;
    if (job->finished_ms != 0)
        return; /* its worker may still be letting go of it: the version stays */
    json_t *live = qd_active_progress(service, job->id, job->attempt, &steps);
    job->version += steps;
    if (live == NULL)
        return;
    json_decref(job->progress);
    job->progress = live;
}

/* A NUL between the texts: none of them holds one. */
qd_code qd_query_edition(const qd_job_row *row, char out[QD_JOB_EDITION], qd_error *err)
{
    const char *const texts[] = { row->name == NULL ? "" : row->name, row->tags, row->recipe };
    char hex[QD_DIGEST_HEX];
    QD_AUTO(qd_digest_fini) qd_digest digest = { 0 };
    qd_code code = qd_digest_init(&digest, QD_SHA256, err);
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(texts); i++)
        code = qd_digest_add(&digest, texts[i], strlen(texts[i]) + 1, err);
    if (code == QD_OK) {
        qd_digest_hex(&digest, hex);
        memcpy(out, hex, QD_JOB_EDITION - 1);
        out[QD_JOB_EDITION - 1] = '\0';
    }
    return code;
}

/* What a PATCH changed while a run had the recipe as it was. */
static void overlay_labels(qd_job *job)
{
    json_object_set_new(job->resolved, "name", job->name == NULL ? json_null() : json_string(job->name));
    json_object_set(job->resolved, "tags", job->tags);
    json_object_set_new(job->resolved, "priority", json_integer(job->priority));
}

static qd_code make_job(qd_service *service, qd_job_row *row, qd_job *out, qd_error *err)
{
    qd_state_id state = QD_STATE_QUEUED;
    qd_job job = { .created_ms = row->created_ms,
                   .started_ms = row->started_ms,
                   .finished_ms = row->finished_ms,
                   .attempt = row->attempt,
                   .resumed = row->resumed,
                   .priority = row->priority,
                   .version = row->version,
                   .last_event = row->last_event };
    memcpy(job.id, row->id, sizeof job.id);
    qd_code code = qd_state_read(row->id, row->state, &state, err);
    if (code == QD_OK)
        code = qd_query_edition(row, job.edition, err);
    const struct {
        const char *text;
        json_t **value;
    } parts[] = { { row->tags, &job.tags },         { row->request, &job.request }, { row->resolved, &job.resolved },
                  { row->progress, &job.progress }, { row->result, &job.result },   { row->problem, &job.problem },
                  { row->forecast, &job.forecast } };
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(parts); i++)
        code = load(parts[i].text, parts[i].value, err);
    if (code != QD_OK) {
        qd_job_fini(&job);
        return code;
    }
    job.state = qd_state_at(state)->name;
    job.name = row->name;
    row->name = NULL;
    overlay_labels(&job);
    overlay_progress(service, &job);
    *out = job;
    return QD_OK;
}

typedef struct one {
    const char *id;
    qd_job_row row;
} one;

static qd_code read_one(void *ctx, qd_tx *tx, qd_error *err)
{
    one *o = ctx;
    return qd_job_row_read(tx, o->id, &o->row, err);
}

qd_code qd_query_job(qd_service *service, qd_tx *tx, const char *id, qd_job *out, qd_error *err)
{
    QD_AUTO(qd_job_row_fini) qd_job_row row = { 0 };
    qd_code code = qd_job_row_read(tx, id, &row, err);
    return code == QD_OK ? make_job(service, &row, out, err) : code;
}

qd_code qd_service_get(qd_service *service, const char *id, qd_job *out, qd_error *err)
{
    one o = { .id = id };
    qd_code code = qd_store_read(service->store, read_one, &o, err);
    if (code == QD_OK)
        code = make_job(service, &o.row, out, err);
    qd_job_row_fini(&o.row);
    return code;
}

typedef struct page {
    qd_service *service;
    qd_job_search search;
    qd_job *jobs;
    size_t count;
} page;

static qd_code take_job(void *ctx, qd_job_row *row, qd_error *err)
{
    page *p = ctx;
    qd_code code = make_job(p->service, row, &p->jobs[p->count], err);
    p->count += code == QD_OK;
    qd_job_row_fini(row);
    return code;
}

static qd_code read_page(void *ctx, qd_tx *tx, qd_error *err)
{
    page *p = ctx;
    return qd_job_row_search(tx, &p->search, take_job, p, err);
}

/* Words between commas, as a JSON array; each must be a state. */
static qd_code read_states(const char *text, json_t *states, qd_error *err)
{
    while (true) {
        char word[24];
        qd_state_id state;
        size_t length = strcspn(text, ",");
        snprintf(word, sizeof word, "%.*s", (int)qd_min_size(length, sizeof word - 1), text);
        if (!qd_state_find(word, &state))
            return qd_fail(err, QD_EINVAL, "state: '%s' is not in %s", word, qd_state_words());
        json_array_append_new(states, json_string(word));
        if (text[length] == '\0')
            return QD_OK;
        text += length + 1;
    }
}

static qd_code print_tags(const qd_job_filter *filter, char **out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *tags = json_array();
    if (filter->tag_count == 0)
        return QD_OK;
    for (size_t i = 0; i < filter->tag_count; i++)
        json_array_append_new(tags, json_pack("[s, s?]", filter->tags[i].key, filter->tags[i].value));
    *out = tags == NULL ? NULL : qd_json_print(tags);
    return *out == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}

static qd_code print_states(const qd_job_filter *filter, char **out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *states = json_array();
    if (filter->states == NULL)
        return QD_OK;
    qd_code code = read_states(filter->states, states, err);
    if (code != QD_OK)
        return code;
    *out = qd_json_print(states);
    return *out == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}

/* Texts are owned; they are what search points to. */
typedef struct asked {
    char *states, *tags;
} asked;

static void asked_fini(asked *a)
{
    free(a->states);
    free(a->tags);
}

static qd_code make_search(const qd_job_filter *filter, asked *a, qd_job_search *out, qd_error *err)
{
    if (filter->limit < 1 || filter->limit > LIMIT_MAX)
        return qd_fail(err, QD_EINVAL, "limit: %zu is not in 1..%d", filter->limit, (int)LIMIT_MAX);
    if (filter->cursor != NULL && !qd_ident_ok(filter->cursor))
        return qd_fail(err, QD_EINVAL, "cursor: '%.40s' is not the next_cursor of a page", filter->cursor);
    qd_code code = print_states(filter, &a->states, err);
    if (code == QD_OK)
        code = print_tags(filter, &a->tags, err);
    bool single = filter->states != NULL && strchr(filter->states, ',') == NULL;
    *out = (qd_job_search){ .state = single ? filter->states : NULL,
                            .states = a->states,
                            .tags = a->tags,
                            .name = filter->name,
                            .words = filter->words,
                            .created_from_ms = filter->created_from_ms,
                            .created_before_ms = filter->created_before_ms,
                            .before = filter->cursor,
                            .limit = filter->limit + 1 };
    return code;
}

qd_code qd_service_list(qd_service *service, const qd_job_filter *filter, qd_job **out, size_t *out_count,
                        bool *out_has_more, qd_error *err)
{
    QD_AUTO(asked_fini) asked a = { 0 };
    page p = { .service = service };
    qd_code code = make_search(filter, &a, &p.search, err);
    if (code == QD_OK)
        code = qd_alloc(filter->limit + 1, sizeof *p.jobs, (void **)&p.jobs, err);
    if (code == QD_OK)
        code = qd_store_read(service->store, read_page, &p, err);
    size_t kept = code == QD_OK ? qd_min_size(p.count, filter->limit) : 0;
    for (size_t i = kept; i < p.count; i++)
        qd_job_fini(&p.jobs[i]);
    if (code != QD_OK) {
        free(p.jobs);
        return code;
    }
    *out = p.jobs;
    *out_count = kept;
    *out_has_more = p.count > kept;
    return QD_OK;
}

typedef struct listing {
    const char *id;
    uint64_t after;
    size_t limit;
    json_t *items;
} listing;

static qd_code job_exists(qd_tx *tx, const char *id, qd_error *err)
{
    QD_AUTO(qd_job_row_fini) qd_job_row row = { 0 };
    return qd_job_row_read(tx, id, &row, err);
}

static qd_code add_layer(void *ctx, const char *record, qd_error *err)
{
    listing *l = ctx;
    json_t *item = NULL;
    qd_code code = load(record, &item, err);
    if (code == QD_OK)
        json_array_append_new(l->items, item);
    return code;
}

static qd_code read_layers(void *ctx, qd_tx *tx, qd_error *err)
{
    listing *l = ctx;
    qd_code code = job_exists(tx, l->id, err);
    return code == QD_OK ? qd_layer_row_each(tx, l->id, add_layer, l, err) : code;
}

static qd_code add_event(void *ctx, const qd_event_row *row, qd_error *err)
{
    listing *l = ctx;
    char time[QD_TIME_TEXT];
    json_t *data = NULL;
    qd_code code = load(row->data, &data, err);
    qd_clock_format(row->time_ms, time);
    if (code == QD_OK)
        json_array_append_new(l->items, json_pack("{s:I, s:s, s:s, s:o}", "id", (json_int_t)row->id, "time", time,
                                                  "type", row->type, "data", data));
    return code;
}

static qd_code read_events(void *ctx, qd_tx *tx, qd_error *err)
{
    listing *l = ctx;
    qd_code code = job_exists(tx, l->id, err);
    return code == QD_OK ? qd_event_row_each(tx, l->id, l->after, l->limit, add_event, l, err) : code;
}

static qd_code read_listing(qd_service *service, qd_change view, listing *l, json_t **out, qd_error *err)
{
    l->items = json_array();
    qd_code code =
        l->items == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_store_read(service->store, view, l, err);
    if (code == QD_OK)
        *out = l->items;
    else
        json_decref(l->items);
    return code;
}

qd_code qd_service_layers(qd_service *service, const char *id, json_t **out, qd_error *err)
{
    listing l = { .id = id };
    return read_listing(service, read_layers, &l, out, err);
}

qd_code qd_service_events(qd_service *service, const char *id, uint64_t after, size_t limit, json_t **out,
                          qd_error *err)
{
    listing l = { .id = id, .after = after, .limit = limit };
    return read_listing(service, read_events, &l, out, err);
}
