/* cgroup.h: a group of the kernel's for each run, below a folder that was delegated to the service (cgroup v2).
 * Room: server/confine. May use: base.
 * Threads: a qd_cgroups is read-only once opened; a qd_cgroup belongs to one thread.
 * Source: Linux, Documentation/admin-guide/cgroup-v2.rst. */
#ifndef QD_CONFINE_CGROUP_H
#define QD_CONFINE_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* The delegated folder. */
typedef struct qd_cgroups {
    char *dir;              /* owned; NULL = there is none */
    bool memory, pids, cpu; /* controllers that its children have */
} qd_cgroups;
/* DIR "own" is the group that this process is in, as below a unit of systemd's with Delegate=yes.
 * The service itself moves to DIR/serve when it is in DIR: only a group without processes hands controllers on. What is
 * left of an earlier service's runs is ended. QD_EINVAL: no cgroup v2; QD_EDENIED: not delegated. */
qd_code qd_cgroups_open(const char *dir, qd_cgroups *out, qd_error *err);
void qd_cgroups_fini(qd_cgroups *groups);

/* One run's. */
typedef struct qd_cgroup {
    char *dir;    /* owned */
    int procs_fd; /* whoever writes "0" here is in it, with all that it starts */
} qd_cgroup;
/* memory: bytes, 0 = no limit. */
qd_code qd_cgroup_make(const qd_cgroups *groups, const char *name, uint64_t memory, qd_cgroup *out, qd_error *err);
/* A system call only. 0, or -1 and errno. */
int qd_cgroup_enter(const qd_cgroup *group);

typedef struct qd_cgroup_report {
    uint64_t oom_kills, peak_bytes; /* 0 where the kernel does not say */
} qd_cgroup_report;
/* Ends every process in it, says how it went, removes it. A group that was never made is fine. */
void qd_cgroup_end(qd_cgroup *group, qd_cgroup_report *out);

#endif
