/* bell.h: tells watchers that a job has new events, from a thread of its own.
 * Room: server/jobs, private to it (service.h has the public half). May use: base.
 * Threads: any; callbacks come from the bell's thread, one at a time. */
#ifndef QD_JOBS_BELL_H
#define QD_JOBS_BELL_H

#include <stdint.h>

#include "base/error.h"

typedef struct qd_bell qd_bell;
typedef void (*qd_woken)(void *ctx, const char *id, uint64_t last_event_id);

qd_code qd_bell_create(qd_bell **out, qd_error *err);
/* Every watcher is called once more with id NULL; then the thread ends. Watchers stay valid for qd_bell_unwatch. */
void qd_bell_stop(qd_bell *bell);
void qd_bell_destroy(qd_bell *bell); /* NULL is fine */

/* After a commit. Rings for the same job that were not heard yet become one. */
void qd_bell_ring(qd_bell *bell, const char *id, uint64_t last_event_id);

struct qd_watch;
qd_code qd_bell_watch(qd_bell *bell, const char *id, qd_woken woken, void *ctx, struct qd_watch **out, qd_error *err);
void qd_bell_unwatch(qd_bell *bell, struct qd_watch *watch);

#endif
