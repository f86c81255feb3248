/* exchange.h: one request on its way through the server: intake -> route -> handler -> send.
 * Room: server/http, private to it. May use: libmicrohttpd.
 * Threads: belongs to its connection's thread; while asleep (stage AWAY) to one thread of the pool. */
#ifndef QD_HTTP_EXCHANGE_H
#define QD_HTTP_EXCHANGE_H

#include <microhttpd.h>
#include <stdatomic.h>

#include "http/away.h"
#include "http/counters.h"
#include "http/forwarded.h"
#include "http/reaper.h"
#include "http/guard.h"
#include "http/route.h"
#include "http/server.h"
#include "http/sessions.h"
#include "http/streams.h"
#include "http/tls.h"

enum { QD_REQUEST_PREFIX = 12 };

struct qd_http {
    qd_http_config config; /* defaults filled in */
    qd_app app;
    qd_counters counters;
    struct qd_documents *documents;
    qd_streams *streams;
    qd_away *away;
    qd_reaper *reaper;
    qd_sessions *sessions;
    qd_guard *guard;
    qd_proxies proxies;
    qd_tls *tls; /* NULL = plain http */
    struct MHD_Daemon *daemon;
    uint16_t port;
    atomic_bool closing;
    char request_prefix[QD_REQUEST_PREFIX + 1]; /* random hex of this start */
    atomic_uint_fast64_t request_count;
};

/* What hangs on a connection. */
typedef struct qd_peer {
    qd_http *http;
    qd_reaper_socket *socket;
} qd_peer;

typedef enum qd_stage {
    QD_STAGE_NEW,     /* the header is not judged yet */
    QD_STAGE_READING, /* the body comes in */
    QD_STAGE_AWAY,    /* a handler works in the pool, the connection sleeps */
    QD_STAGE_REPLY,   /* the reply is there */
    QD_STAGE_SENT,
} qd_stage;

typedef struct qd_exchange {
    qd_away_task task;
    qd_http *http;
    struct MHD_Connection *connection;
    qd_stage stage;
    char *raw_target;
    char method_name[24];
    qd_request request;
    qd_reply reply;
    const qd_route *route; /* NULL = none was found */
    uint64_t surplus;      /* bytes of body beyond the limit, thrown away */
    double started;
    unsigned status; /* what was sent; 0 = nothing yet */
    bool closes;     /* the connection cannot be used again */
    bool download;   /* counted as one */
} qd_exchange;

/* intake.c: the library's callbacks. */
void *qd_intake_target(void *http, const char *target, struct MHD_Connection *connection);
enum MHD_Result qd_intake_request(void *http, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *data, size_t *size, void **exchange);
void qd_intake_completed(void *http, struct MHD_Connection *connection, void **exchange,
                         enum MHD_RequestTerminationCode why);
void qd_intake_connection(void *http, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode what);

/* hygiene.c: reads the header into exchange->request and finds the route. false: the reply is the refusal. */
bool qd_hygiene_check(qd_exchange *exchange, const char *version);

/* send.c: queues exchange->reply. */
enum MHD_Result qd_send(qd_exchange *exchange);

/* server.c */
void qd_http_log(const qd_http *http, const char *level, const char *event, const char *format, ...) QD_PRINTF(4, 5);

#endif
