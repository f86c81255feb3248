/* submit.c: a recipe becomes a queued job; see service.h. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/json.h"
#include "base/mem.h"
#include "engine/recipe_issues.h"
#include "engine/task_files.h"
#include "jobs/audit.h"
#include "jobs/once.h"
#include "jobs/queue_limit.h"
#include "jobs/record.h"
#include "jobs/service_private.h"
#include "jobs/sources.h"
#include "store/delivery_rows.h"
#include "store/job_rows.h"

typedef struct insertion {
    qd_service *service;
    const qd_submission *submission;
    qd_job_row row;
    uint64_t last_event;
} insertion;

/* The answer shows the job as this transaction leaves it, whatever becomes of it at once. */
static qd_code keep_answer(const insertion *s, qd_tx *tx, qd_error *err)
{
    QD_AUTO(qd_job_fini) qd_job job = { 0 };
    qd_once *once = s->submission->once;
    qd_code code = qd_query_job(s->service, tx, s->row.id, &job, err);
    if (code != QD_OK)
        return code;
    free(once->answer);
    once->answer = once->print(&job);
    return once->answer == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_once_keep(tx, once, s->row.id, err);
}

static qd_code insert(void *ctx, qd_tx *tx, qd_error *err)
{
    insertion *s = ctx;
    qd_code code = qd_queue_check(s->service, tx, s->row.owner, err);
    if (code == QD_OK)
        code = qd_job_row_insert(tx, &s->row, err);
    if (code == QD_OK)
        code = qd_job_row_set_request_id(tx, s->row.id, s->submission->caller->request_id, err);
    if (code == QD_OK && s->submission->recipe->webhook_secret != NULL)
        code = qd_webhook_secret_put(tx, s->row.id, s->submission->recipe->webhook_secret, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("submit.row", err);
    if (code == QD_OK)
        code = qd_record_state_event(tx, s->row.id, QD_STATE_QUEUED, &s->last_event, err);
    if (code != QD_OK)
        return code;
    json_t *detail = json_pack("{s:s, s:s?}", "algorithm", s->submission->recipe->algorithm->name, "name", s->row.name);
    code = qd_audit_add_take(tx, s->submission->caller, QD_AUDIT_JOB_CREATE, s->row.id, detail, err);
    return code == QD_OK && s->submission->once != NULL ? keep_answer(s, tx, err) : code;
}

static qd_code complain(qd_issues *issues, const char *pointer, qd_code code, const qd_error *err)
{
    if (issues != NULL)
        qd_complain(issues, pointer, "%s", err->text);
    return code;
}

static qd_code check_texts(const qd_service *service, const qd_recipe *recipe, qd_issues *issues, qd_error *err)
{
    const qd_service_config *config = &service->settings.config;
    if (qd_recipe_gated(recipe) && recipe->evaluation_text == NULL && config->evaluation_text == NULL)
        return complain(issues,
                        recipe->evaluation_also.count > 0 ? "/evaluation/also"
                        : recipe->gate_ratio >= 0         ? "/gate/perplexity_ratio"
                                                          : "/gate/kl",
                        qd_recipe_gate_refuse(recipe, err), err);
    return QD_OK;
}

static bool is_there(const char *dir, const qd_eval_task *task)
{
    QD_AUTO(qd_free_pointer) char *path = qd_task_file_in(dir, task);
    return path != NULL && access(path, R_OK) == 0;
}

static qd_code check_task(const qd_service *service, const qd_task_choice *choice, const char *name, qd_error *err)
{
    const char *dir = service->settings.config.evaluation_tasks, *task = choice->task->name;
    if (choice->data != NULL) {
        qd_code code = qd_fetch_check_url(service->fetcher, choice->data, err);
        return code == QD_OK ? code : qd_within(err, code, "%s.data", name);
    }
    if (dir == NULL)
        return qd_fail(err, QD_EINVAL,
                       "%s: '%s' has no examples: give it data, or let the operator set evaluation-tasks", name, task);
    return is_there(dir, choice->task)
               ? QD_OK
               : qd_fail(err, QD_EINVAL,
                         "%s: '%s' has no examples: the operator's folder has no %s.jsonl; give it data (a URL)", name,
                         task, task);
}

static qd_code check_tasks(const qd_service *service, const qd_recipe *recipe, qd_issues *issues, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < recipe->task_count; i++) {
        char name[40], pointer[40];
        bool fetched = recipe->tasks[i].data != NULL;
        snprintf(name, sizeof name, "evaluation.tasks[%zu]", i);
        snprintf(pointer, sizeof pointer, "/evaluation/tasks/%zu%s", i, fetched ? "/data" : "");
        code = check_task(service, &recipe->tasks[i], name, err);
        if (code != QD_OK)
            complain(issues, pointer, code, err);
    }
    return code;
}

