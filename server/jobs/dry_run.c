/* dry_run.c: see dry_run.h. A dry run holds no worker: it runs in the thread of the request. */
#include "jobs/dry_run.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "engine/plan.h"
#include "engine/recipe_issues.h"
#include "engine/task_files.h"
#include "fetch/peek.h"
#include "jobs/outlook.h"

enum { AT_ONCE = 4 };
static const double patience_seconds = 30;
/* What a text that is not here is taken to have. */
static const uint64_t text_guess = 1 << 20;

static qd_code begin(qd_service *service, qd_dry_run *run, qd_error *err)
{
    size_t count = 0;
    run->deadline = qd_clock_seconds() + patience_seconds;
    pthread_mutex_lock(&service->mutex);
    for (const qd_dry_run *other = service->dry_runs; other != NULL; other = other->next)
        count++;
    if (count < AT_ONCE) {
        run->next = service->dry_runs;
        service->dry_runs = run;
    }
    pthread_mutex_unlock(&service->mutex);
    return count < AT_ONCE ? QD_OK : qd_fail(err, QD_EBUSY, "%d dry runs are under way: try again", (int)AT_ONCE);
}

static void end(qd_service *service, qd_dry_run *run)
{
    pthread_mutex_lock(&service->mutex);
    qd_dry_run **at = &service->dry_runs;
    while (*at != run)
        at = &(*at)->next;
    *at = run->next;
    pthread_mutex_unlock(&service->mutex);
}

void qd_dry_runs_look(qd_service *service)
{
    double now = qd_clock_seconds();
    pthread_mutex_lock(&service->mutex);
    for (qd_dry_run *run = service->dry_runs; run != NULL; run = run->next)
        if (service->stopping || service->draining || now > run->deadline)
            qd_cancel_request(&run->cancel);
    pthread_mutex_unlock(&service->mutex);
}

/* What the source says about the model is a finding about the job; that nobody answers is not. */
static bool is_finding(qd_code code)
{
    return code == QD_EINVAL || code == QD_EDENIED || code == QD_ENOTFOUND || code == QD_EFORMAT ||
           code == QD_EUNSUPPORTED || code == QD_ETOOBIG;
}

static qd_code peek(qd_service *service, const qd_submission *submission, qd_dry_run *run, qd_peeked *out,
                    qd_error *err)
{
    const qd_recipe *recipe = submission->recipe;
    const char *pointer = json_is_string(json_object_get(submission->request, "model")) ? "/model" : "/model/url";
    const qd_fetch_request request = { .url = recipe->model_url,
                                       .revision = recipe->model_revision,
                                       .token = recipe->model_token,
                                       .sha256 = recipe->model_sha256 };
    qd_code code = qd_fetch_peek(service->fetcher, &request, &run->cancel, out, err);
    if (code == QD_ECANCELLED)
        return qd_fail(err, QD_ETIMEOUT, "the model's headers did not come within %.0f seconds", patience_seconds);
    if (!is_finding(code))
        return code;
    qd_complain(submission->issues, pointer, "%s", err->text);
    return qd_fail(err, QD_EINVAL, "model: %s", submission->issues->items[0].detail);
}

/* What only the service knows: its limits, its disk. */
static void judge(qd_service *service, const qd_recipe *recipe, const qd_peeked *peeked, qd_plan *plan)
{
    qd_outlook_finding findings[QD_OUTLOOK_FINDINGS];
    const qd_forecast *f = &plan->forecast;
    double runtime = recipe->limit_runtime >= 0 ? recipe->limit_runtime : qd_service_now(service).job_runtime_seconds;
    size_t count = f->total <= 0 ? 0 : qd_outlook_judge(service, recipe, f, peeked->download_bytes, findings);
    for (size_t i = 0; i < count; i++)
        qd_plan_object(plan, findings[i].pointer, "%s", findings[i].detail);
    if (runtime > 0 && f->total > runtime)
        qd_plan_warn(plan, "limits.runtime: %.0f seconds, and the job is forecast to take %.0f (%.0f to %.0f)", runtime,
                     f->total, f->low, f->high);
}

static json_t *print(const qd_service *service, const qd_recipe *recipe, const qd_peeked *peeked, const qd_plan *plan)
{
    json_t *document = json_object();
    json_t *read =
        json_pack("{s:I, s:I, s:I}", "model_bytes", (json_int_t)peeked->model_bytes, "read_bytes",
                  (json_int_t)peeked->read_bytes, "memory_of_runs", (json_int_t)service->settings.config.memory_bytes);
    json_object_update(document, plan->document);
    json_object_update(document, read);
    json_decref(read);
    json_object_set_new(document, "model", json_incref(peeked->resolved));
    json_object_set_new(document, "resolved", qd_recipe_print(recipe));
    return document;
}

/* Of tasks: the operator's files, and NULL for what is to be fetched. files: to be freed. */
static qd_code find_tasks(const qd_service *service, const qd_recipe *recipe, char ***files,
                          const char *out[QD_TASKS_MAX], qd_error *err)
{
    const char *dir = service->settings.config.evaluation_tasks;
    qd_code code = dir == NULL ? QD_OK : qd_task_files_in(recipe, dir, files, err);
    for (size_t i = 0; code == QD_OK && i < recipe->task_count; i++)
        out[i] = *files == NULL || recipe->tasks[i].data != NULL ? NULL : (*files)[i];
    return code;
}

static qd_code make(qd_service *service, const qd_submission *submission, qd_dry_run *run, json_t **out, qd_error *err)
{
    QD_AUTO(qd_peeked_fini) qd_peeked peeked = { 0 };
    QD_AUTO(qd_plan_fini) qd_plan plan = { 0 };
    QD_AUTO(qd_task_files_fini) char **files = NULL;
    const char *tasks[QD_TASKS_MAX] = { NULL };
    const qd_recipe *recipe = submission->recipe;
    const qd_service_config *config = &service->settings.config;
    qd_plan_terms terms = {
        .tasks = tasks,
        .calibration_text = recipe->calibration_source == NULL ? config->calibration_text : NULL,
        .evaluation_text = recipe->evaluation_text == NULL ? config->evaluation_text : NULL,
        .calibration_guess = qd_source_url(recipe->calibration_source) == NULL ? 0 : text_guess,
        .evaluation_guess = qd_source_url(recipe->evaluation_text) == NULL ? 0 : text_guess,
        .also_guess = text_guess,
    };
    qd_code code = find_tasks(service, recipe, &files, tasks, err);
    if (code == QD_OK)
        code = peek(service, submission, run, &peeked, err);
    if (code == QD_OK)
        code = qd_outlook_machine(service, &terms.machine, err);
    terms.download_bytes = peeked.download_bytes;
    if (code == QD_OK)
        code = qd_plan_make(recipe, peeked.folder, &terms, &plan, err);
    if (code != QD_OK)
        return code;
    judge(service, recipe, &peeked, &plan);
    *out = print(service, recipe, &peeked, &plan);
    return *out == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}

qd_code qd_service_plan(qd_service *service, const qd_submission *submission, json_t **out, qd_error *err)
{
    qd_issues own = { 0 };
    qd_dry_run run = { 0 };
    qd_submission s = *submission;
    s.issues = s.issues == NULL ? &own : s.issues;
    qd_code code = qd_submit_check(service, s.recipe, s.issues, err);
    if (code == QD_OK)
        code = begin(service, &run, err);
    if (code != QD_OK)
        return code;
    code = make(service, &s, &run, out, err);
    end(service, &run);
    return code;
}
