/* retry.h: how often and after which pause a file is asked for again.
 * Room: server/fetch, private to it. May use: base.
 * Threads: a qd_retry belongs to one thread.
 * Source: server.md §3: full jitter rand(0, min(60, base 2^n)), 8 tries, Retry-After up to 120 s, progress resets the
 * count. */
#ifndef QD_FETCH_RETRY_H
#define QD_FETCH_RETRY_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/error.h"

typedef enum qd_again { QD_GIVE_UP, QD_TRY_AGAIN } qd_again;

typedef struct qd_retry {
    unsigned tries, limit, unreachable;
    double base_seconds;
    uint64_t key;      /* of the jitter */
    uint64_t progress; /* bytes at the last reset */
} qd_retry;

void qd_retry_init(qd_retry *retry, unsigned limit, double base_seconds, uint64_t key);
/* Statuses worth asking again: 408, 425, 429, 5xx (but 501 and 505). */
qd_again qd_retry_status(long status);
/* A try failed with this many bytes in hand: shall there be another? */
qd_again qd_retry_count(qd_retry *retry, uint64_t bytes);
/* A host that could not be reached at all gets 3 tries, not all of them: most often the URL is wrong. */
qd_again qd_retry_unreachable(qd_retry *retry);
/* Seconds before the next try; retry_after < 0 = not said. */
double qd_retry_pause(const qd_retry *retry, long retry_after);
/* QD_ECANCELLED as soon as somebody asks. */
qd_code qd_retry_sleep(double seconds, const qd_cancel *cancel, const atomic_bool *stop, qd_error *err);

#endif
