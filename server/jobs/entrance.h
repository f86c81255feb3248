/* entrance.h: what stands between a job's download and its run: its forecast, its limits, and its place in memory.
 * Room: server/jobs, private to it. May use: base, engine, store.
 * Threads: the job's worker, which waits here without a child. */
#ifndef QD_JOBS_ENTRANCE_H
#define QD_JOBS_ENTRANCE_H

#include "jobs/sources.h"

/* Makes the course's forecast, to be written with the next record (none where the model cannot be forecast: the run says
 * why), refuses what can never be (QD_ETOOBIG, QD_ENOSPC), and waits for memory, visibly: progress.waiting. QD_ECANCELLED. */
qd_code qd_entrance(qd_course *course, const qd_sources *sources, qd_error *err);
/* The run is over, or there was none. */
void qd_entrance_leave(qd_course *course);

#endif
