/* policy.h: which addresses a download may connect to.
 * Room: server/fetch. May use: base. Judges numbers after name resolution, so no spelling or DNS answer gets around it.
 * Threads: read-only after init.
 * Source: server.md §3 (egress); IANA special-purpose registries named at the tables. */
#ifndef QD_FETCH_POLICY_H
#define QD_FETCH_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"

typedef enum qd_family { QD_IPV4, QD_IPV6 } qd_family;

/* A network: the first `bits` of `bytes` (4 or 16 of them, network order). An address is a network of all bits. */
typedef struct qd_net {
    qd_family family;
    uint8_t bytes[16];
    unsigned bits;
} qd_net;

/* "10.0.0.0/8", "fd00::/8", or an address alone. QD_EINVAL also when bits beyond the prefix are set. */
qd_code qd_net_parse(const char *text, qd_net *out, qd_error *err);
/* QD_EUNSUPPORTED for other families. */
qd_code qd_net_of_sockaddr(const struct sockaddr *address, qd_net *out, qd_error *err);

/* Is the address (or network) in the network? */
bool qd_net_contains(const qd_net *net, const qd_net *address);

typedef struct qd_address_policy {
    qd_net *allowed; /* from allow_net */
    size_t count;
} qd_address_policy;

qd_code qd_address_policy_init(qd_address_policy *policy, const char *const *cidrs, qd_error *err);
void qd_address_policy_fini(qd_address_policy *policy);

/* PUBLIC: reachable for everybody; ALLOWED: the operator opened it; else BLOCKED, with *out_reason a constant word or
 * two. */
typedef enum qd_verdict { QD_ADDRESS_BLOCKED, QD_ADDRESS_PUBLIC, QD_ADDRESS_ALLOWED } qd_verdict;
qd_verdict qd_address_judge(const qd_address_policy *policy, const qd_net *address, const char **out_reason);

/* A host that is a number in any spelling that a C library takes ("0x7f.1", "2130706433", "[::1]"): true and the
 * address. */
typedef enum qd_literal { QD_NOT_LITERAL, QD_LITERAL } qd_literal;
qd_literal qd_host_literal(const char *host, qd_net *out);

enum { QD_ADDRESS_TEXT = 48 };
void qd_net_text(const qd_net *address, char out[QD_ADDRESS_TEXT]);

#endif
