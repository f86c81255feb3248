/* cage.h: everything that confines one run, made ready by the service and closed behind the child before it starts its program.
 * Room: server/confine. May use: base.
 * Threads: a qd_cage belongs to the thread that made it.
 * Source: server.md §5, design.md §2.
 *
 * Order in the child: cgroup, limits, no new privileges, Landlock, seccomp, exec. A domain of Landlock and a filter are
 * inherited through exec, so that threads which a library starts before main are inside too. */
#ifndef QD_CONFINE_CAGE_H
#define QD_CONFINE_CAGE_H

#include "confine/cgroup.h"
#include "confine/filter.h"
#include "confine/limits.h"

/* What this machine can do. */
typedef struct qd_confine_means {
    int landlock_abi; /* 0 = none */
    bool filters;
} qd_confine_means;
qd_confine_means qd_confine_probe(void);
/* "landlock abi 7, seccomp"; "nothing" where there is neither. */
enum { QD_MEANS_TEXT = 160 };
void qd_confine_describe(const qd_confine_means *means, char out[QD_MEANS_TEXT]);
/* The parts that are missing, and why; "" when all are there. */
void qd_confine_missing(const qd_confine_means *means, char out[QD_MEANS_TEXT]);

typedef struct qd_cage_spec {
    qd_confine_means means;      /* what to use of what there is */
    const char *program;         /* file; may be /proc/self/exe */
    const char *const *readable; /* files and folders beside the program's own; NULL-terminated */
    const char *const *writable; /* folders */
    qd_limits limits;
    const qd_cgroup *cgroup; /* or NULL; outlives the cage */
} qd_cage_spec;

typedef struct qd_cage {
    int ruleset_fd; /* -1 = files are not confined */
    qd_filter filter;
    qd_limits limits;
    const qd_cgroup *cgroup;
} qd_cage;
qd_code qd_cage_make(const qd_cage_spec *spec, qd_cage *out, qd_error *err);
void qd_cage_fini(qd_cage *cage);

/* System calls only: for a child between vfork and exec. NULL, or what failed (and errno). Nothing is undone then. */
const char *qd_cage_enter(const qd_cage *cage);

/* Once inside: no other program any more, in every thread, and no signals to other processes. Where there are no filters,
 * nothing. */
qd_code qd_cage_bolt(qd_error *err);

#endif
