/* problem.c: see problem.h. */
#include "http/problem.h"

#include <stdio.h>

#include "api/problem_json.h"

static const qd_problem_row rows[QD_PROBLEM_KINDS] = {
    [QD_PROBLEM_BAD_REQUEST] = { "bad-request", "The request cannot be understood", 400, 0 },
    [QD_PROBLEM_NOT_JSON] = { "not-json", "The body is not a JSON object", 400, 0 },
    [QD_PROBLEM_UNAUTHORIZED] = { "unauthorized", "A key is needed", 401, 0 },
    [QD_PROBLEM_FORBIDDEN] = { "forbidden", "Not allowed", 403, 0 },
    [QD_PROBLEM_NOT_FOUND] = { "not-found", "No such thing", 404, 0 },
    [QD_PROBLEM_METHOD] = { "method-not-allowed", "The path has no such method", 405, 0 },
    [QD_PROBLEM_CONFLICT] = { "conflict", "Not in this state", 409, 0 },
    [QD_PROBLEM_UNDER_WAY] = { "under-way", "The same request is still under way", 409, 1 },
    [QD_PROBLEM_PRECONDITION] = { "precondition-failed", "The job has changed meanwhile", 412, 0 },
    [QD_PROBLEM_GONE] = { "gone", "It was removed", 410, 0 },
    [QD_PROBLEM_TOO_LARGE] = { "too-large", "The request is too large", 413, 0 },
    [QD_PROBLEM_MEDIA_TYPE] = { "media-type", "The body must be application/json", 415, 0 },
    [QD_PROBLEM_RANGE] = { "range-not-satisfiable", "The range lies outside the file", 416, 0 },
    [QD_PROBLEM_INVALID] = { "invalid-job", "The job is invalid", 422, 0 },
    [QD_PROBLEM_INVALID_KEY] = { "invalid-key", "No key can be like this", 422, 0 },
    [QD_PROBLEM_KEY_REUSED] = { "idempotency-key-reused", "The key belongs to another request", 422, 0 },
    [QD_PROBLEM_BUSY] = { "busy", "Too much at once", 429, 30 },
    [QD_PROBLEM_INTERNAL] = { "internal", "The service failed", 500, 0 },
    [QD_PROBLEM_UNSUPPORTED] = { "unsupported", "Not supported", 501, 0 },
    [QD_PROBLEM_UPSTREAM] = { "upstream", "Another host could not be reached", 502, 0 },
    [QD_PROBLEM_UNAVAILABLE] = { "unavailable", "The service cannot do this now", 503, 5 },
    [QD_PROBLEM_NO_SPACE] = { "no-space", "No room is left", 507, 60 },
};

/* What the client does next decides the status. */
static const qd_problem_kind kinds[] = {
    [QD_OK] = QD_PROBLEM_INTERNAL,
    [QD_EINVAL] = QD_PROBLEM_INVALID,
    [QD_EFORMAT] = QD_PROBLEM_INTERNAL, /* a file of ours: requests are judged where they are read */
    [QD_ESHAPE] = QD_PROBLEM_INVALID,
    [QD_ENUMERIC] = QD_PROBLEM_INVALID,
    [QD_EGATE] = QD_PROBLEM_CONFLICT, /* of a run, never of a request */
    [QD_EUNSUPPORTED] = QD_PROBLEM_INVALID,
    [QD_ENOTFOUND] = QD_PROBLEM_NOT_FOUND,
    [QD_EGONE] = QD_PROBLEM_GONE,
    [QD_ECONFLICT] = QD_PROBLEM_CONFLICT,
    [QD_ETOOBIG] = QD_PROBLEM_TOO_LARGE,
    [QD_EBUSY] = QD_PROBLEM_BUSY,
    [QD_ENOMEM] = QD_PROBLEM_UNAVAILABLE,
    [QD_ENOSPC] = QD_PROBLEM_NO_SPACE,
    [QD_EIO] = QD_PROBLEM_INTERNAL,
    [QD_EDENIED] = QD_PROBLEM_FORBIDDEN,
    [QD_ENETWORK] = QD_PROBLEM_UPSTREAM,
    [QD_ETIMEOUT] = QD_PROBLEM_UNAVAILABLE,
    [QD_ECANCELLED] = QD_PROBLEM_UNAVAILABLE,
    [QD_EINTERNAL] = QD_PROBLEM_INTERNAL,
};

const qd_problem_row *qd_problem_row_at(qd_problem_kind kind)
{
    return kind < QD_PROBLEM_KINDS ? &rows[kind] : NULL;
}

qd_problem_kind qd_problem_kind_of(qd_code code)
{
    return (size_t)code < QD_LENGTH(kinds) ? kinds[code] : QD_PROBLEM_INTERNAL;
}

void qd_reply_problem(qd_reply *reply, const qd_request *request, qd_problem_kind kind, const qd_issues *issues,
                      const char *format, ...)
{
    char detail[sizeof((qd_error *)NULL)->text];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    const qd_problem_row *row = &rows[kind];
    const qd_problem problem = {
        .slug = row->slug,
        .title = row->title,
        .status = row->status,
        .detail = detail,
        .issues = issues,
        .request_id = request->caller.request_id,
        .retry_after = row->retry_after,
    };
    qd_reply_clear(reply);
    if (qd_reply_json_take(reply, row->status, qd_problem_print(&problem), NULL) == QD_OK)
        reply->content_type = "application/problem+json";
    reply->status = row->status;
    if (row->retry_after > 0)
        qd_reply_header_set(reply, "Retry-After", "%u", row->retry_after);
}

void qd_reply_failure(qd_reply *reply, const qd_request *request, qd_code code, const qd_error *err)
{
    qd_problem_kind kind = qd_problem_kind_of(code);
    if (kind == QD_PROBLEM_INTERNAL)
        qd_reply_problem(reply, request, kind, NULL, "the reason is in the service's log under request %s",
                         request->caller.request_id);
    else
        qd_reply_problem(reply, request, kind, NULL, "%s", err->text);
}
