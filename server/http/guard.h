/* guard.h: how often an address may be wrong about a key.
 * Room: server/http. May use: base, fetch (addresses). Never: MHD.
 * Threads: any.
 *
 * A key has 160 bits, which nobody guesses: the limit is against noise, not for safety. So a right key is never refused for the
 * wrong ones before it: behind a proxy all clients may have one address, and a client with an old key must not lock out the
 * others. */
#ifndef QD_HTTP_GUARD_H
#define QD_HTTP_GUARD_H

#include "base/error.h"

typedef struct qd_guard qd_guard;
qd_code qd_guard_create(unsigned failures_per_minute, qd_guard **out, qd_error *err);
void qd_guard_destroy(qd_guard *guard); /* NULL is fine */

/* One more failure from there (an IPv6 client counts by its /64). 0 = within the limit; else seconds until it is again. */
unsigned qd_guard_failed(qd_guard *guard, const char *address);

#endif
