/* compare.c: GET of several jobs side by side. */
#include <string.h>

#include "api/compare_json.h"
#include "http/handlers.h"
#include "http/problem.h"
#include "http/validator.h"
#include "jobs/ident.h"

typedef struct chosen {
    qd_job jobs[QD_COMPARE_MAX];
    size_t count;
} chosen;

static void chosen_fini(chosen *c)
{
    for (size_t i = 0; i < c->count; i++)
        qd_job_fini(&c->jobs[i]);
}

static bool is_chosen(const chosen *c, const char *id)
{
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->jobs[i].id, id) == 0)
            return true;
    return false;
}

static qd_code add(qd_service *service, const char *text, size_t length, chosen *c, qd_error *err)
{
    char id[QD_JOB_ID] = "";
    if (length == sizeof id - 1)
        memcpy(id, text, length);
    if (!qd_ident_ok(id))
        return qd_fail(err, QD_EINVAL, "jobs: '%.*s' is no job's id", (int)(length < 60 ? length : 60), text);
    if (c->count == QD_COMPARE_MAX)
        return qd_fail(err, QD_EINVAL, "jobs: more than %d ids", (int)QD_COMPARE_MAX);
    if (is_chosen(c, id))
        return qd_fail(err, QD_EINVAL, "jobs: '%s' is given twice", id);
    qd_code code = qd_service_get(service, id, &c->jobs[c->count], err);
    c->count += code == QD_OK;
    return code;
}

static qd_code choose(qd_service *service, const char *ids, chosen *c, qd_error *err)
{
    qd_code code = QD_OK;
    while (code == QD_OK && ids != NULL) {
        size_t length = strcspn(ids, ",");
        code = add(service, ids, length, c, err);
        ids = ids[length] == ',' ? ids + length + 1 : NULL;
    }
    return code == QD_OK && c->count < 2
               ? qd_fail(err, QD_EINVAL, "jobs: wanted are 2 to %d ids with commas between", (int)QD_COMPARE_MAX)
               : code;
}

qd_code qd_compare_jobs(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    QD_AUTO(chosen_fini) chosen c = { 0 };
    qd_code code = choose(app->service, qd_target_parameter(&request->target, "jobs"), &c, err);
    if (code == QD_EINVAL) {
        qd_reply_problem(reply, request, QD_PROBLEM_BAD_REQUEST, NULL, "%s", err->text);
        return QD_OK;
    }
    if (code == QD_OK)
        code = qd_reply_json_take(reply, 200, qd_compare_print(c.jobs, c.count), err);
    return code == QD_OK ? qd_reply_validate(reply, request, err) : code;
}
