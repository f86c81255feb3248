/* retry.c: see retry.h. */
#include "fetch/retry.h"

#include <math.h>
#include <time.h>

#include "base/clock.h"
#include "base/rng.h"

enum { MAX_PAUSE_SECONDS = 60, MAX_RETRY_AFTER_SECONDS = 120, UNREACHABLE_TRIES = 3 };
static const uint64_t progress_that_counts = 1 << 20;

void qd_retry_init(qd_retry *retry, unsigned limit, double base_seconds, uint64_t key)
{
    *retry = (qd_retry){ .limit = limit, .base_seconds = base_seconds, .key = key };
}

qd_again qd_retry_status(long status)
{
    if (status == 408 || status == 425 || status == 429)
        return QD_TRY_AGAIN;
    return status >= 500 && status <= 599 && status != 501 && status != 505 ? QD_TRY_AGAIN : QD_GIVE_UP;
}

qd_again qd_retry_count(qd_retry *retry, uint64_t bytes)
{
    if (bytes >= retry->progress + progress_that_counts) {
        retry->progress = bytes;
        retry->tries = 0;
    }
    return ++retry->tries < retry->limit ? QD_TRY_AGAIN : QD_GIVE_UP;
}

qd_again qd_retry_unreachable(qd_retry *retry)
{
    return ++retry->unreachable < UNREACHABLE_TRIES && ++retry->tries < retry->limit ? QD_TRY_AGAIN : QD_GIVE_UP;
}

double qd_retry_pause(const qd_retry *retry, long retry_after)
{
    if (retry_after >= 0)
        return fmin((double)retry_after, MAX_RETRY_AFTER_SECONDS);
    double most = fmin(MAX_PAUSE_SECONDS, ldexp(retry->base_seconds, (int)retry->tries));
    return most * qd_rng_uniform(retry->key, retry->tries);
}

qd_code qd_retry_sleep(double seconds, const qd_cancel *cancel, const atomic_bool *stop, qd_error *err)
{
    const double slice = 0.05;
    for (double end = qd_clock_seconds() + seconds, left; (left = end - qd_clock_seconds()) > 0;) {
        if (qd_cancel_requested(cancel) || atomic_load(stop))
            return qd_fail(err, QD_ECANCELLED, "cancelled");
        nanosleep(&(struct timespec){ .tv_nsec = (long)(fmin(left, slice) * 1e9) }, NULL);
    }
    return QD_OK;
}
