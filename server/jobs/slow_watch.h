/* slow_watch.h: a layer that takes far longer than the ones before let expect.
 * Room: server/jobs, private to it. May use: base, jansson.
 * Threads: the job's worker. */
#ifndef QD_JOBS_SLOW_WATCH_H
#define QD_JOBS_SLOW_WATCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct qd_slow_watch {
    char layer[256]; /* at hand; "" = none is said */
    double expected; /* seconds; 0 = not known */
    double since;    /* qd_clock_seconds */
    bool told;
} qd_slow_watch;
/* A progress event of the run: "layer" and "expected", which it may lack. */
void qd_slow_watch_hear(qd_slow_watch *watch, const json_t *progress);
/* true, once a layer: `out` says that it has taken over three times what was expected. */
bool qd_slow_watch_look(qd_slow_watch *watch, char *out, size_t size);

#endif
