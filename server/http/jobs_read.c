/* jobs_read.c: GET of jobs, their layers and certificates. */
#include <stdlib.h>
#include <string.h>

#include "api/job_json.h"
#include "http/handlers.h"
#include "http/number.h"
#include "http/problem.h"
#include "http/validator.h"
#include "jobs/ident.h"

enum { LIMIT_DEFAULT = 50, LIMIT_MAX = 200 };

qd_code qd_reply_job(const qd_app *app, const char *id, unsigned status, qd_reply *reply, qd_error *err)
{
    QD_AUTO(qd_job_fini) qd_job job = { 0 };
    char etag[QD_ETAG_LENGTH];
    qd_code code = qd_service_get(app->service, id, &job, err);
    if (code == QD_OK)
        code = qd_reply_json_take(reply, status, qd_job_print(&job), err);
    if (code != QD_OK)
        return code;
    qd_job_etag(&job, etag);
    qd_reply_header_set(reply, "ETag", "%s", etag);
    return QD_OK;
}

qd_code qd_get_job(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    qd_code code = qd_reply_job(app, request->job, 200, reply, err);
    return code == QD_OK ? qd_reply_validate(reply, request, err) : code;
}

static qd_code check_state(const char *state, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str known = { 0 };
    for (size_t i = 0; state != NULL && qd_state_name(i) != NULL; i++) {
        if (strcmp(qd_state_name(i), state) == 0)
            return QD_OK;
        qd_str_addf(&known, "%s%s", i > 0 ? ", " : "", qd_state_name(i));
    }
    return state == NULL ? QD_OK : qd_fail(err, QD_EINVAL, "state: '%.60s' is not in %s", state, qd_str_borrow(&known));
}

/* ?tag=key:value, or ?tag=key for any value. */
static qd_code split_tag(char *tag, qd_job_filter *filter, qd_error *err)
{
    char *colon = strchr(tag, ':');
    if (colon == tag)
        return qd_fail(err, QD_EINVAL, "tag: '%.60s' has no key; write tag=KEY or tag=KEY:VALUE", tag);
    if (colon != NULL)
        *colon = '\0';
    filter->tag_key = tag;
    filter->tag_value = colon == NULL ? NULL : colon + 1;
    return QD_OK;
}

static qd_code read_filter(const qd_target *target, char **out_tag, qd_job_filter *filter, qd_error *err)
{
    uint64_t limit = LIMIT_DEFAULT;
    const char *tag = qd_target_parameter(target, "tag");
    filter->state = qd_target_parameter(target, "state");
    filter->cursor = qd_target_parameter(target, "cursor");
    qd_code code = qd_number_read("limit", qd_target_parameter(target, "limit"), 1, LIMIT_MAX, &limit, err);
    filter->limit = limit;
    if (code == QD_OK)
        code = check_state(filter->state, err);
    if (code == QD_OK && filter->cursor != NULL && !qd_ident_ok(filter->cursor))
        code = qd_fail(err, QD_EINVAL, "cursor: '%.60s' is not the next_cursor of a page", filter->cursor);
    if (code == QD_OK && tag != NULL) {
        *out_tag = strdup(tag);
        code = *out_tag == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : split_tag(*out_tag, filter, err);
    }
    return code;
}

qd_code qd_list_jobs(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *tag = NULL;
    qd_job_filter filter = { 0 };
    qd_job *jobs = NULL;
    size_t count = 0;
    bool has_more = false;
    if (read_filter(&request->target, &tag, &filter, err) != QD_OK) {
        qd_reply_problem(reply, request, QD_PROBLEM_BAD_REQUEST, NULL, "%s", err->text);
        return QD_OK;
    }
    qd_code code = qd_service_list(app->service, &filter, &jobs, &count, &has_more, err);
    if (code == QD_OK)
        code = qd_reply_json_take(reply, 200, qd_job_page_print(jobs, count, has_more), err);
    if (code == QD_OK)
        code = qd_reply_validate(reply, request, err);
    for (size_t i = 0; i < count; i++)
        qd_job_fini(&jobs[i]);
    free(jobs);
    return code;
}

qd_code qd_get_layers(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    json_t *layers = NULL;
    qd_code code = qd_service_layers(app->service, request->job, &layers, err);
    if (code == QD_OK)
        code = qd_reply_json_take(reply, 200, qd_list_print_take(layers), err);
    return code == QD_OK ? qd_reply_validate(reply, request, err) : code;
}

qd_code qd_get_certificate(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    json_t *document = NULL;
    qd_code code = qd_service_certificate(app->service, request->job, &document, err);
    if (code == QD_OK)
        code = qd_reply_json_take(reply, 200, document, err);
    return code == QD_OK ? qd_reply_validate(reply, request, err) : code;
}
