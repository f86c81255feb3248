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

qd_code qd_get_ready(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    if (qd_service_ready(app->service, err) == QD_OK)
        return reply_status("ready", reply, err);
    qd_reply_problem(reply, request, QD_PROBLEM_UNAVAILABLE, NULL, "%s", err->text);
    return QD_OK;
}
