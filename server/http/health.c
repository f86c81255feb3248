/* health.c: GET /livez and /readyz. */
#include "http/handlers.h"
#include "http/problem.h"

static qd_code reply_status(const char *word, qd_reply *reply, qd_error *err)
{
    return qd_reply_json_take(reply, 200, json_pack("{s:s}", "status", word), err);
}

/* Alive = a thread that serves connections got here. */
qd_code qd_get_live(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    (void)app;
    (void)request;
    return reply_status("alive", reply, err);
}

/* An operator sees here what a kernel is too old for. */
static json_t *print_confinement(qd_service *service)
{
    qd_service_confinement c;
    qd_service_confinement_read(service, &c);
    return json_pack("{s:s, s:s, s:i, s:b, s:b, s:b, s:s?}", "mode", c.mode, "applied", c.applied, "landlock_abi",
                     c.landlock_abi, "seccomp", c.seccomp, "cgroup", c.cgroup, "by_run", c.by_run, "missing",
                     c.missing[0] == '\0' ? NULL : c.missing);
}

qd_code qd_get_ready(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    if (qd_service_ready(app->service, err) == QD_OK)
        return qd_reply_json_take(
            reply, 200, json_pack("{s:s, s:o}", "status", "ready", "confinement", print_confinement(app->service)),
            err);
    qd_reply_problem(reply, request, QD_PROBLEM_UNAVAILABLE, NULL, "%s", err->text);
    return QD_OK;
}
