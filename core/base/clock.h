/* clock.h: monotonic and wall time, in named units.
 * Room: core/base. May use: libc, pthreads.
 * Threads: any. */
#ifndef QD_BASE_CLOCK_H
#define QD_BASE_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

/* Seconds on a clock that only moves forward; for durations. */
double qd_clock_seconds(void);
/* So many seconds from now on that clock, for pthread_cond_timedwait on a condition of qd_clock_condition_init. */
struct timespec qd_clock_deadline(double seconds);
void qd_clock_condition_init(pthread_cond_t *condition);
/* Milliseconds since 1970-01-01T00:00:00Z; for records. */
int64_t qd_clock_wall_ms(void);

enum { QD_TIME_TEXT = 32 };
/* RFC 3339 UTC with milliseconds: 2026-11-24T15:04:05.123Z. `out` has QD_TIME_TEXT bytes. */
void qd_clock_format(int64_t wall_ms, char *out);

#endif
