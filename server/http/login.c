/* login.c: POST and DELETE /session: EventSource cannot set headers, so the dashboard shows its key once and has a cookie. See also
 * login.h. */
#include "http/login.h"

#include <math.h>
#include <strings.h>

#include "base/json.h"
#include "http/guard.h"
#include "http/handlers.h"
#include "http/problem.h"
#include "http/sessions.h"
#include "jobs/keys.h"

enum { BODY_DEPTH = 2 };

bool qd_reply_unknown(const qd_app *app, const qd_request *request, qd_reply *reply, const char *why,
                      qd_shown_key shown)
{
    unsigned wait = shown == QD_SHOWN_WRONG ? qd_guard_failed(app->guard, request->caller.address) : 0;
    if (wait > 0) {
        qd_reply_problem(reply, request, QD_PROBLEM_BUSY, NULL, "too many wrong keys from this address");
        qd_reply_header_set(reply, "Retry-After", "%u", wait);
        return false;
    }
    qd_reply_problem(reply, request, QD_PROBLEM_UNAUTHORIZED, NULL, "%s", why);
    qd_reply_header_set(reply, "WWW-Authenticate", "Bearer realm=\"quantd\"%s",
                        shown == QD_SHOWN_WRONG ? ", error=\"invalid_token\"" : "");
    return true;
}

bool qd_reply_turn(const qd_app *app, const qd_request *request, const qd_caller *caller, qd_reply *reply)
{
    qd_error err;
    double seconds = 0;
    if (qd_keyring_turn(qd_service_keyring(app->service), caller, &seconds, &err) == QD_OK)
        return true;
    qd_reply_problem(reply, request, QD_PROBLEM_BUSY, NULL, "%s", err.text);
    qd_reply_header_set(reply, "Retry-After", "%.0f", ceil(seconds));
    return false;
}

/* Secure where TLS is: ours, or that of a proxy in front, which the page's own origin tells. */
static void set_cookie(const qd_app *app, const qd_request *request, const char *word, unsigned seconds,
                       qd_reply *reply)
{
    const char *origin = request->headers[QD_ORIGIN];
    bool secure = app->scheme == QD_SCHEME_HTTPS || (origin != NULL && strncasecmp(origin, "https://", 8) == 0);
    qd_reply_header_set(reply, "Set-Cookie", "%s=%s; Path=/; Max-Age=%u; HttpOnly; SameSite=Strict%s",
                        qd_session_cookie, word, seconds, secure ? "; Secure" : "");
}

static json_t *print_session(const qd_caller *caller)
{
    json_t *scopes = json_array();
    for (size_t i = 0; qd_scope_bit_name(i) != NULL; i++)
        if ((caller->scopes & (unsigned)qd_scope_bit_at(i)) != 0)
            json_array_append_new(scopes, json_string(qd_scope_bit_name(i)));
    return json_pack("{s:s?, s:o}", "key", caller->key_id[0] == '\0' ? NULL : caller->key_id, "scopes", scopes);
}

/* {"key": "qd_..."} and nothing else. */
static qd_code read_key(const qd_request *request, json_t **out_body, const char **out_key, qd_reply *reply,
                        qd_error *err)
{
    qd_code code = qd_json_parse_object(qd_str_borrow(&request->body), request->body.length, BODY_DEPTH, out_body, err);
    if (code == QD_EFORMAT || code == QD_EINVAL)
        qd_reply_problem(reply, request, QD_PROBLEM_NOT_JSON, NULL, "%s", err->text);
    else if (code == QD_OK) {
        *out_key = json_string_value(json_object_get(*out_body, "key"));
        if (*out_key == NULL || json_object_size(*out_body) != 1)
            qd_reply_problem(reply, request, QD_PROBLEM_INVALID_KEY, NULL, "key: the body is {\"key\": \"qd_...\"}");
    }
    return code == QD_EFORMAT || code == QD_EINVAL ? QD_OK : code;
}

/* The session is there once the audit says so. */
static qd_code begin(const qd_app *app, const qd_request *request, const qd_caller *caller, qd_reply *reply,
                     qd_error *err)
{
    char word[QD_SESSION_TEXT];
    qd_code code = qd_keyring_logged_in(qd_service_keyring(app->service), caller, err);
    if (code == QD_OK)
        code = qd_sessions_begin(app->sessions, caller->key_id, word, err);
    if (code == QD_OK)
        code = qd_reply_json_take(reply, 201, print_session(caller), err);
    if (code == QD_OK)
        set_cookie(app, request, word, QD_SESSION_SECONDS, reply);
    return code;
}

qd_code qd_post_session(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *body = NULL;
    const char *key = NULL;
    qd_caller caller = request->caller;
    qd_code code = read_key(request, &body, &key, reply, err);
    if (code != QD_OK || reply->status != 0)
        return code;
    code = qd_keyring_admit(qd_service_keyring(app->service), key, &caller, err);
    if (code == QD_EDENIED) {
        qd_reply_unknown(app, request, reply, err->text, QD_SHOWN_WRONG);
        return QD_OK;
    }
    if (code == QD_OK && !qd_reply_turn(app, request, &caller, reply))
        return QD_OK;
    return code == QD_OK ? begin(app, request, &caller, reply, err) : code;
}

/* Fine without a session too: what is asked for is that there be none. Only our own pages get here with a cookie: others are
 * stopped by their Origin. */
qd_code qd_delete_session(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    char word[QD_SESSION_TEXT];
    qd_caller caller = request->caller;
    qd_code code = QD_OK;
    if (qd_session_of_cookie(request->headers[QD_COOKIE], word) &&
        qd_sessions_find(app->sessions, word, caller.key_id)) {
        qd_sessions_end(app->sessions, word);
        code = qd_keyring_logged_out(qd_service_keyring(app->service), &caller, err);
    }
    if (code != QD_OK)
        return code;
    reply->status = 204;
    set_cookie(app, request, "", 0, reply);
    return QD_OK;
}
