/* submit.c: a recipe becomes a queued job; see service.h. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "jobs/queue_limit.h"
#include "jobs/record.h"
#include "jobs/service_private.h"
#include "jobs/sources.h"
#include "store/delivery_rows.h"
#include "store/job_rows.h"

typedef struct insertion {
    qd_service *service;
    qd_job_row row;
    const char *webhook_secret; /* or NULL */
    uint64_t last_event;
} insertion;

static qd_code insert(void *ctx, qd_tx *tx, qd_error *err)
{
    insertion *s = ctx;
    qd_code code = qd_queue_check(s->service, tx, err);
    if (code == QD_OK)
        code = qd_job_row_insert(tx, &s->row, err);
    if (code == QD_OK && s->webhook_secret != NULL)
        code = qd_webhook_secret_put(tx, s->row.id, s->webhook_secret, err);
    return code == QD_OK ? qd_record_state_event(tx, s->row.id, QD_STATE_QUEUED, &s->last_event, err) : code;
}

static qd_code check_texts(qd_service *service, const qd_recipe *recipe, qd_error *err)
{
    const char *const urls[] = { recipe->model_url, recipe->calibration_source, recipe->evaluation_text };
    static const char *const names[] = { "model.url", "calibration.source", "evaluation.text" };
    if (qd_recipe_calibrated(recipe) != NULL && recipe->calibration_source == NULL &&
        service->settings.config.calibration_text == NULL)
        return qd_fail(err, QD_EINVAL,
                       "calibration.source: %s needs a calibration text: name one, or let the operator set "
                       "calibration-text; without any, only data-free algorithms (rtn) run",
                       qd_recipe_calibrated(recipe));
    if (qd_recipe_gated(recipe) && recipe->evaluation_text == NULL && service->settings.config.evaluation_text == NULL)
        return qd_recipe_gate_refuse(recipe, err);
    for (size_t i = 0; i < QD_LENGTH(urls); i++) {
        qd_code code = urls[i] == NULL ? QD_OK : qd_fetch_check_url(service->fetcher, urls[i], err);
        if (code != QD_OK)
            return qd_within(err, code, "%s", names[i]);
    }
    return QD_OK;
}

static qd_code print_take(json_t *value, char **out, qd_error *err)
{
    *out = value == NULL ? NULL : qd_json_print(value);
    json_decref(value);
    return *out == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}

static qd_code fill_row(qd_service *service, const qd_submission *submission, qd_job_row *row, qd_error *err)
{
    const qd_recipe *recipe = submission->recipe;
    QD_AUTO(qd_json_fini) json_t *printed = qd_recipe_print(recipe);
    snprintf(row->state, sizeof row->state, "%s", qd_state_at(QD_STATE_QUEUED)->name);
    row->created_ms = qd_clock_wall_ms();
    qd_code code = qd_ident_make(&service->idents, row->id, err);
    if (code == QD_OK)
        code = qd_dup(recipe->name, &row->name, err);
    if (code == QD_OK)
        code = qd_dup(recipe->model_token, &row->secret, err);
    if (code == QD_OK)
        code = print_take(json_incref(recipe->tags), &row->tags, err);
    if (code == QD_OK)
        code = print_take(qd_recipe_redact(submission->request), &row->request, err);
    if (code == QD_OK)
        code = print_take(json_incref(printed), &row->recipe, err);
    return code == QD_OK ? print_take(qd_sources_resolved(printed, NULL), &row->resolved, err) : code;
}

qd_code qd_service_submit(qd_service *service, const qd_submission *submission, char out_id[QD_JOB_ID], qd_error *err)
{
    const qd_recipe *recipe = submission->recipe;
    insertion s = { .service = service, .webhook_secret = recipe->webhook_secret };
    qd_issues issues = { 0 };
    qd_code code = check_texts(service, recipe, err);
    qd_service_check_destinations(service, recipe, submission->request, &issues);
    if (code == QD_OK && issues.count > 0)
        code = qd_fail(err, QD_EINVAL, "%s", issues.items[0].detail);
    if (code == QD_OK)
        code = fill_row(service, submission, &s.row, err);
    if (code == QD_OK)
        code = qd_store_write(service->store, insert, &s, err);
    if (code == QD_OK) {
        snprintf(out_id, QD_JOB_ID, "%s", s.row.id);
        qd_bell_ring(service->bell, s.row.id, s.last_event);
        qd_service_queued(service);
        qd_service_say(service, "info", "job.queued", "job=%s algorithm=%s request_id=%s", s.row.id,
                       recipe->algorithm->name, submission->caller->request_id);
    }
    qd_job_row_fini(&s.row);
    return code;
}
