/* streams.h: the hub of event streams: who listens to which job, and from where.
 * Room: server/http. May use: jobs, libmicrohttpd.
 * Threads: open, read and free are called by connection threads; one thread of its own reads events and hands them
 * out.
 *
 * Events are persisted, so a subscriber is pulled along, never overrun: it gets its next batch when the last one is
 * sent. Lock order: hub, then MHD. The service is never called with the hub locked.
 * Source: server.md §1.2. */
#ifndef QD_HTTP_STREAMS_H
#define QD_HTTP_STREAMS_H

#include <microhttpd.h>

#include "http/counters.h"
#include "jobs/service.h"

typedef struct qd_streams qd_streams;
typedef struct qd_streams_config {
    qd_service *service;
    qd_counters *counters;
    size_t limit; /* streams at once */
    size_t
        limit_per_address; /* of one client that is not on this machine (nor a proxy here that names none); 0 = no limit */
    double heartbeat_seconds; /* a comment after so long a silence; a dead peer is noticed by the second */
} qd_streams_config;

qd_code qd_streams_create(const qd_streams_config *config, qd_streams **out, qd_error *err);
/* Every stream ends, sleeping connections are woken, the thread is joined. Later opens fail. */
void qd_streams_close(qd_streams *streams);
/* After the daemon has stopped; NULL is fine. */
void qd_streams_destroy(qd_streams *streams);

typedef struct qd_streams_opening {
    struct MHD_Connection *connection;
    const char *job;
    uint64_t after;
    const char *address; /* the client's */
    const char *key;     /* id of the key it came with; "" = none was asked for */
} qd_streams_opening;

/* A response that sends the job's events after `after` until the job has ended. QD_EBUSY: too many; QD_ECANCELLED:
 * closing. */
qd_code qd_streams_open(qd_streams *streams, const qd_streams_opening *opening, struct MHD_Response **out,
                        qd_error *err);

#endif
