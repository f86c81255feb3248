/* retry.c: a finished job is queued again; see service.h. */
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/json.h"
#include "base/mem.h"
#include "jobs/audit.h"
#include "jobs/changes.h"
#include "jobs/queue_limit.h"
#include "jobs/record.h"
#include "jobs/service_private.h"
#include "store/delivery_rows.h"
#include "store/job_edit_rows.h"
#include "store/job_rows.h"
#include "store/layer_rows.h"

enum { DEPTH_MAX = 32 };

typedef enum fate { LAYERS_STAY, LAYERS_GO } fate;

typedef struct retry {
    qd_service *service;
    const qd_caller *caller;
    const json_t *changes;
    qd_job_row row;       /* as it was read; the fence */
    qd_job_row next;      /* name, tags, recipe, resolved, priority after the changes */
    char *webhook_secret; /* the one that is kept, then the one that holds */
    fate layers;
    uint64_t last_event;
} retry;

static void retry_fini(retry *r)
{
    qd_job_row_fini(&r->row);
    qd_job_row_fini(&r->next);
    free(r->webhook_secret);
}

static qd_code read_row(void *ctx, qd_tx *tx, qd_error *err)
{
    retry *r = ctx;
    qd_code code = qd_job_row_read(tx, r->row.id, &r->row, err);
    return code == QD_OK ? qd_webhook_secret_read(tx, r->row.id, &r->webhook_secret, err) : code;
}

static qd_code check_state(const qd_job_row *row, qd_error *err)
{
    qd_state_id state = QD_STATE_QUEUED;
    if (qd_state_find(row->state, &state) && qd_state_at(state)->kind == QD_STATE_FINAL &&
        qd_state_may_follow(state, QD_STATE_QUEUED))
        return QD_OK;
    return qd_fail(err, QD_ECONFLICT, "job '%s' is %s: only a failed, cancelled or quarantined job is tried again",
                   row->id, row->state);
}

static qd_code print(const json_t *value, char **out, qd_error *err)
{
    *out = value == NULL ? NULL : qd_json_print(value);
    return *out == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}

/* What is asked of the run and what is done with the artifact may change under finished layers; what enters their keys
 * may not. */
static fate fate_of_layers(const json_t *before, const json_t *after)
{
    QD_AUTO(qd_json_fini) json_t *old = json_deep_copy(before);
    QD_AUTO(qd_json_fini) json_t *new = json_deep_copy(after);
    if (old == NULL || new == NULL)
        return LAYERS_GO;
    qd_recipe_keep_layers(old);
    qd_recipe_keep_layers(new);
    return json_equal(old, new) ? LAYERS_STAY : LAYERS_GO;
}

static qd_code fill_next(retry *r, const qd_recipe *recipe, const json_t *before, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *printed = qd_recipe_print(recipe);
    QD_AUTO(qd_json_fini) json_t *resolved = NULL;
    r->next.priority = (unsigned)recipe->priority;
    qd_code code = print(printed, &r->next.recipe, err);
    if (code == QD_OK)
        code = print(recipe->tags, &r->next.tags, err);
    if (code == QD_OK)
        code = qd_dup(recipe->name, &r->next.name, err);
    free(r->webhook_secret);
    r->webhook_secret = NULL;
    if (code == QD_OK)
        code = qd_dup(recipe->webhook_secret, &r->webhook_secret, err);
    if (code == QD_OK)
        code = qd_json_parse_object(r->row.resolved, strlen(r->row.resolved), DEPTH_MAX, &resolved, err);
    if (code != QD_OK)
        return code;
    r->layers = fate_of_layers(before, printed);
    json_object_set(printed, "model", json_object_get(resolved, "model")); /* facts of the earlier attempt stay */
    return print(printed, &r->next.resolved, err);
}

/* A recipe does not hold the secret, but a webhook without one is none. */
static void put_secret_back(const retry *r, json_t *recipe)
{
    json_t *webhook = json_object_get(recipe, "webhook");
    if (r->webhook_secret != NULL && json_is_string(json_object_get(webhook, "url")))
        json_object_set_new(webhook, "secret", json_string(r->webhook_secret));
}

