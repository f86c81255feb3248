/* delivery_log.c: a job's deliveries as clients see them, and sending one again; see service.h. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "jobs/audit.h"
#include "jobs/courier.h"
#include "jobs/delivery.h"
#include "jobs/record.h"
#include "jobs/service_private.h"

typedef struct listing {
    const char *job, *id; /* id NULL: all of them */
    json_t *items;
    qd_delivery_row *rows;
    size_t count, capacity;
} listing;

static void listing_fini(listing *l)
{
    for (size_t i = 0; i < l->count; i++)
        qd_delivery_row_fini(&l->rows[i]);
    free(l->rows);
    json_decref(l->items);
}

static qd_code take_row(void *ctx, qd_delivery_row *row, qd_error *err)
{
    listing *l = ctx;
    qd_code code = qd_grow((void **)&l->rows, &l->capacity, l->count + 1, sizeof *l->rows, err);
    if (code == QD_OK)
        l->rows[l->count++] = *row;
    else
        qd_delivery_row_fini(row);
    return code;
}

static qd_code add_attempt(void *ctx, unsigned number, const qd_delivery_try *attempt, qd_error *err)
{
    json_t *item = json_pack("{s:i, s:o, s:f, s:s}", "number", (int)number, "status",
                             attempt->status == 0 ? json_null() : json_integer(attempt->status), "seconds",
                             attempt->seconds, "detail", attempt->detail);
    if (item == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    qd_delivery_set_time(item, "time", attempt->time_ms);
    json_array_append_new(ctx, item);
    return QD_OK;
}

typedef struct sum {
    size_t files, files_done;
    uint64_t bytes, bytes_done;
} sum;

static qd_code add_file(void *ctx, const qd_delivery_file *file, qd_error *err)
{
    sum *s = ctx;
    (void)err;
    s->files++;
    s->bytes += file->size;
    if (file->finished_ms != 0) {
        s->files_done++;
        s->bytes_done += file->size;
    }
    return QD_OK;
}

/* The URL without what may be a secret. */
static json_t *print_url(const char *url)
{
    return json_stringn(url, strcspn(url, "?#"));
}

static qd_code print_row(qd_tx *tx, const qd_delivery_row *row, json_t *items, qd_error *err)
{
    json_t *item = json_object(), *attempts = json_array();
    bool pending = strcmp(row->state, qd_delivery_pending) == 0;
    json_array_append_new(items, item);
    json_object_set_new(item, "id", json_string(row->id));
    json_object_set_new(item, "kind", json_string(row->kind));
    json_object_set_new(item, "url", print_url(row->url));
    json_object_set_new(item, "state", json_string(row->state));
    qd_delivery_set_time(item, "created_at", row->created_ms);
    qd_delivery_set_time(item, "finished_at", row->finished_ms);
    qd_delivery_set_time(item, "next_at", pending ? row->next_ms : 0);
    json_object_set_new(item, "attempts", attempts);
    qd_code code = qd_delivery_attempt_each(tx, row->id, add_attempt, attempts, err);
    if (code != QD_OK || strcmp(row->kind, "publish") != 0)
        return code;
    sum s = { 0 };
    code = qd_delivery_file_each(tx, row->id, add_file, &s, err);
    json_object_set_new(item, "progress",
                        json_pack("{s:I, s:I, s:I, s:I}", "files", (json_int_t)s.files, "files_done",
                                  (json_int_t)s.files_done, "bytes", (json_int_t)s.bytes, "bytes_done",
                                  (json_int_t)s.bytes_done));
    return code;
}

static qd_code read_listing(void *ctx, qd_tx *tx, qd_error *err)
{
    listing *l = ctx;
    QD_AUTO(qd_job_row_fini) qd_job_row job = { 0 };
    qd_code code = qd_job_row_read(tx, l->job, &job, err);
    if (code == QD_OK)
        code = qd_delivery_row_each(tx, l->job, take_row, l, err);
    for (size_t i = 0; code == QD_OK && i < l->count; i++)
        if (l->id == NULL || strcmp(l->id, l->rows[i].id) == 0)
            code = print_row(tx, &l->rows[i], l->items, err);
    return code;
}

qd_code qd_service_deliveries(qd_service *service, const char *id, json_t **out, qd_error *err)
{
    QD_AUTO(listing_fini) listing l = { .job = id, .items = json_array() };
    qd_code code = qd_store_read(service->store, read_listing, &l, err);
    if (code == QD_OK) {
        *out = l.items;
        l.items = NULL;
    }
    return code;
}

qd_code qd_service_delivery(qd_service *service, const char *id, const char *delivery, json_t **out, qd_error *err)
{
    QD_AUTO(listing_fini) listing l = { .job = id, .id = delivery, .items = json_array() };
    qd_code code = qd_store_read(service->store, read_listing, &l, err);
    if (code == QD_OK && json_array_size(l.items) == 0)
        code = qd_fail(err, QD_ENOTFOUND, "job '%s' has no delivery '%.40s'", id, delivery);
    if (code == QD_OK)
        *out = json_incref(json_array_get(l.items, 0));
    return code;
}

/* ---- again ---- */

typedef struct renewal {
    const qd_caller *caller;
    const char *job, *id;
    uint64_t last_event;
} renewal;

static qd_code check_renewal(qd_tx *tx, const renewal *r, qd_delivery_row *row, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *secret = NULL;
    qd_code code = qd_delivery_row_read(tx, r->id, row, err);
    if (code == QD_OK && strcmp(row->job, r->job) != 0)
        code = qd_fail(err, QD_ENOTFOUND, "job '%s' has no delivery '%.40s'", r->job, r->id);
    if (code == QD_OK && strcmp(row->state, qd_delivery_delivered) == 0)
        code = qd_fail(err, QD_ECONFLICT, "delivery '%s' has been taken already", row->id);
    if (code == QD_OK && strcmp(row->kind, "webhook") == 0)
        code = qd_webhook_secret_read(tx, row->job, &secret, err);
    if (code == QD_OK && strcmp(row->kind, "webhook") == 0 && secret == NULL)
        code = qd_fail(err, QD_ECONFLICT, "delivery '%s' cannot be signed again: its secret is forgotten", row->id);
    if (secret != NULL)
        explicit_bzero(secret, strlen(secret));
    return code;
}

static qd_code renew(void *ctx, qd_tx *tx, qd_error *err)
{
    renewal *r = ctx;
    QD_AUTO(qd_delivery_row_fini) qd_delivery_row row = { 0 };
    qd_code code = check_renewal(tx, r, &row, err);
    if (code == QD_OK)
        code = qd_delivery_row_renew(tx, r->id, qd_delivery_pending, qd_clock_wall_ms(), err);
    if (code != QD_OK)
        return code;
    QD_AUTO(qd_json_fini)
    json_t *data = json_pack("{s:s, s:s, s:s}", "delivery", row.id, "kind", row.kind, "state", qd_delivery_pending);
    code = qd_record_event(tx, r->job, "delivery", data, &r->last_event, err);
    return code == QD_OK ? qd_audit_add_take(tx, r->caller, QD_AUDIT_DELIVERY_RETRY, r->job,
                                             json_pack("{s:s, s:s}", "delivery", row.id, "kind", row.kind), err)
                         : code;
}

qd_code qd_service_redeliver(qd_service *service, const qd_caller *caller, const char *id, const char *delivery,
                             qd_error *err)
{
    renewal r = { .caller = caller, .job = id, .id = delivery };
    qd_code code = qd_store_write(service->store, renew, &r, err);
    if (code != QD_OK)
        return code;
    qd_bell_ring(service->bell, id, r.last_event);
    qd_courier_wake(service->courier);
    qd_service_say(service, "info", "delivery.again", "job=%s delivery=%s request_id=%s", id, delivery,
                   caller->request_id);
    return QD_OK;
}
