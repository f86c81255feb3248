/* counters.c: see counters.h. */
#include "http/counters.h"

#include <stdint.h>

const double qd_counters_bounds[QD_COUNTED_BUCKETS - 1] = { 0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10 };

void qd_counters_add(qd_counters *counters, size_t route_index, unsigned status, double seconds)
{
    size_t index = route_index < QD_COUNTED_ROUTES ? route_index : QD_COUNTED_ROUTES - 1;
    qd_route_counters *route = &counters->routes[index];
    size_t bucket = 0;
    while (bucket < QD_COUNTED_BUCKETS - 1 && seconds > qd_counters_bounds[bucket])
        bucket++;
    atomic_fetch_add(&route->status[status / 100 < 6 ? status / 100 : 0], 1);
    atomic_fetch_add(&route->bucket[bucket], 1);
    atomic_fetch_add(&route->microseconds, (uint_fast64_t)(seconds * 1e6));
}
