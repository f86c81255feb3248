/* cage.c: see cage.h. */
#define _GNU_SOURCE
#include "confine/cage.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "base/mem.h"
#include "confine/landlock.h"
#include "confine/program.h"

qd_confine_means qd_confine_probe(void)
{
    return (qd_confine_means){ .landlock_abi = qd_landlock_abi(), .filters = qd_filter_available() };
}

void qd_confine_describe(const qd_confine_means *means, char out[QD_MEANS_TEXT])
{
    char landlock[40] = "";
    if (means->landlock_abi > 0)
        snprintf(landlock, sizeof landlock, "landlock abi %d", means->landlock_abi);
    bool both = means->landlock_abi > 0 && means->filters, none = means->landlock_abi == 0 && !means->filters;
    snprintf(out, QD_MEANS_TEXT, "%s%s%s", none ? "nothing" : landlock, both ? ", " : "",
             means->filters ? "seccomp" : "");
}

void qd_confine_missing(const qd_confine_means *means, char out[QD_MEANS_TEXT])
{
    snprintf(out, QD_MEANS_TEXT, "%s%s%s",
             means->landlock_abi == 0 ? "landlock (Linux 5.13 or later, named in the kernel's lsm= list)" : "",
             means->landlock_abi == 0 && !means->filters ? ", " : "",
             means->filters ? "" : "seccomp filters (CONFIG_SECCOMP_FILTER, on x86-64 or aarch64)");
}

/* What every run of ours reads beside its own files. Where one is missing there is nothing to allow. */
static const struct {
    const char *path;
    qd_landlock_use use;
} common[] = {
    { "/usr/lib", QD_MAY_READ },
    { "/usr/lib64", QD_MAY_READ },
    { "/lib", QD_MAY_READ },
    { "/lib64", QD_MAY_READ },
    { "/usr/local/lib", QD_MAY_READ },
    { "/etc/ld.so.cache", QD_MAY_READ },
    { "/proc/meminfo", QD_MAY_READ },
    { "/proc/cpuinfo", QD_MAY_READ },
    { "/proc/sys/vm/overcommit_memory", QD_MAY_READ },
    { "/sys/devices/system/cpu", QD_MAY_READ },
    { "/sys/devices/system/node", QD_MAY_READ },
    { "/dev/null", QD_MAY_WRITE_FILE },
    { "/dev/urandom", QD_MAY_READ },
};

typedef struct rules {
    int fd, abi;
} rules;

static qd_code allow(const rules *r, const char *path, qd_landlock_use use, qd_error *err)
{
    return qd_landlock_allow(r->fd, r->abi, path, use, err);
}

static qd_code allow_if_there(const rules *r, const char *path, qd_landlock_use use, qd_error *err)
{
    qd_code code = allow(r, path, use, err);
    return code == QD_ENOTFOUND || code == QD_EDENIED ? QD_OK : code;
}

static qd_code allow_library(void *ctx, const char *path, qd_error *err)
{
    return allow_if_there(ctx, path, QD_MAY_READ, err);
}

/* The interpreter is executed with the program; the libraries are those of this process, which is the same program or one
 * that was built with it. */
static qd_code allow_program(rules *r, const char *program, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *interpreter = NULL;
    qd_code code = qd_program_interpreter(program, &interpreter, err);
    if (code == QD_OK)
        code = allow(r, program, QD_MAY_RUN, err);
    if (code == QD_OK && interpreter != NULL)
        code = allow(r, interpreter, QD_MAY_RUN, err);
    return code == QD_OK ? qd_program_libraries(allow_library, r, err) : code;
}

/* Where a build for fault tests notes, in all its processes, what it came by. */
static qd_code allow_trace(rules *r, qd_error *err)
{
    const char *path = NULL;
#ifdef QD_FAULT_INJECTION
    path = getenv("QUANTD_FAULT_TRACE");
#endif
    return path == NULL ? QD_OK : allow(r, path, QD_MAY_WRITE_FILE, err);
}

static qd_code allow_all(rules *r, const qd_cage_spec *spec, qd_error *err)
{
    qd_code code = allow_program(r, spec->program, err);
    if (code == QD_OK)
        code = allow_trace(r, err);
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(common); i++)
        code = allow_if_there(r, common[i].path, common[i].use, err);
    for (size_t i = 0; code == QD_OK && spec->readable[i] != NULL; i++)
        code = allow(r, spec->readable[i], QD_MAY_READ, err);
    for (size_t i = 0; code == QD_OK && spec->writable[i] != NULL; i++)
        code = allow(r, spec->writable[i], QD_MAY_WRITE, err);
    return code;
}

void qd_cage_fini(qd_cage *cage)
{
    qd_close_fd(&cage->ruleset_fd);
    qd_filter_fini(&cage->filter);
    *cage = (qd_cage){ .ruleset_fd = -1 };
}

qd_code qd_cage_make(const qd_cage_spec *spec, qd_cage *out, qd_error *err)
{
    qd_cage cage = { .ruleset_fd = -1, .limits = spec->limits, .cgroup = spec->cgroup };
    qd_code code = QD_OK;
    if (spec->means.landlock_abi > 0) {
        rules r = { .fd = -1, .abi = spec->means.landlock_abi };
        code = qd_landlock_create(r.abi, &r.fd, err);
        cage.ruleset_fd = r.fd;
        if (code == QD_OK)
            code = allow_all(&r, spec, err);
    }
    if (code == QD_OK && spec->means.filters)
        code = qd_filter_make(QD_FILTER_BEFORE_EXEC, &cage.filter, err);
    if (code == QD_OK)
        *out = cage;
    else
        qd_cage_fini(&cage);
    return code;
}

const char *qd_cage_enter(const qd_cage *cage)
{
    const char *failed = NULL;
    if (cage->cgroup != NULL && qd_cgroup_enter(cage->cgroup) != 0)
        return "cgroup";
    if (cage->ruleset_fd >= 0 && qd_landlock_allow_self(cage->ruleset_fd) != 0)
        return "landlock: /proc/self";
    failed = qd_limits_enter(&cage->limits);
    if (failed != NULL)
        return failed;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return "no new privileges";
    if (cage->ruleset_fd >= 0 && qd_landlock_enter(cage->ruleset_fd) != 0)
        return "landlock";
    if (cage->filter.count > 0 && qd_filter_enter(&cage->filter) != 0)
        return "seccomp";
    return NULL;
}

qd_code qd_cage_bolt(qd_error *err)
{
    QD_AUTO(qd_filter_fini) qd_filter filter = { 0 };
    if (!qd_filter_available())
        return QD_OK;
    qd_code code = qd_filter_make(QD_FILTER_AT_WORK, &filter, err);
    if (code != QD_OK)
        return code;
    return qd_filter_enter_all(&filter) == 0 ? QD_OK : qd_fail_errno(err, "seccomp");
}
