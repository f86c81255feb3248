/* amend.c: name, tags and priority of a job that exists; see service.h. */
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "jobs/audit.h"
#include "jobs/changes.h"
#include "jobs/record.h"
#include "jobs/service_private.h"
#include "store/job_edit_rows.h"
#include "store/job_rows.h"

enum { DEPTH_MAX = 32 };

typedef struct amend {
    qd_service *service;
    const qd_caller *caller;
    const char *id;
    const qd_amendment *amendment;
    qd_issues *issues;
    uint64_t last_event; /* 0 = nothing has changed */
} amend;

/* The fields that are now others, with their new values. */
static json_t *differences(const json_t *before, const json_t *after, const json_t *changes)
{
    json_t *found = json_object();
    const char *field;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)changes, field,
                        value) if (!json_equal(json_object_get(before, field), json_object_get(after, field)))
        json_object_set(found, field, json_object_get(after, field));
    return found;
}

static qd_code write_row(const amend *a, qd_tx *tx, const qd_recipe *recipe, const json_t *printed, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *tags = qd_json_print(recipe->tags);
    QD_AUTO(qd_free_pointer) char *text = qd_json_print(printed);
    if (tags == NULL || text == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    const qd_job_edit edit = { a->id, recipe->name, tags, text, (unsigned)recipe->priority };
    return qd_job_row_edit(tx, &edit, err);
}

static qd_code write_change(amend *a, qd_tx *tx, const qd_recipe *recipe, const json_t *before, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *after = qd_recipe_print(recipe);
    QD_AUTO(qd_json_fini) json_t *changed = differences(before, after, a->amendment->changes);
    if (after == NULL || changed == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    if (json_object_size(changed) == 0)
        return QD_OK;
    qd_code code = write_row(a, tx, recipe, after, err);
    if (code == QD_OK)
        code = qd_record_event(tx, a->id, "change", changed, &a->last_event, err);
    return code == QD_OK ? qd_audit_add_take(tx, a->caller, QD_AUDIT_JOB_UPDATE, a->id, json_incref(changed), err)
                         : code;
}

static qd_code apply(void *ctx, qd_tx *tx, qd_error *err)
{
    amend *a = ctx;
    QD_AUTO(qd_job_row_fini) qd_job_row row = { 0 };
    QD_AUTO(qd_json_fini) json_t *before = NULL;
    QD_AUTO(qd_json_fini) json_t *after = NULL;
    qd_recipe *recipe = NULL;
    char edition[QD_JOB_EDITION];
    a->last_event = 0;
    qd_code code = qd_job_row_read(tx, a->id, &row, err);
    if (code == QD_OK)
        code = qd_query_edition(&row, edition, err);
    if (code == QD_OK && !a->amendment->holds(a->amendment->condition, edition))
        code = qd_fail(err, QD_ECONFLICT, "If-Match: job '%s' has been changed; read it again", a->id);
    if (code == QD_OK)
        code = qd_json_parse_object(row.recipe, strlen(row.recipe), DEPTH_MAX, &before, err);
    if (code == QD_OK && (after = json_deep_copy(before)) == NULL)
        code = qd_fail(err, QD_ENOMEM, "out of memory");
    if (code == QD_OK)
        code = qd_changes_merge(after, a->amendment->changes, QD_OCCASION_PATCH, &recipe, a->issues, err);
    if (code == QD_OK)
        code = write_change(a, tx, recipe, before, err);
    qd_recipe_destroy(recipe);
    return code;
}

qd_code qd_service_amend(qd_service *service, const qd_caller *caller, const char *id, const qd_amendment *amendment,
                         qd_issues *issues, qd_error *err)
{
    qd_issues own = { 0 };
    amend a = {
        .service = service, .caller = caller, .id = id, .amendment = amendment, .issues = issues == NULL ? &own : issues
    };
    qd_code code = qd_store_write(service->store, apply, &a, err);
    if (code != QD_OK || a.last_event == 0)
        return code;
    qd_bell_ring(service->bell, id, a.last_event);
    qd_service_queued(service); /* another job may be the next now */
    qd_service_say(service, "info", "job.changed", "job=%s request_id=%s", id, caller->request_id);
    return QD_OK;
}
