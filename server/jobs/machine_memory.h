/* machine_memory.h: how much memory this process may use.
 * Room: server/jobs, private to it. May use: base.
 * Threads: any. */
#ifndef QD_JOBS_MACHINE_MEMORY_H
#define QD_JOBS_MACHINE_MEMORY_H

#include <stdint.h>

/* The smaller of the machine's memory and the limits of the control groups (v2) that the process is in; 0 when neither can be told. */
uint64_t qd_machine_memory(void);

#endif
