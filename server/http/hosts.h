/* hosts.h: which names of this service a request may use in Host, and which origins are its own pages.
 * Room: server/http. May use: base, fetch (addresses). Never: MHD.
 * Threads: any. */
#ifndef QD_HTTP_HOSTS_H
#define QD_HTTP_HOSTS_H

#include <stdbool.h>

/* A page of another site can make its own name resolve to this machine (DNS rebinding); Host is what gives it away. Fine are
 * loopback names and addresses, the listen address, the names of the operator ("name" with any port, "name:port" with that
 * one), and, where every address is listened on, addresses as such: no name was resolved to get to one. */
bool qd_host_allowed(const char *host, const char *listen_host, const char *const *names);

/* "localhost", an address of 127.0.0.0/8, or ::1, plain or mapped. */
bool qd_host_is_loopback(const char *name);

typedef enum qd_scheme { QD_SCHEME_ANY, QD_SCHEME_HTTPS } qd_scheme;
/* "http://host:port" against Host: "host:port". With TLS of our own only https is ours; without, a proxy may speak it. */
bool qd_origin_same(const char *origin, const char *host, qd_scheme scheme);

#endif
