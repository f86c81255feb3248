/* limits.h: what one run may take of the machine: memory, descriptors, size of a file, its place among other processes.
 * Room: server/confine. May use: base.
 * Threads: they hold for the calling process.
 * Source: server.md §5. */
#ifndef QD_CONFINE_LIMITS_H
#define QD_CONFINE_LIMITS_H

#include <stddef.h>
#include <stdint.h>

#include "confine/sanitizer.h"

/* Bytes; 0 = no limit. Memory is RLIMIT_DATA: what a process has of its own, used or not. Mapped files are not in it;
 * RLIMIT_AS would count the model's weights. */
typedef struct qd_limits {
    uint64_t memory;
    uint64_t file; /* the size of one */
} qd_limits;

/* RLIMIT_DATA under which `bytes` can be used: stacks and OpenBLAS's buffers (128 MiB for each thread that multiplies)
 * are mostly never touched. The bound for what is used is the service's watch, or a cgroup. 0 stays 0. */
uint64_t qd_limits_memory(uint64_t bytes, size_t threads);

/* A sanitizer's shadow of the address space does not fit below RLIMIT_DATA. */
enum { QD_LIMITS_CAN_HOLD_MEMORY = !QD_SANITIZED };

/* System calls only: for a child between vfork and exec. NULL, or what failed (and errno). */
const char *qd_limits_enter(const qd_limits *limits);
/* The first to be ended when memory is short, the last to get a processor, and no core files. */
void qd_limits_step_back(void);

#endif
