/* route_table.c: the list of routes. schema/openapi.json holds the same rows. */
#include <assert.h>
#include <string.h>

#include "http/counters.h"
#include "http/handlers.h"

enum { KIBIBYTE = 1 << 10, MEBIBYTE = 1 << 20 };

static const char *const audit_parameters[] = { "after", "limit", "action", "target", NULL };
static const char *const list_parameters[] = { "state",          "tag",   "name",   "q", "created_after",
                                               "created_before", "limit", "cursor", NULL };
static const char *const create_parameters[] = { "dry_run", NULL };
static const char *const compare_parameters[] = { "jobs", NULL };
static const char *const collect_parameters[] = { "dry_run", NULL };
static const char *const event_parameters[] = { "after", "limit", NULL };

/* method, pattern, handler, parameters, body limit, where, scope, summary */
static const qd_route routes[] = {
    { QD_POST, "/jobs", qd_post_job, create_parameters, MEBIBYTE, QD_AWAY, QD_SCOPE_JOBS_WRITE, "Create a job" },
    { QD_GET, "/jobs", qd_list_jobs, list_parameters, 0, QD_AWAY, QD_SCOPE_JOBS_READ, "List jobs, newest first" },
    { QD_GET, "/jobs/{id}", qd_get_job, NULL, 0, QD_INLINE, QD_SCOPE_JOBS_READ, "One job" },
    { QD_PATCH, "/jobs/{id}", qd_patch_job, NULL, MEBIBYTE, QD_AWAY, QD_SCOPE_JOBS_WRITE,
      "Change a job's name, tags or priority" },
    { QD_DELETE, "/jobs/{id}", qd_delete_job, NULL, 0, QD_AWAY, QD_SCOPE_JOBS_WRITE,
      "Delete a finished job and its files" },
    { QD_POST, "/jobs/{id}/cancel", qd_cancel_job, NULL, 0, QD_AWAY, QD_SCOPE_JOBS_WRITE, "Cancel a job" },
    { QD_POST, "/jobs/{id}/retry", qd_retry_job, NULL, MEBIBYTE, QD_AWAY, QD_SCOPE_JOBS_WRITE,
      "Try a job again from its last finished layer" },
    { QD_GET, "/jobs/{id}/layers", qd_get_layers, NULL, 0, QD_AWAY, QD_SCOPE_JOBS_READ,
      "The finished layers with their certificates" },
    { QD_GET, "/jobs/{id}/events", qd_get_events, event_parameters, 0, QD_AWAY, QD_SCOPE_JOBS_READ,
      "The job's events, as a list or a stream" },
    { QD_GET, "/jobs/{id}/artifacts", qd_get_manifest, NULL, 0, QD_AWAY, QD_SCOPE_ARTIFACTS_READ,
      "The manifest of the artifact" },
    { QD_GET, "/jobs/{id}/artifacts/{path}", qd_get_artifact, NULL, 0, QD_AWAY, QD_SCOPE_ARTIFACTS_READ,
      "One file of the artifact" },
    { QD_GET, "/jobs/{id}/artifacts.tar", qd_get_archive, NULL, 0, QD_AWAY, QD_SCOPE_ARTIFACTS_READ,
      "The whole artifact as one tar file" },
    { QD_GET, "/jobs/{id}/certificate", qd_get_certificate, NULL, 0, QD_AWAY, QD_SCOPE_JOBS_READ,
      "The certificate document" },
    { QD_GET, "/jobs/{id}/log", qd_get_log, NULL, 0, QD_AWAY, QD_SCOPE_JOBS_READ, "The run's log" },
    { QD_GET, "/keys", qd_list_keys, NULL, 0, QD_AWAY, QD_SCOPE_ADMIN, "The API keys, without their texts" },
    { QD_POST, "/keys", qd_post_key, NULL, 4 * KIBIBYTE, QD_AWAY, QD_SCOPE_ADMIN, "Make an API key" },
    { QD_DELETE, "/keys/{id}", qd_delete_key, NULL, 0, QD_AWAY, QD_SCOPE_ADMIN, "Revoke an API key" },
    { QD_GET, "/audit", qd_list_audit, audit_parameters, 0, QD_AWAY, QD_SCOPE_ADMIN, "Who changed what, oldest first" },
    { QD_POST, "/session", qd_post_session, NULL, 4 * KIBIBYTE, QD_AWAY, QD_SCOPE_NONE,
      "Log the dashboard in: a key for a cookie" },
    { QD_DELETE, "/session", qd_delete_session, NULL, 0, QD_AWAY, QD_SCOPE_NONE, "Log the dashboard out" },
    { QD_GET, "/compare", qd_compare_jobs, compare_parameters, 0, QD_AWAY, QD_SCOPE_JOBS_READ,
      "Several jobs side by side" },
    { QD_GET, "/jobs/{id}/deliveries", qd_get_deliveries, NULL, 0, QD_AWAY, QD_SCOPE_JOBS_READ,
      "Webhooks and uploads of the job, with their tries" },
    { QD_POST, "/jobs/{id}/deliveries/{delivery}/retry", qd_redeliver, NULL, 0, QD_AWAY, QD_SCOPE_JOBS_WRITE,
      "Send a failed webhook or upload again" },
    { QD_POST, "/admin/collect", qd_post_collect, collect_parameters, 0, QD_AWAY, QD_SCOPE_ADMIN,
      "Remove now what is too old or too much" },
    { QD_GET, "/catalog", qd_get_document, NULL, 0, QD_INLINE, QD_SCOPE_NONE,
      "Every choice a job may make, with its parameters" },
    { QD_GET, "/livez", qd_get_live, NULL, 0, QD_INLINE, QD_SCOPE_NONE, "Is the service alive?" },
    { QD_GET, "/readyz", qd_get_ready, NULL, 0, QD_AWAY, QD_SCOPE_NONE, "Can the service take and run jobs?" },
    { QD_GET, "/metrics", qd_get_metrics, NULL, 0, QD_AWAY, QD_SCOPE_JOBS_READ, "Measurements as Prometheus text" },
    { QD_GET, "/openapi.json", qd_get_document, NULL, 0, QD_INLINE, QD_SCOPE_NONE, "This contract" },
    { QD_GET, "/schema/job.json", qd_get_document, NULL, 0, QD_INLINE, QD_SCOPE_NONE, "JSON Schema of a job request" },
    { QD_GET, "/", qd_get_page, NULL, 0, QD_INLINE, QD_SCOPE_NONE, "The dashboard" },
    { QD_GET, "/app.js", qd_get_document, NULL, 0, QD_INLINE, QD_SCOPE_NONE, "The dashboard's script" },
    { QD_GET, "/compare.js", qd_get_document, NULL, 0, QD_INLINE, QD_SCOPE_NONE,
      "The dashboard's script: one job beside another" },
    { QD_GET, "/form.js", qd_get_document, NULL, 0, QD_INLINE, QD_SCOPE_NONE, "The dashboard's script: a new job" },
    { QD_GET, "/experts.js", qd_get_document, NULL, 0, QD_INLINE, QD_SCOPE_NONE,
      "The dashboard's script: the experts of one job" },
    { QD_GET, "/job.js", qd_get_document, NULL, 0, QD_INLINE, QD_SCOPE_NONE, "The dashboard's script: one job" },
    { QD_GET, "/list.js", qd_get_document, NULL, 0, QD_INLINE, QD_SCOPE_NONE, "The dashboard's script: the jobs" },
    { QD_GET, "/login.js", qd_get_document, NULL, 0, QD_INLINE, QD_SCOPE_NONE, "The dashboard's script: the key" },
    { QD_GET, "/page.js", qd_get_document, NULL, 0, QD_INLINE, QD_SCOPE_NONE,
      "The dashboard's script: what its parts share" },
    { QD_GET, "/style.css", qd_get_document, NULL, 0, QD_INLINE, QD_SCOPE_NONE, "The dashboard's style" },
    { QD_GET, "/icon.svg", qd_get_document, NULL, 0, QD_INLINE, QD_SCOPE_NONE, "The dashboard's icon" },
};

static_assert(QD_LENGTH(routes) < QD_COUNTED_ROUTES, "every route has its counters, and one is left for none");

static const struct repeatable {
    const char *const *parameters; /* of the route */
    const char *name;
} repeatable[] = { { list_parameters, "tag" } };

bool qd_route_repeats(const qd_route *route, const char *parameter)
{
    for (size_t i = 0; i < QD_LENGTH(repeatable); i++)
        if (route->parameters == repeatable[i].parameters && strcmp(repeatable[i].name, parameter) == 0)
            return true;
    return false;
}

const qd_route *qd_route_at(size_t index)
{
    return index < QD_LENGTH(routes) ? &routes[index] : NULL;
}

size_t qd_route_index(const qd_route *route)
{
    return route == NULL ? QD_COUNTED_ROUTES - 1 : (size_t)(route - routes);
}
