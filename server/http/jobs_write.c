/* jobs_write.c: creating, cancelling, retrying and deleting jobs. Every answer leaves after the commit. */
#include <stdio.h>

#include "base/json.h"
#include "http/handlers.h"
#include "http/problem.h"

enum { BODY_DEPTH = 16 };

static void add_issue(qd_issues *issues, const char *pointer, const qd_error *err)
{
    if (issues->count == QD_ISSUES_MAX)
        return;
    qd_issue *issue = &issues->items[issues->count++];
    snprintf(issue->pointer, sizeof issue->pointer, "%s", pointer);
    snprintf(issue->detail, sizeof issue->detail, "%.*s", (int)sizeof issue->detail - 1, err->text);
}

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
        add_issue(issues, pointer, &why);
}

/* Every URL the job names, before anything is queued; err has the first finding. */
static qd_code check_urls(const qd_app *app, const json_t *body, const qd_recipe *recipe, qd_issues *issues,
                          qd_error *err)
{
    const char *model = json_is_string(json_object_get(body, "model")) ? "/model" : "/model/url";
    check_url(app, model, recipe->model_url, issues);
    check_url(app, "/calibration/source", recipe->calibration_source, issues);
    check_url(app, "/evaluation/text", recipe->evaluation_text, issues);
    qd_service_check_destinations(app->service, recipe, body, issues);
    return issues->count == 0 ? QD_OK : qd_fail(err, QD_EINVAL, "%s", issues->items[0].detail);
}

static void recipe_fini(qd_recipe **recipe)
{
    qd_recipe_destroy(*recipe);
}

static qd_code submit(const qd_app *app, const qd_request *request, const json_t *body, qd_reply *reply, qd_error *err)
{
    QD_AUTO(recipe_fini) qd_recipe *recipe = NULL;
    qd_issues issues = { 0 };
    char id[QD_JOB_ID];
    qd_code code = qd_recipe_parse(body, &recipe, &issues, err);
    if (code == QD_OK)
        code = check_urls(app, body, recipe, &issues, err);
    if (code == QD_EINVAL)
        return reply_invalid(reply, request, &issues, err);
    const qd_submission submission = { .recipe = recipe, .request = body, .caller = &request->caller };
    if (code == QD_OK)
        code = qd_service_submit(app->service, &submission, id, err);
    if (code == QD_EINVAL) {
        /* The one thing only the queue knows: neither job nor operator names a text. */
        add_issue(&issues, "/calibration/source", err);
        return reply_invalid(reply, request, &issues, err);
    }
    if (code == QD_OK)
        code = qd_reply_job(app, id, 202, reply, err);
    if (code == QD_OK)
        qd_reply_header_set(reply, "Location", "/jobs/%s", id);
    return code;
}

qd_code qd_post_job(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *body = NULL;
    if (request->headers[QD_IDEMPOTENCY_KEY] != NULL) {
        qd_reply_problem(
            reply, request, QD_PROBLEM_UNSUPPORTED, NULL,
            "Idempotency-Key is not supported yet; leave it out and look for the job by a tag of your own");
        return QD_OK;
    }
    qd_code code = qd_json_parse_object(qd_str_borrow(&request->body), request->body.length, BODY_DEPTH, &body, err);
    if (code == QD_EFORMAT || code == QD_EINVAL) {
        reply_not_json(reply, request, err);
        return QD_OK;
    }
    return code == QD_OK ? submit(app, request, body, reply, err) : code;
}

qd_code qd_cancel_job(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    qd_code code = qd_service_cancel(app->service, &request->caller, request->job, err);
    return code == QD_OK ? qd_reply_job(app, request->job, 202, reply, err) : code;
}

qd_code qd_retry_job(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *changes = NULL;
    qd_issues issues = { 0 };
    qd_code code = QD_OK;
    if (request->body.length > 0)
        code = qd_json_parse_object(qd_str_borrow(&request->body), request->body.length, BODY_DEPTH, &changes, err);
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
