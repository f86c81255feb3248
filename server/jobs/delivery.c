/* delivery.c: what a finished job's recipe asks to be sent, as rows; see delivery.h. */
#include "jobs/delivery.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/json.h"
#include "base/mem.h"
#include "jobs/service_private.h"
#include "store/job_rows.h"

enum { DEPTH_MAX = 32, LINK_LENGTH = 64 };

const char qd_delivery_pending[] = "pending", qd_delivery_delivered[] = "delivered", qd_delivery_failed[] = "failed";

/* A webhook takes 15 seconds at most, an upload as long as it takes. */
static const qd_delivery_kind kinds[QD_DELIVERY_KINDS] = {
    { "webhook", 8, 2, qd_carry_webhook },
    { "publish", 2, 1, qd_carry_upload },
};

const qd_delivery_kind *qd_delivery_kind_at(size_t index)
{
    return index < QD_DELIVERY_KINDS ? &kinds[index] : NULL;
}

const char *qd_delivery_kind_name(size_t index)
{
    return index < QD_DELIVERY_KINDS ? kinds[index].name : NULL;
}

/* 5 s, then 3.3 times more each: nine pauses make 28 hours. A fifth more or less, so that what failed together does not
 * come back together. */
double qd_delivery_pause(unsigned tries, double chance, long retry_after)
{
    static const double first = 5, growth = 3.3, longest = 24 * 3600.0;
    if (retry_after >= 0)
        return fmin(fmax((double)retry_after, 1), longest);
    return fmin(first * pow(growth, tries > 0 ? tries - 1 : 0), longest) * (0.8 + 0.4 * chance);
}

/* ---- the message ---- */

void qd_delivery_set_time(json_t *object, const char *key, int64_t wall_ms)
{
    char text[QD_TIME_TEXT];
    qd_clock_format(wall_ms, text);
    json_object_set_new(object, key, wall_ms == 0 ? json_null() : json_string(text));
}

/* A column of JSON text. */
static qd_code set_document(json_t *object, const char *key, const char *text, qd_error *err)
{
    json_t *value = NULL;
    qd_code code = text == NULL ? QD_OK : qd_json_parse_object(text, strlen(text), DEPTH_MAX, &value, err);
    if (code == QD_OK)
        json_object_set_new(object, key, value == NULL ? json_null() : value);
    return code;
}

static json_t *print_links(const char *job, qd_state_id state)
{
    static const struct {
        const char *name, *tail;
        bool needs_artifact;
    } rows[] = { { "self", "", false },
                 { "events", "/events", false },
                 { "log", "/log", false },
                 { "deliveries", "/deliveries", false },
                 { "artifacts", "/artifacts", true },
                 { "certificate", "/certificate", true } };
    json_t *links = json_object();
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        char path[LINK_LENGTH];
        snprintf(path, sizeof path, "/jobs/%s%s", job, rows[i].tail);
        if (!rows[i].needs_artifact || state == QD_STATE_SUCCEEDED)
            json_object_set_new(links, rows[i].name, json_string(path));
    }
    return links;
}

/* What a receiver wants to know without asking back; the rest is behind the links. */
static qd_code print_job(const qd_job_row *row, qd_state_id state, json_t **out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *data = json_object();
    json_object_set_new(data, "id", json_string(row->id));
    json_object_set_new(data, "name", row->name == NULL ? json_null() : json_string(row->name));
    qd_code code = set_document(data, "tags", row->tags, err);
    json_object_set_new(data, "state", json_string(qd_state_at(state)->name));
    qd_delivery_set_time(data, "created_at", row->created_ms);
    qd_delivery_set_time(data, "started_at", row->started_ms);
    qd_delivery_set_time(data, "finished_at", row->finished_ms);
    json_object_set_new(data, "attempt", json_integer(row->attempt));
    json_object_set_new(data, "resumed", json_integer(row->resumed));
    if (code == QD_OK)
        code = set_document(data, "result", row->result, err);
    if (code == QD_OK)
        code = set_document(data, "problem", row->problem, err);
    json_object_set_new(data, "links", print_links(row->id, state));
    if (code == QD_OK) {
        *out = data;
        data = NULL;
    }
    return code;
}

static qd_code print_message(const qd_job_row *row, qd_state_id state, char **out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *message = json_object();
    json_t *data = NULL;
    char type[32];
    snprintf(type, sizeof type, "job.%s", qd_state_at(state)->name);
    json_object_set_new(message, "type", json_string(type));
    qd_delivery_set_time(message, "timestamp", row->finished_ms);
    qd_code code = print_job(row, state, &data, err);
    if (code != QD_OK)
        return code;
    json_object_set_new(message, "data", data);
    *out = qd_json_print(message);
    return *out == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}

/* ---- rows ---- */

/* The authority of a URL; what cannot be parsed was refused when the job came. */
static char *host_of(const char *url)
{
    const char *mark = strstr(url, "://");
    const char *start = mark == NULL ? url : mark + 3;
    return strndup(start, strcspn(start, "/?#"));
}

static qd_code insert(qd_service *service, qd_tx *tx, const char *kind, const char *url, const char *job,
                      char *body_taken, qd_error *err)
{
    char ident[QD_JOB_ID];
    int64_t now = qd_clock_wall_ms();
    QD_AUTO(qd_delivery_row_fini) qd_delivery_row row = { .body = body_taken, .next_ms = now, .created_ms = now };
    qd_code code = qd_ident_make(&service->idents, ident, err);
    if (code == QD_OK)
        code = qd_dup(url, &row.url, err);
    if (code != QD_OK)
        return code;
    snprintf(row.id, sizeof row.id, "msg_%s", ident);
    snprintf(row.job, sizeof row.job, "%s", job);
    snprintf(row.kind, sizeof row.kind, "%s", kind);
    snprintf(row.state, sizeof row.state, "%s", qd_delivery_pending);
    row.host = host_of(url);
    code = QD_FAULT_CODE("delivery.row", err);
    if (code != QD_OK)
        return code;
    return row.host == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_delivery_row_insert(tx, &row, err);
}

static const char *url_in(const json_t *recipe, const char *field)
{
    return json_string_value(json_object_get(json_object_get(recipe, field), "url"));
}

qd_code qd_delivery_enqueue(qd_service *service, qd_tx *tx, const char *job, qd_state_id state, qd_error *err)
{
    QD_AUTO(qd_job_row_fini) qd_job_row row = { 0 };
    QD_AUTO(qd_json_fini) json_t *recipe = NULL;
    qd_code code = qd_job_row_read(tx, job, &row, err);
    if (code == QD_OK)
        code = qd_json_parse_object(row.recipe, strlen(row.recipe), DEPTH_MAX, &recipe, err);
    const char *webhook = url_in(recipe, "webhook"), *publish = url_in(recipe, "publish");
    if (code == QD_OK && webhook != NULL) {
        char *body = NULL;
        code = print_message(&row, state, &body, err);
        if (code == QD_OK)
            code = insert(service, tx, "webhook", webhook, job, body, err);
    }
    if (code == QD_OK && publish != NULL && state == QD_STATE_SUCCEEDED)
        code = insert(service, tx, "publish", publish, job, NULL, err);
    return code;
}
