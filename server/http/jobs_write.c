/* jobs_write.c: creating, cancelling, retrying and deleting jobs. Every answer leaves after the commit. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/job_json.h"
#include "base/json.h"
#include "engine/recipe_issues.h"
#include "http/body.h"
#include "http/handlers.h"
#include "http/problem.h"
#include "http/validator.h"
#include "jobs/once.h"

enum { ANSWER_DEPTH = 32 };

static qd_code reply_invalid(qd_reply *reply, const qd_request *request, const qd_issues *issues, const qd_error *err)
{
    qd_reply_problem(reply, request, QD_PROBLEM_INVALID, issues, "%s", err->text);
    return QD_OK;
}

static void reply_not_json(qd_reply *reply, const qd_request *request, const qd_error *err)
{
    qd_reply_problem(reply, request, QD_PROBLEM_NOT_JSON, NULL, "%s", err->text);
}

static void check_url(const qd_app *app, const char *pointer, const char *url, qd_issues *issues)
{
    qd_error why = { 0 };
    if (url != NULL && qd_service_check_url(app->service, url, &why) != QD_OK)
        qd_complain(issues, pointer, "%s", why.text);
}

/* Every URL the job names, before anything is queued; err has the first finding. */
static qd_code check_urls(const qd_app *app, const json_t *body, const qd_recipe *recipe, qd_issues *issues,
                          qd_error *err)
{
    const char *model = json_is_string(json_object_get(body, "model")) ? "/model" : "/model/url";
    check_url(app, model, recipe->model_url, issues);
    check_url(app, "/calibration/source", qd_source_url(recipe->calibration_source), issues);
    check_url(app, "/evaluation/text", qd_source_url(recipe->evaluation_text), issues);
    for (size_t i = 0; i < recipe->task_count; i++) {
        char pointer[40];
        snprintf(pointer, sizeof pointer, "/evaluation/tasks/%zu/data", i);
        check_url(app, pointer, recipe->tasks[i].data, issues);
    }
    for (size_t i = 0; i < recipe->evaluation_also.count; i++) {
        char pointer[40];
        snprintf(pointer, sizeof pointer, "/evaluation/also/%zu", i);
        check_url(app, pointer, recipe->evaluation_also.items[i].url, issues);
    }
    qd_service_check_destinations(app->service, recipe, body, issues);
    return issues->count == 0 ? QD_OK : qd_fail(err, QD_EINVAL, "%s", issues->items[0].detail);
}

static void recipe_fini(qd_recipe **recipe)
{
    qd_recipe_destroy(*recipe);
}

/* The answer to a job just made, as it is kept: {"etag":..,"job":..}. */
static char *print_answer(const qd_job *job)
{
    char etag[QD_ETAG_LENGTH];
    qd_job_etag(job, etag);
    QD_AUTO(qd_json_fini) json_t *answer = json_pack("{s:s, s:o}", "etag", etag, "job", qd_job_print(job));
    return answer == NULL ? NULL : qd_json_print(answer);
}

static qd_code reply_answer(const char *answer, qd_reply *reply, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *kept = NULL;
    qd_code code = qd_json_parse_object(answer, strlen(answer), ANSWER_DEPTH, &kept, err);
    json_t *job = json_object_get(kept, "job");
    if (code == QD_OK)
        code = qd_reply_json_take(reply, 202, json_incref(job), err);
    if (code != QD_OK)
        return code;
    qd_reply_header_set(reply, "ETag", "%s", json_string_value(json_object_get(kept, "etag")));
    qd_reply_header_set(reply, "Location", "/jobs/%s", json_string_value(json_object_get(job, "id")));
    return QD_OK;
}

static qd_code submit(const qd_app *app, const qd_request *request, qd_once *once, const json_t *body, qd_reply *reply,
                      qd_error *err)
{
    QD_AUTO(recipe_fini) qd_recipe *recipe = NULL;
    qd_issues issues = { 0 };
    char id[QD_JOB_ID];
    qd_code code = qd_recipe_parse(body, &recipe, &issues, err);
    if (code == QD_OK)
        code = check_urls(app, body, recipe, &issues, err);
    if (code == QD_EINVAL)
        return reply_invalid(reply, request, &issues, err);
    const qd_submission submission = {
        .recipe = recipe, .request = body, .caller = &request->caller, .issues = &issues, .once = once
    };
    if (code == QD_OK)
        code = qd_service_submit(app->service, &submission, id, err);
    if (code == QD_EINVAL)
        return reply_invalid(reply, request, &issues, err);
    if (code == QD_OK && once != NULL)
        return reply_answer(once->answer, reply, err);
    if (code == QD_OK)
        code = qd_reply_job(app, id, 202, reply, err);
    if (code == QD_OK)
        qd_reply_header_set(reply, "Location", "/jobs/%s", id);
    return code;
}

static qd_code read_and_submit(const qd_app *app, const qd_request *request, qd_once *once, qd_reply *reply,
                               qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *body = NULL;
    qd_code code = qd_body_parse(request, &body, err);
    if (code == QD_EFORMAT || code == QD_EINVAL) {
        reply_not_json(reply, request, err);
        return QD_OK;
    }
    return code == QD_OK ? submit(app, request, once, body, reply, err) : code;
}

