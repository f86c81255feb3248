/* jobs_plan.c: POST /jobs?dry_run=true: what the job would do. */
#include "base/json.h"
#include "http/body.h"
#include "http/handlers.h"
#include "http/problem.h"

static void recipe_fini(qd_recipe **recipe)
{
    qd_recipe_destroy(*recipe);
}

static qd_code plan(const qd_app *app, const qd_request *request, const json_t *body, qd_reply *reply, qd_error *err)
{
    QD_AUTO(recipe_fini) qd_recipe *recipe = NULL;
    qd_issues issues = { 0 };
    json_t *document = NULL;
    qd_code code = qd_recipe_parse(body, &recipe, &issues, err);
    const qd_submission submission = {
        .recipe = recipe, .request = body, .caller = &request->caller, .issues = &issues
    };
    if (code == QD_OK)
        qd_service_check_destinations(app->service, recipe, body, &issues);
    if (code == QD_OK && issues.count > 0)
        code = qd_fail(err, QD_EINVAL, "%s", issues.items[0].detail);
    if (code == QD_OK)
        code = qd_service_plan(app->service, &submission, &document, err);
    if (code == QD_EINVAL || code == QD_EDENIED) {
        qd_reply_problem(reply, request, QD_PROBLEM_INVALID, &issues, "%s", err->text);
        return QD_OK;
    }
    return code == QD_OK ? qd_reply_json_take(reply, 200, document, err) : code;
}

qd_code qd_plan_job(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *body = NULL;
    qd_code code = qd_body_parse(request, &body, err);
    if (code == QD_EFORMAT || code == QD_EINVAL) {
        qd_reply_problem(reply, request, QD_PROBLEM_NOT_JSON, NULL, "%s", err->text);
        return QD_OK;
    }
    return code == QD_OK ? plan(app, request, body, reply, err) : code;
}
