/* keys.c: API keys and the audit, for those with scope admin. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/job_json.h"
#include "api/key_json.h"
#include "base/json.h"
#include "engine/recipe_issues.h"
#include "http/handlers.h"
#include "http/number.h"
#include "http/problem.h"
#include "jobs/keys.h"

enum { BODY_DEPTH = 4, LIMIT_DEFAULT = 100, LIMIT_MAX = 1000 };

qd_code qd_list_keys(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    QD_AUTO(qd_free_pointer) qd_key *keys = NULL;
    size_t count = 0;
    (void)request;
    qd_code code = qd_keyring_list(qd_service_keyring(app->service), &keys, &count, err);
    if (code != QD_OK)
        return code;
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, qd_key_print(&keys[i], NULL));
    return qd_reply_json_take(reply, 200, qd_list_print_take(list), err);
}

static qd_code make(const qd_app *app, const qd_request *request, const qd_key_wish *wish, qd_issues *issues,
                    qd_reply *reply, qd_error *err)
{
    char text[QD_KEY_TEXT];
    qd_key key;
    qd_code code = qd_keyring_make(qd_service_keyring(app->service), &request->caller, wish, text, &key, err);
    if (code == QD_EINVAL) /* its name: the rest was judged where it was read */
        qd_complain(issues, "/name", "%s", err->text);
    if (code == QD_OK)
        code = qd_reply_json_take(reply, 201, qd_key_print(&key, text), err);
    explicit_bzero(text, sizeof text);
    return code;
}

qd_code qd_post_key(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *body = NULL;
    qd_key_wish wish = { 0 };
    qd_issues issues = { 0 };
    qd_code code = qd_json_parse_object(qd_str_borrow(&request->body), request->body.length, BODY_DEPTH, &body, err);
    if (code == QD_EFORMAT || code == QD_EINVAL) {
        qd_reply_problem(reply, request, QD_PROBLEM_NOT_JSON, NULL, "%s", err->text);
        return QD_OK;
    }
    if (code == QD_OK)
        code = qd_key_wish_parse(body, &wish, &issues, err);
    if (code == QD_OK)
        code = make(app, request, &wish, &issues, reply, err);
    if (code != QD_EINVAL)
        return code;
    qd_reply_problem(reply, request, QD_PROBLEM_INVALID_KEY, &issues, "%s", err->text);
    return QD_OK;
}

qd_code qd_delete_key(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    qd_code code = qd_keyring_revoke(qd_service_keyring(app->service), &request->caller, request->job, err);
    if (code == QD_OK)
        reply->status = 204;
    return code;
}

static qd_code check_action(const char *action, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str known = { 0 };
    for (size_t i = 0; action != NULL && qd_audit_word(i) != NULL; i++) {
        if (strcmp(qd_audit_word(i), action) == 0)
            return QD_OK;
        qd_str_addf(&known, "%s%s", i > 0 ? ", " : "", qd_audit_word(i));
    }
    return action == NULL ? QD_OK
                          : qd_fail(err, QD_EINVAL, "action: '%.60s' is not in %s", action, qd_str_borrow(&known));
}

static qd_code read_filter(const qd_target *target, qd_audit_filter *filter, qd_error *err)
{
    uint64_t limit = LIMIT_DEFAULT;
    filter->action = qd_target_parameter(target, "action");
    filter->target = qd_target_parameter(target, "target");
    qd_code code = qd_number_read("after", qd_target_parameter(target, "after"), 0, INT64_MAX, &filter->after, err);
    if (code == QD_OK)
        code = qd_number_read("limit", qd_target_parameter(target, "limit"), 1, LIMIT_MAX, &limit, err);
    filter->limit = limit;
    return code == QD_OK ? check_action(filter->action, err) : code;
}

qd_code qd_list_audit(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    qd_audit_filter filter = { 0 };
    json_t *rows = NULL;
    if (read_filter(&request->target, &filter, err) != QD_OK) {
        qd_reply_problem(reply, request, QD_PROBLEM_BAD_REQUEST, NULL, "%s", err->text);
        return QD_OK;
    }
    size_t limit = filter.limit++; /* one more tells whether there is more */
    qd_code code = qd_keyring_audit(qd_service_keyring(app->service), &filter, &rows, err);
    return code == QD_OK ? qd_reply_json_take(reply, 200, qd_event_page_print_take(rows, limit), err) : code;
}
