/* run_limits.h: what a run may take of time and disk, looked at while it works.
 * Room: server/jobs, private to it. May use: base, engine.
 * Threads: the job's worker. */
#ifndef QD_JOBS_RUN_LIMITS_H
#define QD_JOBS_RUN_LIMITS_H

#include "engine/recipe.h"

struct qd_course;

typedef struct qd_run_limits {
    double runtime; /* seconds of this attempt's run; 0 = no limit */
    double started, looked;
    uint64_t disk;      /* bytes of work and out; 0 = no limit */
    size_t done, total; /* of the newest progress, for messages */
    char unit[24];
} qd_run_limits;
/* From the job, or where it has none, from the service. The clock starts. */
void qd_run_limits_init(qd_run_limits *limits, const struct qd_course *course, const qd_recipe *recipe);
/* What the run says of its progress. */
void qd_run_limits_reached(qd_run_limits *limits, const json_t *progress);
/* QD_ETIMEOUT or QD_ETOOBIG, with what was reached: the run is to be ended; its checkpoints stay. */
qd_code qd_run_limits_look(const struct qd_course *course, qd_run_limits *limits, qd_error *err);

#endif
