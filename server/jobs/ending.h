/* ending.h: how an attempt ends, in rows.
 * Room: server/jobs, private to it. May use: base, store.
 * Threads: the job's worker. */
#ifndef QD_JOBS_ENDING_H
#define QD_JOBS_ENDING_H

#include "jobs/course.h"

typedef enum qd_end {
    QD_END_RESULT, /* the run gave a result and left an artifact */
    QD_END_FAILED, /* with a reason that another try would not change */
    QD_END_CRASHED /* the run died: tried again, three times in a row at most */
} qd_end;

/* Writes the end of the attempt; a full disk is waited out. `reason` is for all but QD_END_RESULT. A job that is no
 * longer this attempt's is left alone. */
void qd_end_attempt(qd_course *course, qd_end end, const qd_error *reason);

#endif
