/* course.h: one attempt at a job on its way: where it stands, and what its run said.
 * Room: server/jobs, private to it. May use: base, engine, store.
 * Threads: belongs to its worker. */
#ifndef QD_JOBS_COURSE_H
#define QD_JOBS_COURSE_H

#include "jobs/active.h"
#include "jobs/child_event.h"
#include "jobs/memory_gate.h"
#include "jobs/paths.h"
#include "jobs/record.h"
#include "jobs/run_limits.h"
#include "jobs/slow_watch.h"
#include "jobs/state.h"

typedef struct qd_course {
    qd_service *service;
    qd_active *active;
    qd_job_paths paths;
    qd_state_id state;
    double phase_started;  /* qd_clock_seconds */
    double downloading;    /* seconds it took */
    unsigned crashes;      /* runs that died in a row before this one, without a layer finished since */
    unsigned deaths;       /* in all, before this one */
    qd_gate_ticket ticket; /* its place in memory (entrance.h) */
    qd_run_limits limits;  /* of its run */
    qd_slow_watch slow;
    /* what the run said */
    double last_heard, last_kept; /* of any event; of a progress that was written */
    size_t bad_lines, warnings;
    uint64_t kept_bytes; /* in rows */
    json_t *result;      /* owned, or NULL */
    json_t *forecast;    /* of the run, owned; NULL = there was none */
    json_t *pace;        /* what is told to it of this machine's earlier runs, owned; or NULL */
    qd_code problem;     /* QD_OK = none */
    qd_error problem_err;
    /* why the run is to be ended by us; QD_OK = it is not */
    qd_code fault;
    qd_error fault_err;
} qd_course;
void qd_course_fini(qd_course *course);

/* A record of this attempt with everything left as it is. */
qd_record qd_course_record(const qd_course *course);
/* Moves on to the next state; `record` may carry more. The time spent in the old one is counted. */
qd_code qd_course_move(qd_course *course, qd_record *record, qd_state_id to, qd_error *err);

/* An event of this type, and nothing else. */
qd_code qd_course_note(qd_course *course, const char *type, const json_t *data, qd_error *err);

/* A line of the run: rows, memory, or a log line when it is bad. A failure to write rows sets course->fault. */
void qd_course_line(void *ctx, const char *line, size_t length);

/* A warning when the layer at hand takes far longer than it should; once a layer. */
qd_code qd_course_look_for_slowness(qd_course *course, qd_error *err);

/* progress: a new reference, taken. Shown at once, written at most once a second. */
qd_code qd_course_progress_take(qd_course *course, json_t *progress, qd_error *err);

/* A line of the log about this attempt: job and request_id come before what format makes. */
void qd_course_say(const qd_course *course, const char *level, const char *event, const char *format, ...)
    QD_PRINTF(4, 5);

#endif
