/* deliveries.c: a job's webhooks and uploads, and sending one of them again. */
#include <stdio.h>
#include <string.h>

#include "api/job_json.h"
#include "http/handlers.h"
#include "http/validator.h"

enum { DELIVERY_ID = 40 };

qd_code qd_get_deliveries(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    json_t *deliveries = NULL;
    qd_code code = qd_service_deliveries(app->service, request->job, &deliveries, err);
    if (code == QD_OK)
        code = qd_reply_json_take(reply, 200, qd_list_print_take(deliveries), err);
    return code == QD_OK ? qd_reply_validate(reply, request, err) : code;
}

qd_code qd_redeliver(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    char id[DELIVERY_ID];
    json_t *delivery = NULL;
    int length = (int)strcspn(request->rest, "/");
    if (length >= DELIVERY_ID)
        return qd_fail(err, QD_ENOTFOUND, "job '%s' has no delivery '%.*s'", request->job, DELIVERY_ID, request->rest);
    snprintf(id, sizeof id, "%.*s", length, request->rest);
    qd_code code = qd_service_redeliver(app->service, &request->caller, request->job, id, err);
    if (code == QD_OK)
        code = qd_service_delivery(app->service, request->job, id, &delivery, err);
    return code == QD_OK ? qd_reply_json_take(reply, 202, delivery, err) : code;
}