/* Where the job was to send to already stays allowed until it is sent. */
static qd_code check_destinations(retry *r, const qd_recipe *recipe, qd_issues *issues, qd_error *err)
{
    if (json_object_get(r->changes, "webhook") == NULL && json_object_get(r->changes, "publish") == NULL)
        return QD_OK;
    qd_service_check_destinations(r->service, recipe, r->changes, issues);
    return issues->count == 0 ? QD_OK : qd_fail(err, QD_EINVAL, "%s", issues->items[0].detail);
}

static qd_code prepare(retry *r, qd_issues *issues, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *before = NULL;
    QD_AUTO(qd_json_fini) json_t *after = NULL;
    qd_recipe *recipe = NULL;
    qd_issues own = { 0 };
    issues = issues == NULL ? &own : issues;
    qd_code code = qd_json_parse_object(r->row.recipe, strlen(r->row.recipe), DEPTH_MAX, &before, err);
    if (code == QD_OK && (after = json_deep_copy(before)) == NULL)
        code = qd_fail(err, QD_ENOMEM, "out of memory");
    if (code == QD_OK)
        put_secret_back(r, after);
    if (code == QD_OK)
        code = qd_changes_merge(after, r->changes, QD_OCCASION_RETRY, &recipe, issues, err);
    if (code == QD_OK)
        code = qd_submit_check(r->service, recipe, issues, err);
    if (code == QD_OK)
        code = check_destinations(r, recipe, issues, err);
    if (code == QD_OK)
        code = fill_next(r, recipe, before, err);
    qd_recipe_destroy(recipe);
    return code;
}

static qd_code edit(const retry *r, qd_tx *tx, qd_error *err)
{
    const char *id = r->row.id;
    const qd_job_edit edit = { id, r->next.name, r->next.tags, r->next.recipe, r->next.priority };
    qd_code code = qd_job_row_edit(tx, &edit, err);
    if (code == QD_OK)
        code = qd_webhook_secret_put(tx, id, r->webhook_secret, err);
    if (code == QD_OK)
        code = qd_job_row_set_request_id(tx, id, r->caller->request_id, err);
    return code == QD_OK ? qd_job_row_renew(tx, id, r->next.recipe, r->next.resolved, err) : code;
}

static qd_code write_down(const retry *r, qd_tx *tx, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *shown = r->changes == NULL ? NULL : qd_recipe_redact(r->changes);
    json_t *detail = json_pack("{s:s, s:O?}", "from", r->row.state, "changes", shown);
    return qd_audit_add_take(tx, r->caller, QD_AUDIT_JOB_RETRY, r->row.id, detail, err);
}

static qd_code apply(void *ctx, qd_tx *tx, qd_error *err)
{
    retry *r = ctx;
    const char *id = r->row.id;
    qd_code code = qd_queue_check(r->service, tx, r->row.owner, err);
    if (code == QD_OK)
        code = qd_job_row_move(tx, id, r->row.attempt, r->row.state, qd_state_at(QD_STATE_QUEUED)->name, err);
    if (code == QD_OK)
        code = edit(r, tx, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("retry.row", err);
    if (code == QD_OK && r->layers == LAYERS_GO)
        code = qd_layer_row_clear(tx, id, err);
    if (code == QD_OK)
        code = qd_record_state_event(tx, id, QD_STATE_QUEUED, &r->last_event, err);
    return code == QD_OK ? write_down(r, tx, err) : code;
}

qd_code qd_service_retry(qd_service *service, const qd_caller *caller, const char *id, const json_t *changes,
                         qd_issues *issues, qd_error *err)
{
    QD_AUTO(retry_fini) retry r = { .service = service, .caller = caller, .changes = changes };
    snprintf(r.row.id, sizeof r.row.id, "%s", id);
    if (changes != NULL && !json_is_object(changes))
        return qd_fail(err, QD_EINVAL, "changes: found %s, wanted an object", qd_json_type_name(changes));
    qd_code code = qd_store_read(service->store, read_row, &r, err);
    if (code == QD_OK)
        code = check_state(&r.row, err);
    if (code == QD_OK)
        code = prepare(&r, issues, err);
    if (code == QD_OK)
        code = qd_quota_bytes(service, r.row.owner, err);
    if (code == QD_OK)
        code = qd_store_write(service->store, apply, &r, err);
    if (code != QD_OK)
        return code;
    QD_FAULT("retry.recorded");
    qd_bell_ring(service->bell, id, r.last_event);
    qd_service_queued(service);
    qd_service_say(service, "info", "job.retried", "job=%s request_id=%s", id, caller->request_id);
    return QD_OK;
}
