/* clock.c: see clock.h. */
#include "base/clock.h"

#include <stdio.h>

double qd_clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

struct timespec qd_clock_deadline(double seconds)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    time_t whole = (time_t)seconds;
    at.tv_nsec += (long)((seconds - (double)whole) * 1e9);
    at.tv_sec += whole + at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    return at;
}

void qd_clock_condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

int64_t qd_clock_wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void qd_clock_format(int64_t wall_ms, char *out)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    char stamp[24];
    gmtime_r(&seconds, &utc);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out, QD_TIME_TEXT, "%s.%03dZ", stamp, (int)(wall_ms % 1000));
}
