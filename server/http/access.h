/* access.h: who asks, whether they may, and how often.
 * Room: server/http, private to it. May use: jobs, libmicrohttpd through exchange.h.
 * Threads: those of the connection.
 * Source: api.md "Who may"; server.md §8; RFC 6750. */
#ifndef QD_HTTP_ACCESS_H
#define QD_HTTP_ACCESS_H

#include "http/exchange.h"

/* The peer's address, before anything is read; and once the headers are there, the client's behind trusted proxies. */
void qd_access_address(qd_exchange *exchange);
/* Before the body is read: fills request.caller. false: the reply is the refusal (401, 403, 429). */
bool qd_access_check(qd_exchange *exchange);

#endif
