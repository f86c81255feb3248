/* child_event.h: one line of a run, checked: what engine/run.h calls events.
 * Room: server/jobs, private to it. May use: base, jansson.
 * Threads: any. The child is not trusted: its files may have made it say anything. */
#ifndef QD_JOBS_CHILD_EVENT_H
#define QD_JOBS_CHILD_EVENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "jobs/state.h"

typedef enum qd_child_event_kind {
    QD_CHILD_PHASE,
    QD_CHILD_PROGRESS,
    QD_CHILD_LAYER,
    QD_CHILD_STREAM,
    QD_CHILD_WARNING,
    QD_CHILD_HEARTBEAT,
    QD_CHILD_RESULT,
    QD_CHILD_PROBLEM,
} qd_child_event_kind;

enum { QD_CHILD_LAYERS_MAX = 65536 };

/* Only the fields of its kind are set. */
typedef struct qd_child_event {
    qd_child_event_kind kind;
    json_t *data; /* owned: the object without "event" (a layer: without "resumed" too) */
    qd_state_id phase;
    uint64_t number;        /* layer */
    const char *name;       /* layer; borrowed from data */
    const char *detail;     /* warning, problem; borrowed from data */
    bool resumed, degraded; /* layer */
    double relative_error;  /* layer; NaN when unknown */
    qd_code problem;        /* problem */
    uint64_t rss;           /* heartbeat */
} qd_child_event;
void qd_child_event_fini(qd_child_event *event);

/* QD_EFORMAT says what is wrong with the line. */
qd_code qd_child_event_parse(const char *line, size_t length, qd_child_event *out, qd_error *err);

#endif
