/* route.h: the registry of routes: method and path -> handler, with what it takes.
 * Room: server/http. May use: core, jobs, api. Never: MHD. One handler file a resource, one row in route_table.c;
 * schema/openapi.json says the same and a test compares them.
 * Threads: read-only tables; handlers run in any thread of the server, several at once. */
#ifndef QD_HTTP_ROUTE_H
#define QD_HTTP_ROUTE_H

#include "http/hosts.h"
#include "http/message.h"
#include "jobs/service.h"

struct qd_documents;
struct qd_counters;
struct qd_guard;
struct qd_sessions;

enum { QD_SESSION_SECONDS = 12 * 3600 };

/* What handlers are given; read-only but for what is behind the pointers, which any thread may use. */
typedef struct qd_app {
    qd_service *service;
    const struct qd_documents *documents;
    struct qd_counters *counters;
    struct qd_sessions *sessions;
    struct qd_guard *guard;
    qd_scheme scheme; /* https where the service itself speaks TLS */
} qd_app;

/* QD_OK: *reply is the answer. Otherwise it becomes a problem document by the code. */
typedef qd_code (*qd_handler)(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err);

/* Inline handlers run in a thread that serves connections and must not wait; away handlers (commits, searches, files)
 * run in the pool of away.h while their connection sleeps. */
typedef enum qd_where { QD_INLINE, QD_AWAY } qd_where;

typedef struct qd_route {
    qd_method method;
    /* "/jobs/{id}/artifacts/{path}": {id} is one segment, {path} the rest; another name in braces is one segment too, and
     * what begins with it is the rest */
    const char *pattern;
    qd_handler handle;
    const char *const *parameters; /* query parameters it takes, NULL-terminated; NULL = none */
    size_t max_body;               /* bytes; 0 = takes no body */
    qd_where where;
    qd_scope_bit scope; /* what a key must allow, when keys are asked for; QD_SCOPE_NONE = anybody may */
    const char *summary;
} qd_route;
const qd_route *qd_route_at(size_t index); /* NULL past the end */
size_t qd_route_index(const qd_route *route);
/* May this query parameter be given several times? */
bool qd_route_repeats(const qd_route *route, const char *parameter);

/* Does the path match? Then *out_id (not terminated, *out_id_length bytes) and *out_rest point into it, or are NULL. */
bool qd_route_match(const char *pattern, const char *path, const char **out_id, size_t *out_id_length,
                    const char **out_rest);

/* Finds the row for request->method and target.path, fills job and rest. NULL: *reply is the problem (404, 405 with
 * Allow, 400 for a query parameter the row does not take). */
const qd_route *qd_route_find(qd_request *request, const char *method_name, qd_reply *reply);
/* Runs the row's handler; a failure becomes a problem document. Returns the handler's code for the log. */
qd_code qd_route_run(const qd_route *route, const qd_app *app, const qd_request *request, qd_reply *reply,
                     qd_error *err);

#endif
