/* state.h: the registry of job states: which may follow which, which are final.
 * Room: server/jobs. May use: base.
 * Threads: read-only.
 * Source: api.md "States". */
#ifndef QD_JOBS_STATE_H
#define QD_JOBS_STATE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

typedef enum qd_state_id {
    QD_STATE_QUEUED,
    QD_STATE_DOWNLOADING, /* the first of the phases: a worker owns the job */
    QD_STATE_QUANTIZING,
    QD_STATE_EVALUATING,
    QD_STATE_EXPORTING,
    QD_STATE_VERIFYING, /* the last of the phases */
    QD_STATE_SUCCEEDED,
    QD_STATE_FAILED,
    QD_STATE_CANCELLED,
    QD_STATE_QUARANTINED,
    QD_STATE_COUNT
} qd_state_id;

typedef enum qd_state_kind { QD_STATE_WAITING, QD_STATE_RUNNING, QD_STATE_FINAL } qd_state_kind;

typedef struct qd_state {
    const char *name;
    qd_state_kind kind;
    unsigned followers; /* bit i: state i may follow */
} qd_state;

/* NULL past the end. */
const qd_state *qd_state_at(size_t index);
/* The state of this name in *out; false = there is none. */
bool qd_state_find(const char *name, qd_state_id *out);
/* The same for the word in a job's row: QD_EINTERNAL names the job. */
qd_code qd_state_read(const char *job, const char *name, qd_state_id *out, qd_error *err);
bool qd_state_may_follow(qd_state_id from, qd_state_id to);
/* "queued, downloading, ...": for messages. */
const char *qd_state_words(void);

#endif
