/* counters.h: what the HTTP room counts for /metrics.
 * Room: server/http. May use: base. Never: MHD.
 * Threads: any; every field is atomic. */
#ifndef QD_HTTP_COUNTERS_H
#define QD_HTTP_COUNTERS_H

#include <stdatomic.h>
#include <stddef.h>

enum { QD_COUNTED_ROUTES = 64, QD_COUNTED_BUCKETS = 8 };

/* One more route than the table has: requests that found none are counted at index QD_COUNTED_ROUTES - 1. */
typedef struct qd_route_counters {
    atomic_uint_fast64_t status[6];                  /* by first digit; 0 = cut off before a reply */
    atomic_uint_fast64_t bucket[QD_COUNTED_BUCKETS]; /* not cumulative; the last one is +Inf */
    atomic_uint_fast64_t microseconds;               /* sum */
} qd_route_counters;

typedef struct qd_counters {
    qd_route_counters routes[QD_COUNTED_ROUTES];
    atomic_uint_fast64_t refused;      /* requests refused before a route was looked for */
    atomic_uint_fast64_t unauthorized; /* no key, or a wrong one */
    atomic_uint_fast64_t forbidden;    /* a key without the scope */
    atomic_uint_fast64_t throttled;    /* a key beyond its rate, an address with too many wrong keys */
    atomic_uint_fast64_t cut;          /* connections cut by the deadline reaper */
    atomic_size_t connections, streams, downloads, in_flight;
} qd_counters;

/* Upper bounds of the buckets but the last, in seconds. */
extern const double qd_counters_bounds[QD_COUNTED_BUCKETS - 1];
void qd_counters_add(qd_counters *counters, size_t route_index, unsigned status, double seconds);

#endif
