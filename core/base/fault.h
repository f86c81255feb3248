/* fault.h: named points at which a test build dies, fails, waits or writes short, so that recovery can be tried at every
 * one of them.
 * Room: core/base. May use: libc. Everyone may include it; only a build with --enable-fault-injection has more here
 * than nothing.
 * Threads: any.
 * Source: server.md §5. Names and what hits them: fault_points.c; what drives them: tests/reliability/faults.py. */
#ifndef QD_BASE_FAULT_H
#define QD_BASE_FAULT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#ifdef QD_FAULT_INJECTION

/* Says which process this is, "server" or "run". Before the first point; opens the trace while that is allowed. */
#define QD_FAULT_PROCESS(name) qd_fault_process(name)
/* Nothing can fail here: it dies or waits. */
#define QD_FAULT(name) ((void)qd_fault_hit(name))
/* In front of a system call, `if (QD_FAULT_FAILS("x") || fsync(fd) != 0)`: true with errno set when it is to fail. */
#define QD_FAULT_FAILS(name) qd_fault_hit(name)
/* Between steps that return codes: QD_OK, or a failure. */
#define QD_FAULT_CODE(name, err) qd_fault_code(name, err)
/* How much of `length` bytes a write may take in one piece. */
#define QD_FAULT_LENGTH(name, length) qd_fault_length(name, length)
/* Is this line of an environment one that the run must see too? */
#define QD_FAULT_VARIABLE(line) qd_fault_variable(line)

typedef struct qd_fault_point {
    const char *name, *scenario; /* the scenario of faults.py that comes by here */
} qd_fault_point;
/* NULL behind the last. */
const qd_fault_point *qd_fault_point_at(size_t index);

void qd_fault_process(const char *name);
bool qd_fault_hit(const char *name);
qd_code qd_fault_code(const char *name, qd_error *err);
size_t qd_fault_length(const char *name, size_t length);
bool qd_fault_variable(const char *line);

#else

#define QD_FAULT_PROCESS(name) ((void)0)
#define QD_FAULT(name) ((void)0)
#define QD_FAULT_FAILS(name) false
#define QD_FAULT_CODE(name, err) QD_OK
#define QD_FAULT_LENGTH(name, length) (length)
#define QD_FAULT_VARIABLE(line) false

#endif
#endif
