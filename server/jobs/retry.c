/* retry.c: a finished job is queued again; see service.h. */
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/json.h"
#include "jobs/audit.h"
#include "jobs/queue_limit.h"
#include "jobs/record.h"
#include "jobs/service_private.h"
#include "store/job_rows.h"
#include "store/layer_rows.h"

enum { DEPTH_MAX = 32 };

/* The fields a retry may change; api.md. */
static const char *const changeable[] = { "regularization" };

typedef enum fate { LAYERS_STAY, LAYERS_GO } fate;

typedef struct retry {
    qd_service *service;
    const qd_caller *caller;
    const json_t *changes;
    qd_job_row row; /* as it was read; the fence */
    char *recipe, *resolved;
    fate layers;
    uint64_t last_event;
} retry;

static void retry_fini(retry *r)
{
    qd_job_row_fini(&r->row);
    free(r->recipe);
    free(r->resolved);
}

static qd_code read_row(void *ctx, qd_tx *tx, qd_error *err)
{
    retry *r = ctx;
    return qd_job_row_read(tx, r->row.id, &r->row, err);
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

static qd_code refuse_field(const char *key, qd_issues *issues, qd_error *err)
{
    qd_fail(err, QD_EINVAL, "%.80s: a retry may change regularization only", key);
    if (issues != NULL && issues->count < QD_ISSUES_MAX) {
        qd_issue *issue = &issues->items[issues->count++];
        snprintf(issue->pointer, sizeof issue->pointer, "/%.80s", key);
        snprintf(issue->detail, sizeof issue->detail, "%.80s: a retry may change regularization only", key);
    }
    return QD_EINVAL;
}

/* `recipe` gets the changed fields. */
static qd_code merge(json_t *recipe, const json_t *changes, qd_issues *issues, qd_error *err)
{
    const char *key;
    json_t *value;
    qd_code code = QD_OK;
    json_object_foreach((json_t *)(uintptr_t)changes, key, value)
    {
        size_t i = 0;
        while (i < QD_LENGTH(changeable) && strcmp(changeable[i], key) != 0)
            i++;
        if (i == QD_LENGTH(changeable))
            code = refuse_field(key, issues, err);
        else
            json_object_set(recipe, key, value);
    }
    return code;
}

static qd_code print(const json_t *value, char **out, qd_error *err)
{
    *out = value == NULL ? NULL : qd_json_print(value);
    return *out == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}

/* The recipe with its changes, every default filled in again; model facts of the earlier attempt stay. */
static qd_code prepare(retry *r, const json_t *changes, qd_issues *issues, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *recipe = NULL;
    QD_AUTO(qd_json_fini) json_t *resolved = NULL;
    QD_AUTO(qd_json_fini) json_t *printed = NULL;
    qd_recipe *parsed = NULL;
    qd_issues own = { 0 };
    qd_code code = qd_json_parse_object(r->row.recipe, strlen(r->row.recipe), DEPTH_MAX, &recipe, err);
    if (code == QD_OK)
        code = qd_json_parse_object(r->row.resolved, strlen(r->row.resolved), DEPTH_MAX, &resolved, err);
    if (code == QD_OK && changes != NULL)
        code = merge(recipe, changes, issues == NULL ? &own : issues, err);
    if (code == QD_OK)
        code = qd_recipe_parse(recipe, &parsed, issues == NULL ? &own : issues, err);
    if (code == QD_OK)
        printed = qd_recipe_print(parsed);
    qd_recipe_destroy(parsed);
    if (code == QD_OK)
        code = print(printed, &r->recipe, err);
    if (code != QD_OK)
        return code;
    json_object_set(printed, "model", json_object_get(resolved, "model"));
    r->layers = strcmp(r->recipe, r->row.recipe) == 0 ? LAYERS_STAY : LAYERS_GO;
    return print(printed, &r->resolved, err);
}

static qd_code apply(void *ctx, qd_tx *tx, qd_error *err)
{
    retry *r = ctx;
    const char *id = r->row.id;
    qd_code code = qd_queue_check(r->service, tx, err);
    if (code == QD_OK)
        code = qd_job_row_move(tx, id, r->row.attempt, r->row.state, qd_state_at(QD_STATE_QUEUED)->name, err);
    if (code == QD_OK)
        code = qd_job_row_renew(tx, id, r->recipe, r->resolved, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("retry.row", err);
    if (code == QD_OK && r->layers == LAYERS_GO)
        code = qd_layer_row_clear(tx, id, err);
    if (code == QD_OK)
        code = qd_record_state_event(tx, id, QD_STATE_QUEUED, &r->last_event, err);
    return code == QD_OK ? qd_audit_add_take(tx, r->caller, QD_AUDIT_JOB_RETRY, id,
                                             json_pack("{s:s, s:O?}", "from", r->row.state, "changes", r->changes), err)
                         : code;
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
        code = prepare(&r, changes, issues, err);
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
