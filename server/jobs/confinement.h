/* confinement.h: how this service confines its runs: found out once at the start, then made ready for each run.
 * Room: server/jobs, private to it. May use: base, confine.
 * Threads: a qd_confinement is read-only once made; a qd_hold belongs to its worker.
 * Source: server.md §5. */
#ifndef QD_JOBS_CONFINEMENT_H
#define QD_JOBS_CONFINEMENT_H

#include "confine/cage.h"
#include "jobs/service.h"

typedef struct qd_confinement {
    qd_confine_means means; /* none with `confine off`, or below a launcher */
    qd_cgroups groups;      /* dir NULL = the option names none, or it cannot be used */
    qd_service_confinement told;
} qd_confinement;
/* QD_EUNSUPPORTED: `confine require`, and what is missing. With `auto` it is logged once. */
qd_code qd_confinement_init(const qd_service_config *config, qd_confinement *out, qd_error *err);
void qd_confinement_fini(qd_confinement *confinement);

struct qd_course;
struct qd_sources;

/* What holds one run. */
typedef struct qd_hold {
    qd_cage cage;
    qd_cgroup cgroup;
    bool caged;      /* false: below a launcher the run closes itself in */
    uint64_t memory; /* its limit in bytes; 0 = none */
    char **environment;
    const char *applied; /* "landlock abi 7, seccomp, rlimits"; borrowed from the service */
    char told[300];      /* QUANTD_CONFINED=... */
} qd_hold;
/* Makes the folders that the run writes in. */
qd_code qd_hold_init(const struct qd_course *course, const struct qd_sources *sources, qd_hold *out, qd_error *err);
/* Nothing that would hold. */
qd_hold qd_hold_none(void);
/* Ends whatever is left of it. Twice is fine. */
void qd_hold_end(qd_hold *hold, qd_cgroup_report *out);

#endif
