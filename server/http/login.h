/* login.h: the answer to whoever shows no key, a wrong one, or one too often.
 * Room: server/http. May use: core, jobs, api. Never: MHD.
 * Threads: any. */
#ifndef QD_HTTP_LOGIN_H
#define QD_HTTP_LOGIN_H

#include "http/route.h"

/* Wrong ones are counted by address. */
typedef enum qd_shown_key { QD_SHOWN_NOTHING, QD_SHOWN_WRONG } qd_shown_key;

/* 401 with WWW-Authenticate; beyond the number of wrong ones that an address has a minute, 429 with Retry-After. false: the
 * latter. */
bool qd_reply_unknown(const qd_app *app, const qd_request *request, qd_reply *reply, const char *why,
                      qd_shown_key shown);
/* Takes one of the requests that the caller's key has a minute; false: there is none left, and the reply is 429. */
bool qd_reply_turn(const qd_app *app, const qd_request *request, const qd_caller *caller, qd_reply *reply);

#endif
