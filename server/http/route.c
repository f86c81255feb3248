/* route.c: see route.h. */
#include "http/route.h"

#include <string.h>

#include "http/problem.h"
#include "jobs/ident.h"

bool qd_route_match(const char *pattern, const char *path, const char **out_id, size_t *out_id_length,
                    const char **out_rest)
{
    const char *id = NULL, *rest = NULL;
    size_t id_length = 0;
    while (*pattern != '\0') {
        if (strncmp(pattern, "{id}", 4) == 0) {
            id = path;
            id_length = strcspn(path, "/");
            if (id_length == 0)
                return false;
            pattern += 4;
            path += id_length;
        } else if (strcmp(pattern, "{path}") == 0) {
            *out_id = id;
            *out_id_length = id_length;
            *out_rest = path;
            return *path != '\0';
        } else if (*pattern == '{') {
            rest = path;
            pattern += strcspn(pattern, "}") + 1;
            path += strcspn(path, "/");
            if (path == rest)
                return false;
        } else if (*pattern++ != *path++)
            return false;
    }
    if (*path != '\0')
        return false;
    *out_id = id;
    *out_id_length = id_length;
    *out_rest = rest;
    return true;
}

static void refuse_path(const qd_request *request, const char *method_name, const bool *allowed, qd_reply *reply)
{
    QD_AUTO(qd_str_fini) qd_str allow = { 0 };
    for (size_t i = 0; i < QD_METHOD_COUNT; i++)
        if (allowed[i])
            qd_str_addf(&allow, "%s%s%s", allow.length > 0 ? ", " : "", qd_method_name(i), i == QD_GET ? ", HEAD" : "");
    if (allow.length == 0) {
        qd_reply_problem(reply, request, QD_PROBLEM_NOT_FOUND, NULL,
                         "no resource has the path '%.200s'; all paths: /openapi.json", request->target.path);
        return;
    }
    qd_reply_problem(reply, request, QD_PROBLEM_METHOD, NULL, "'%.200s' has no method %.20s; it has %s",
                     request->target.path, method_name, qd_str_borrow(&allow));
    qd_reply_header_set(reply, "Allow", "%s", qd_str_borrow(&allow));
}

static bool holds(const char *const *names, const char *name)
{
    for (size_t i = 0; names != NULL && names[i] != NULL; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static bool given_before(const qd_target *target, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (strcmp(target->parameters[i].name, target->parameters[index].name) == 0)
            return true;
    return false;
}

static bool parameters_ok(const qd_route *route, const qd_request *request, qd_reply *reply)
{
    for (size_t i = 0; i < request->target.parameter_count; i++) {
        const char *name = request->target.parameters[i].name;
        if (holds(route->parameters, name) && !qd_route_repeats(route, name) && given_before(&request->target, i)) {
            qd_reply_problem(reply, request, QD_PROBLEM_BAD_REQUEST, NULL, "query parameter '%.60s' is given twice",
                             name);
            return false;
        }
        if (holds(route->parameters, name))
            continue;
        QD_AUTO(qd_str_fini) qd_str known = { 0 };
        for (size_t k = 0; route->parameters != NULL && route->parameters[k] != NULL; k++)
            qd_str_addf(&known, "%s%s", k > 0 ? ", " : "", route->parameters[k]);
        qd_reply_problem(reply, request, QD_PROBLEM_BAD_REQUEST, NULL,
                         "unknown query parameter '%.60s'; allowed here: %s", name,
                         known.length == 0 ? "none" : qd_str_borrow(&known));
        return false;
    }
    return true;
}

static bool take_id(qd_request *request, const char *id, size_t length, qd_reply *reply)
{
    if (id == NULL)
        return true;
    if (length < sizeof request->job) {
        memcpy(request->job, id, length);
        request->job[length] = '\0';
        if (qd_ident_ok(request->job))
            return true;
    }
    qd_reply_problem(reply, request, QD_PROBLEM_NOT_FOUND, NULL,
                     "'%.*s' is no id: ids are 26 letters and digits, all lower case", (int)(length < 60 ? length : 60),
                     id);
    return false;
}

const qd_route *qd_route_find(qd_request *request, const char *method_name, qd_reply *reply)
{
    bool allowed[QD_METHOD_COUNT] = { false };
    const qd_route *route;
    for (size_t i = 0; (route = qd_route_at(i)) != NULL; i++) {
        const char *id, *rest;
        size_t id_length;
        if (!qd_route_match(route->pattern, request->target.path, &id, &id_length, &rest))
            continue;
        allowed[route->method] = true;
        if (route->method != request->method)
            continue;
        request->rest = rest;
        return take_id(request, id, id_length, reply) && parameters_ok(route, request, reply) ? route : NULL;
    }
    refuse_path(request, method_name, allowed, reply);
    return NULL;
}

qd_code qd_route_run(const qd_route *route, const qd_app *app, const qd_request *request, qd_reply *reply,
                     qd_error *err)
{
    qd_code code = route->handle(app, request, reply, err);
    if (code != QD_OK)
        qd_reply_failure(reply, request, code, err);
    return code;
}
