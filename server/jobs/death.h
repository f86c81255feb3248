/* death.h: how a run that left no result came to its end: whose doing it was, and what is done about it.
 * Room: server/jobs, private to it. May use: base.
 * Threads: any. */
#ifndef QD_JOBS_DEATH_H
#define QD_JOBS_DEATH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "jobs/ending.h"

/* Bytes of memory that a process holds for itself: not files that it maps. 0 when it cannot be told. */
uint64_t qd_process_own_bytes(pid_t pid);
/* Out-of-memory kills of this machine so far; 0 where the kernel does not count them. */
uint64_t qd_machine_oom_kills(void);

typedef struct qd_death {
    int status;                            /* as waitpid gives it */
    bool silent, killed;                   /* it was silent too long and told to abort; it was killed by us */
    double heartbeat_seconds;              /* how long it might have been silent */
    uint64_t memory_limit, peak_bytes;     /* 0 = none, unknown */
    uint64_t own_oom_kills, all_oom_kills; /* of its cgroup; of the machine meanwhile */
} qd_death;
/* QD_END_FAILED where another try would end the same way. */
qd_end qd_death_judge(const qd_death *death, qd_error *err);
/* A run that could not get memory says so itself: what it might have had is added. */
void qd_death_add_memory(const qd_death *death, qd_error *err);

#endif
