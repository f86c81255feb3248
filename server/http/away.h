/* away.h: threads for handlers that wait (for a commit, for a disk) while their connection sleeps.
 * Room: server/http. May use: base. Never: MHD.
 * Threads: post from any thread. */
#ifndef QD_HTTP_AWAY_H
#define QD_HTTP_AWAY_H

#include <stddef.h>

#include "base/error.h"

/* Part of whatever is posted; run is called once, in a thread of the pool, and may free it. */
typedef struct qd_away_task {
    struct qd_away_task *next;
    void (*run)(struct qd_away_task *task);
} qd_away_task;

typedef struct qd_away qd_away;
qd_code qd_away_create(size_t threads, qd_away **out, qd_error *err);
/* Runs what was posted, then joins; NULL is fine. Nothing may be posted any more. */
void qd_away_destroy(qd_away *away);
/* First come, first served. The queue holds at most one task a connection, so its length is the connection limit. */
void qd_away_post(qd_away *away, qd_away_task *task);

#endif
