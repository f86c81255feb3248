/* forwarded.h: whose request it is when it came through proxies.
 * Room: server/http. May use: base, fetch (addresses). Never: MHD.
 * Threads: read-only once made. */
#ifndef QD_HTTP_FORWARDED_H
#define QD_HTTP_FORWARDED_H

#include <stdbool.h>
#include <stddef.h>

#include "fetch/policy.h"

typedef struct qd_proxies {
    qd_net *nets;
    size_t count;
} qd_proxies;
/* QD_EINVAL names the CIDR. `cidrs` is NULL-terminated, or NULL. */
qd_code qd_proxies_init(qd_proxies *proxies, const char *const *cidrs, qd_error *err);
void qd_proxies_fini(qd_proxies *proxies);

/* The peer itself unless it is a trusted proxy; then the right-most entry of X-Forwarded-For (or NULL) that is none. Every proxy
 * appends whom it was talking to: what stands further left may be invented, and what is no address ends the search. */
qd_net qd_forwarded_client(const qd_proxies *proxies, const qd_net *peer, const char *forwarded_for);

/* An IPv4 address in IPv6's clothes (::ffff:a.b.c.d) as it is. */
qd_net qd_net_unmapped(const qd_net *address);

#endif
