/* memory_gate.h: runs are let in one beside the other as far as the memory of all goes.
 * Room: server/jobs, private to it. May use: base.
 * Threads: any; guarded by the service's mutex.
 *
 * Rule: a run is let in when its bytes fit beside those of the runs that are in. Who comes later may pass those who wait, if it fits; but once
 * the first in line has waited for QD_GATE_PATIENCE seconds, nobody passes it any more. Runs end, so everybody gets in: a run that does not fit
 * into an empty house is refused before it waits. */
#ifndef QD_JOBS_MEMORY_GATE_H
#define QD_JOBS_MEMORY_GATE_H

#include <stdbool.h>
#include <stdint.h>

enum { QD_GATE_PATIENCE = 60 };

typedef struct qd_gate_ticket {
    uint64_t bytes;
    double since; /* qd_clock_seconds: when it came */
    bool inside;
    struct qd_gate_ticket *next; /* who came after it */
} qd_gate_ticket;

typedef struct qd_memory_gate {
    uint64_t limit; /* 0 = none */
    uint64_t inside_bytes;
    qd_gate_ticket *line; /* who waits, in order of coming */
} qd_memory_gate;

/* Comes; `bytes` and `since` are set. */
void qd_gate_come(qd_memory_gate *gate, qd_gate_ticket *ticket);
/* Lets it in if the rule does; true = it is inside. */
bool qd_gate_try(qd_memory_gate *gate, qd_gate_ticket *ticket, double now);
/* Inside or waiting: it goes. Fine on one that never came. */
void qd_gate_leave(qd_memory_gate *gate, qd_gate_ticket *ticket);

#endif
