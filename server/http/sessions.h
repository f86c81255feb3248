/* sessions.h: logins of the dashboard: a random word in a cookie stands for a key that was shown once.
 * Room: server/http. May use: base, jobs. Never: MHD.
 * Threads: any. Sessions live in memory: they end with the service. */
#ifndef QD_HTTP_SESSIONS_H
#define QD_HTTP_SESSIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "jobs/ident.h"

enum { QD_SESSION_TEXT = 41 }; /* 160 bits as hex digits, and NUL */
extern const char qd_session_cookie[];

typedef struct qd_sessions qd_sessions;
/* At most `limit` at once, `each` of one key, `seconds` long; beyond, the oldest ends. */
qd_code qd_sessions_create(size_t limit, size_t each, double seconds, qd_sessions **out, qd_error *err);
void qd_sessions_destroy(qd_sessions *sessions); /* NULL is fine */

qd_code qd_sessions_begin(qd_sessions *sessions, const char *key_id, char out_text[QD_SESSION_TEXT], qd_error *err);
/* The key of a session; false: there is no such session any more. */
bool qd_sessions_find(qd_sessions *sessions, const char *text, char out_key_id[QD_JOB_ID]);
void qd_sessions_end(qd_sessions *sessions, const char *text);

/* The session's word in a Cookie header; false: there is none that could be one. */
bool qd_session_of_cookie(const char *cookie, char out_text[QD_SESSION_TEXT]);

#endif
