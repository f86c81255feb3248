/* jobs_list.c: GET of the list of jobs, with its filters. */
#include <stdlib.h>
#include <string.h>

#include "api/job_json.h"
#include "base/mem.h"
#include "base/timestamp.h"
#include "http/handlers.h"
#include "http/number.h"
#include "http/problem.h"
#include "http/validator.h"

enum { LIMIT_DEFAULT = 50, LIMIT_MAX = 200 };

/* What the filter points to. */
typedef struct reading {
    qd_job_filter filter;
    qd_tag_filter tags[QD_PARAMETERS_MAX];
    char *keys[QD_PARAMETERS_MAX]; /* owned: a tag's text, its colon a NUL */
} reading;

static void reading_fini(reading *r)
{
    for (size_t i = 0; i < QD_LENGTH(r->keys); i++)
        free(r->keys[i]);
}

/* ?tag=key:value, or ?tag=key for any value. */
static qd_code add_tag(reading *r, const char *text, qd_error *err)
{
    size_t index = r->filter.tag_count;
    char *colon = strchr(text, ':');
    if (text[0] == '\0' || colon == text)
        return qd_fail(err, QD_EINVAL, "tag: '%.60s' has no key; write tag=KEY or tag=KEY:VALUE", text);
    qd_code code = qd_dup(text, &r->keys[index], err);
    if (code != QD_OK)
        return code;
    colon = strchr(r->keys[index], ':');
    if (colon != NULL)
        *colon++ = '\0';
    r->tags[index] = (qd_tag_filter){ r->keys[index], colon };
    r->filter.tag_count++;
    return QD_OK;
}

static qd_code read_time(const qd_target *target, const char *name, int64_t *out, qd_error *err)
{
    const char *text = qd_target_parameter(target, name);
    if (text == NULL || qd_timestamp_parse(text, out))
        return QD_OK;
    return qd_fail(err, QD_EINVAL, "%s: '%.40s' is not a time such as 2026-11-25T08:00:00Z", name, text);
}

static qd_code read_filter(const qd_target *target, reading *r, qd_error *err)
{
    uint64_t limit = LIMIT_DEFAULT;
    r->filter = (qd_job_filter){ .states = qd_target_parameter(target, "state"),
                                 .tags = r->tags,
                                 .name = qd_target_parameter(target, "name"),
                                 .words = qd_target_parameter(target, "q"),
                                 .cursor = qd_target_parameter(target, "cursor") };
    qd_code code = qd_number_read("limit", qd_target_parameter(target, "limit"), 1, LIMIT_MAX, &limit, err);
    r->filter.limit = limit;
    for (size_t i = 0; code == QD_OK && i < target->parameter_count; i++)
        if (strcmp(target->parameters[i].name, "tag") == 0)
            code = add_tag(r, target->parameters[i].value, err);
    if (code == QD_OK)
        code = read_time(target, "created_after", &r->filter.created_from_ms, err);
    return code == QD_OK ? read_time(target, "created_before", &r->filter.created_before_ms, err) : code;
}

qd_code qd_list_jobs(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    QD_AUTO(reading_fini) reading r = { 0 };
    qd_job *jobs = NULL;
    size_t count = 0;
    bool has_more = false;
    qd_code code = read_filter(&request->target, &r, err);
    if (code == QD_OK)
        code = qd_service_list(app->service, &r.filter, &jobs, &count, &has_more, err);
    if (code == QD_EINVAL) {
        qd_reply_problem(reply, request, QD_PROBLEM_BAD_REQUEST, NULL, "%s", err->text);
        return QD_OK;
    }
    if (code == QD_OK)
        code = qd_reply_json_take(reply, 200, qd_job_page_print(jobs, count, has_more), err);
    if (code == QD_OK)
        code = qd_reply_validate(reply, request, err);
    for (size_t i = 0; i < count; i++)
        qd_job_fini(&jobs[i]);
    free(jobs);
    return code;
}
