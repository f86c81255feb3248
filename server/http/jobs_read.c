/* jobs_read.c: GET of jobs, their layers and certificates. */
#include "api/job_json.h"
#include "http/handlers.h"
#include "http/validator.h"

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
