/* standings.h: where every job stands, read at once: ten thousand questions one by one take seconds.
 * Room: server/jobs, private to it. May use: base, store.
 * Threads: a value of its reader; it is of one moment. */
#ifndef QD_JOBS_STANDINGS_H
#define QD_JOBS_STANDINGS_H

#include "jobs/service_private.h"

typedef struct qd_standing {
    char id[QD_JOB_ID];
    qd_state_id state;
    int64_t finished_ms;
    bool has_artifact;
} qd_standing;

typedef struct qd_standings {
    qd_standing *rows; /* by id */
    size_t count, capacity;
} qd_standings;

qd_code qd_standings_read(qd_service *service, qd_standings *out, qd_error *err);
void qd_standings_fini(qd_standings *standings);
const qd_standing *qd_standings_find(const qd_standings *standings, const char *id); /* NULL: no such job */

#endif
