/* server.h: the HTTP service: start, port, stop.
 * Room: server/http. May use: core, jobs, api, libmicrohttpd. The only room that includes microhttpd.h.
 * Threads: start and stop from one thread, and not from a request.
 * Source: api.md, server.md §1. */
#ifndef QD_HTTP_SERVER_H
#define QD_HTTP_SERVER_H

#include <stdint.h>

#include "jobs/service.h"

typedef struct qd_http qd_http;

/* Which Host a request may name: see hosts.h. */
typedef enum qd_hosts { QD_HOSTS_OWN, QD_HOSTS_ANY } qd_hosts;

/* Limits of 0 mean the default in brackets. */
typedef struct qd_http_config {
    const char *host; /* a literal address, or "localhost" */
    uint16_t port;    /* 0 = pick one */
    qd_hosts hosts;
    const char *const *host_names;      /* NULL-terminated, or NULL; borrowed */
    const char *const *trusted_proxies; /* CIDRs, NULL-terminated, or NULL; borrowed */
    const char *tls_cert, *tls_key;     /* PEM files, or NULL = plain http */
    qd_service *service;
    qd_service_log log;
    unsigned connections;             /* at once [8000] */
    unsigned connections_per_address; /* [no limit: behind a proxy every client has the proxy's address] */
    unsigned streams;                 /* event streams at once [2000] */
    unsigned streams_per_address;     /* of one client that is not on this machine [no limit] */
    unsigned downloads;               /* artifact files being sent at once [64] */
    double header_seconds;            /* from connect, or the end of the request before, to the whole header [10] */
    double body_seconds;              /* from header to the whole body [15] */
    double send_seconds;              /* in so long a client must take 16 KB of a reply, or all of it [20] */
    double idle_seconds;              /* a connection that moves nothing [30] */
    double heartbeat_seconds;         /* comment line on an idle event stream [15] */
} qd_http_config;

/* Listens when it returns. QD_EINVAL: host is no address, a proxy no CIDR, tls_cert without tls_key; QD_EIO: the address cannot be bound. */
qd_code qd_http_start(const qd_http_config *config, qd_http **out, qd_error *err);
uint16_t qd_http_port(const qd_http *http);
/* Reads tls_cert and tls_key again: new connections get the new ones. On failure the old ones stay. Nothing to do without TLS. */
qd_code qd_http_reload_tls(qd_http *http, qd_error *err);
/* Before the end: event streams close and no new ones open; everything else is answered as before. */
void qd_http_drain(qd_http *http);
/* A sign of life: a request of our own gets an answer within patience_seconds; else QD_ETIMEOUT. */
qd_code qd_http_beat(const qd_http *http, double patience_seconds, qd_error *err);
/* Refuses new connections, ends event streams, lets replies in flight finish (5 s at most), stops; NULL is fine. */
void qd_http_stop(qd_http *http);

#endif
