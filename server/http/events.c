/* events.c: GET /jobs/{id}/events: a stream for those who ask for one, a JSON list for the others. */
#define _GNU_SOURCE /* strcasestr */
#include <stdio.h>
#include <string.h>

#include "api/job_json.h"
#include "http/handlers.h"
#include "http/number.h"
#include "http/problem.h"

enum { LIMIT_DEFAULT = 5000, LIMIT_MAX = 10000 };

/* Accept is a list of types; a stream is wanted when it is named at all (clients of streams name nothing else). */
static bool wants_stream(const qd_request *request)
{
    const char *accept = request->headers[QD_ACCEPT];
    return accept != NULL && strcasestr(accept, "text/event-stream") != NULL;
}

/* A browser that reconnects repeats its URL: the header, being newer, wins over ?after=. */
static qd_code read_position(const qd_request *request, uint64_t *out_after, uint64_t *out_limit, qd_error *err)
{
    const uint64_t top = INT64_MAX;
    const char *last = request->headers[QD_LAST_EVENT_ID];
    qd_code code = qd_number_read("after", qd_target_parameter(&request->target, "after"), 0, top, out_after, err);
    if (code == QD_OK && last != NULL && last[0] != '\0')
        code = qd_number_read("Last-Event-ID", last, 0, top, out_after, err);
    if (code == QD_OK)
        code = qd_number_read("limit", qd_target_parameter(&request->target, "limit"), 1, LIMIT_MAX, out_limit, err);
    return code;
}

static qd_code start_stream(const qd_app *app, const qd_request *request, uint64_t after, qd_reply *reply,
                            qd_error *err)
{
    QD_AUTO(qd_job_fini) qd_job job = { 0 };
    qd_code code = qd_service_get(app->service, request->job, &job, err);
    if (code != QD_OK)
        return code;
    reply->status = 200;
    reply->content_type = "text/event-stream; charset=utf-8";
    reply->payload = QD_PAYLOAD_EVENTS;
    reply->after = after;
    snprintf(reply->job, sizeof reply->job, "%s", request->job);
    qd_reply_header_set(reply, "Vary", "Accept");
    qd_reply_header_set(reply, "X-Accel-Buffering", "no");
    qd_reply_header_set(reply, "Connection", "close");
    return QD_OK;
}

qd_code qd_get_events(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    uint64_t after = 0, limit = LIMIT_DEFAULT;
    json_t *events = NULL;
    if (read_position(request, &after, &limit, err) != QD_OK) {
        qd_reply_problem(reply, request, QD_PROBLEM_BAD_REQUEST, NULL, "%s", err->text);
        return QD_OK;
    }
    if (wants_stream(request))
        return start_stream(app, request, after, reply, err);
    qd_code code = qd_service_events(app->service, request->job, after, limit + 1, &events, err);
    if (code == QD_OK)
        code = qd_reply_json_take(reply, 200, qd_event_page_print_take(events, limit), err);
    if (code == QD_OK)
        qd_reply_header_set(reply, "Vary", "Accept");
    return code;
}