qd_code qd_submit_check(qd_service *service, const qd_recipe *recipe, qd_issues *issues, qd_error *err)
{
    const struct {
        const char *name, *pointer, *url;
    } urls[] = { { "model.url", "/model/url", recipe->model_url },
                 { "calibration.source", "/calibration/source", qd_source_url(recipe->calibration_source) },
                 { "evaluation.text", "/evaluation/text", qd_source_url(recipe->evaluation_text) } };
    qd_code code = check_texts(service, recipe, issues, err);
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(urls); i++) {
        code = urls[i].url == NULL ? QD_OK : qd_fetch_check_url(service->fetcher, urls[i].url, err);
        if (code != QD_OK)
            complain(issues, urls[i].pointer, qd_within(err, code, "%s", urls[i].name), err);
    }
    for (size_t i = 0; code == QD_OK && i < recipe->evaluation_also.count; i++) {
        char pointer[40];
        snprintf(pointer, sizeof pointer, "/evaluation/also/%zu", i);
        code = qd_fetch_check_url(service->fetcher, recipe->evaluation_also.items[i].url, err);
        if (code != QD_OK)
            complain(issues, pointer, qd_within(err, code, "evaluation.also[%zu]", i), err);
    }
    return code == QD_OK ? check_tasks(service, recipe, issues, err) : code;
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
    snprintf(row->owner, sizeof row->owner, "%s", submission->caller->key_id);
    row->created_ms = qd_clock_wall_ms();
    row->priority = (unsigned)recipe->priority;
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

/* Where the secret is at hand: not for a retry, whose job has it already. */
static qd_code check_destinations(qd_service *service, const qd_submission *submission, qd_error *err)
{
    qd_issues own = { 0 };
    qd_issues *issues = submission->issues == NULL ? &own : submission->issues;
    size_t before = issues->count;
    qd_service_check_destinations(service, submission->recipe, submission->request, issues);
    return issues->count == before ? QD_OK : qd_fail(err, QD_EINVAL, "%s", issues->items[before].detail);
}

qd_code qd_service_submit(qd_service *service, const qd_submission *submission, char out_id[QD_JOB_ID], qd_error *err)
{
    const qd_recipe *recipe = submission->recipe;
    insertion s = { .service = service, .submission = submission };
    qd_code code = qd_submit_check(service, recipe, submission->issues, err);
    if (code == QD_OK)
        code = check_destinations(service, submission, err);
    if (code == QD_OK)
        code = fill_row(service, submission, &s.row, err);
    if (code == QD_OK)
        code = qd_quota_bytes(service, s.row.owner, err);
    if (code == QD_OK)
        code = qd_store_write(service->store, insert, &s, err);
    if (code == QD_OK) {
        QD_FAULT("submit.acknowledged");
        snprintf(out_id, QD_JOB_ID, "%s", s.row.id);
        qd_bell_ring(service->bell, s.row.id, s.last_event);
        qd_service_queued(service);
        qd_service_say(service, "info", "job.queued", "job=%s algorithm=%s request_id=%s", s.row.id,
                       recipe->algorithm->name, submission->caller->request_id);
    }
    qd_job_row_fini(&s.row);
    return code;
}