/* Only what was accepted is kept: after a refusal the same key may come with a better body, after 429 with the same. */
static qd_code submit_once(const qd_app *app, const qd_request *request, const char *key, qd_reply *reply,
                           qd_error *err)
{
    QD_AUTO(qd_once_fini) qd_once once = { .print = print_answer };
    qd_code code = qd_once_begin(app->service, &once, &request->caller, key, qd_str_borrow(&request->body),
                                 request->body.length, err);
    if (code == QD_EINVAL || code == QD_ECONFLICT) {
        qd_reply_problem(reply, request, code == QD_EINVAL ? QD_PROBLEM_KEY_REUSED : QD_PROBLEM_UNDER_WAY, NULL, "%s",
                         err->text);
        return QD_OK;
    }
    if (code != QD_OK)
        return code;
    if (once.answer == NULL)
        code = read_and_submit(app, request, &once, reply, err);
    else {
        code = reply_answer(once.answer, reply, err);
        qd_reply_header_set(reply, "Idempotent-Replayed", "true");
    }
    qd_once_end(app->service, &once);
    return code;
}

qd_code qd_post_job(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    const char *key = request->headers[QD_IDEMPOTENCY_KEY];
    bool dry = false;
    if (qd_target_flag(&request->target, "dry_run", &dry, err) != QD_OK) {
        qd_reply_problem(reply, request, QD_PROBLEM_BAD_REQUEST, NULL, "%s", err->text);
        return QD_OK;
    }
    if (dry)
        return qd_plan_job(app, request, reply, err); /* makes nothing: a key has nothing to guard */
    if (key == NULL)
        return read_and_submit(app, request, NULL, reply, err);
    if (qd_once_key_ok(key))
        return submit_once(app, request, key, reply, err);
    qd_reply_problem(reply, request, QD_PROBLEM_BAD_REQUEST, NULL,
                     "Idempotency-Key: a key is 1 to %d visible ASCII characters; a UUID is a good one",
                     (int)QD_ONCE_KEY_MAX);
    return QD_OK;
}

qd_code qd_cancel_job(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    qd_code code = qd_service_cancel(app->service, &request->caller, request->job, err);
    return code == QD_OK ? qd_reply_job(app, request->job, 202, reply, err) : code;
}

/* What curl -d sends by itself counts as nothing. */
static bool is_patch_type(const char *type)
{
    static const char *const types[] = { "application/json", "application/merge-patch+json",
                                         "application/x-www-form-urlencoded" };
    size_t length = type == NULL ? 0 : strcspn(type, "; \t");
    for (size_t i = 0; i < QD_LENGTH(types); i++)
        if (strlen(types[i]) == length && strncasecmp(type, types[i], length) == 0)
            return true;
    return type == NULL;
}

qd_code qd_patch_job(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *changes = NULL;
    qd_issues issues = { 0 };
    if (!is_patch_type(request->headers[QD_CONTENT_TYPE])) {
        qd_reply_problem(reply, request, QD_PROBLEM_MEDIA_TYPE, NULL,
                         "Content-Type: '%.60s' is not application/merge-patch+json or application/json",
                         request->headers[QD_CONTENT_TYPE]);
        qd_reply_header_set(reply, "Accept-Patch", "application/merge-patch+json, application/json");
        return QD_OK;
    }
    qd_code code = qd_body_parse(request, &changes, err);
    if (code == QD_EFORMAT || code == QD_EINVAL) {
        reply_not_json(reply, request, err);
        return QD_OK;
    }
    const qd_amendment amendment = { changes, qd_if_match, request->headers[QD_IF_MATCH] };
    if (code == QD_OK)
        code = qd_service_amend(app->service, &request->caller, request->job, &amendment, &issues, err);
    if (code == QD_EINVAL)
        return reply_invalid(reply, request, &issues, err);
    if (code == QD_ECONFLICT) {
        qd_reply_problem(reply, request, QD_PROBLEM_PRECONDITION, NULL, "%s", err->text);
        return QD_OK;
    }
    return code == QD_OK ? qd_reply_job(app, request->job, 200, reply, err) : code;
}

qd_code qd_retry_job(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *changes = NULL;
    qd_issues issues = { 0 };
    qd_code code = QD_OK;
    if (request->body.length > 0)
        code = qd_body_parse(request, &changes, err);
    if (code == QD_EFORMAT || code == QD_EINVAL) {
        reply_not_json(reply, request, err);
        return QD_OK;
    }
    if (code == QD_OK)
        code = qd_service_retry(app->service, &request->caller, request->job, changes, &issues, err);
    if (code == QD_EINVAL)
        return reply_invalid(reply, request, &issues, err);
    return code == QD_OK ? qd_reply_job(app, request->job, 202, reply, err) : code;
}

qd_code qd_delete_job(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    qd_code code = qd_service_delete(app->service, &request->caller, request->job, err);
    if (code == QD_OK)
        reply->status = 204;
    return code;
}
