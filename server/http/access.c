/* access.c: see access.h. No key and no session's word ever gets into a message or the log. */
#include "http/access.h"

#include <string.h>
#include <strings.h>

#include "http/forwarded.h"
#include "http/hosts.h"
#include "http/login.h"
#include "http/problem.h"
#include "http/sessions.h"
#include "jobs/keys.h"

void qd_access_address(qd_exchange *x)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    qd_net peer;
    if (info == NULL || info->client_addr == NULL || qd_net_of_sockaddr(info->client_addr, &peer, NULL) != QD_OK)
        return;
    const qd_net client = qd_forwarded_client(&x->http->proxies, &peer, x->request.headers[QD_FORWARDED_FOR]);
    qd_net_text(&client, x->request.caller.address);
}

/* What was not read of a body would be taken for the next request. */
static bool refuse(qd_exchange *x, atomic_uint_fast64_t *counter)
{
    x->closes = x->request.headers[QD_CONTENT_LENGTH] != NULL || x->request.headers[QD_TRANSFER_ENCODING] != NULL;
    atomic_fetch_add(counter, 1);
    return false;
}

static bool refuse_unknown(qd_exchange *x, const char *why, qd_shown_key shown)
{
    if (qd_reply_unknown(&x->http->app, &x->request, &x->reply, why, shown) && shown == QD_SHOWN_WRONG)
        qd_http_log(x->http, "warn", "http.denied", "request_id=%s address=%s route=%s detail=\"%s\"",
                    x->request.caller.request_id, x->request.caller.address, x->route->pattern, why);
    return refuse(x, x->reply.status == 429 ? &x->http->counters.throttled : &x->http->counters.unauthorized);
}

/* A browser sends a cookie along wherever a page of another site leads it (SameSite keeps most of that back, not all of it): it counts only for
 * our own pages, and for changes only where the browser says so. */
static bool is_own_page(const qd_exchange *x)
{
    const char *site = x->request.headers[QD_SEC_FETCH_SITE], *origin = x->request.headers[QD_ORIGIN];
    bool reads = x->request.method == QD_GET;
    if (site != NULL && strcmp(site, "same-origin") != 0 && (!reads || strcmp(site, "none") != 0))
        return false;
    if (origin == NULL)
        return reads;
    return qd_origin_same(origin, x->request.headers[QD_HOST], x->http->app.scheme);
}

/* "Bearer TEXT"; NULL: some other scheme. */
static const char *bearer_of(const char *authorization)
{
    static const char scheme[] = "Bearer ";
    if (strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
        return NULL;
    return authorization + sizeof scheme - 1 + strspn(authorization + sizeof scheme - 1, " ");
}

static qd_code admit(qd_exchange *x, qd_shown_key *out_shown, qd_error *err)
{
    qd_keyring *keyring = qd_service_keyring(x->http->config.service);
    const char *authorization = x->request.headers[QD_AUTHORIZATION];
    char word[QD_SESSION_TEXT], key_id[QD_JOB_ID];
    *out_shown = QD_SHOWN_WRONG;
    if (authorization != NULL) {
        const char *key = bearer_of(authorization);
        return key == NULL ? qd_fail(err, QD_EDENIED, "Authorization: the scheme is not Bearer")
                           : qd_keyring_admit(keyring, key, &x->request.caller, err);
    }
    *out_shown = QD_SHOWN_NOTHING;
    if (!qd_session_of_cookie(x->request.headers[QD_COOKIE], word))
        return qd_fail(err, QD_EDENIED, "this service asks for a key: Authorization: Bearer qd_...");
    if (!is_own_page(x))
        return qd_fail(err, QD_EDENIED, "a session counts only for pages of this service (Origin, Sec-Fetch-Site)");
    if (!qd_sessions_find(x->http->sessions, word, key_id))
        return qd_fail(err, QD_EDENIED, "the session has ended: log in again");
    return qd_keyring_admit_id(keyring, key_id, &x->request.caller, err);
}

static bool refuse_scope(qd_exchange *x)
{
    char has[QD_SCOPES_TEXT], wants[QD_SCOPES_TEXT];
    qd_scopes_print(x->request.caller.scopes, has);
    qd_scopes_print((unsigned)x->route->scope, wants);
    qd_reply_problem(&x->reply, &x->request, QD_PROBLEM_FORBIDDEN, NULL,
                     "%s %s wants a key with scope %s; this one has %s", x->method_name, x->route->pattern, wants, has);
    qd_reply_header_set(&x->reply, "WWW-Authenticate",
                        "Bearer realm=\"quantd\", error=\"insufficient_scope\", scope=\"%s\"", wants);
    return refuse(x, &x->http->counters.forbidden);
}

static bool take_turn(qd_exchange *x)
{
    return qd_reply_turn(&x->http->app, &x->request, &x->request.caller, &x->reply) ||
           refuse(x, &x->http->counters.throttled);
}

bool qd_access_check(qd_exchange *x)
{
    qd_error err = { 0 };
    bool asks = true;
    qd_shown_key shown = QD_SHOWN_NOTHING;
    if (x->route->scope == QD_SCOPE_NONE)
        return true;
    qd_code code = qd_keyring_asks(qd_service_keyring(x->http->config.service), &asks, &err);
    if (code == QD_OK && !asks) {
        x->request.caller.scopes = QD_SCOPE_ADMIN;
        return true;
    }
    if (code == QD_OK)
        code = admit(x, &shown, &err);
    if (code == QD_EDENIED)
        return refuse_unknown(x, err.text, shown);
    if (code != QD_OK) { /* the database: nobody comes in unseen */
        qd_http_log(x->http, "error", "http.keys", "request_id=%s detail=\"%s\"", x->request.caller.request_id,
                    err.text);
        qd_reply_failure(&x->reply, &x->request, code, &err);
        return refuse(x, &x->http->counters.unauthorized);
    }
    return (qd_caller_may(&x->request.caller, x->route->scope) || refuse_scope(x)) && take_turn(x);
}
