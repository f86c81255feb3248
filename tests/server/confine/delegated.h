/* delegated.h: a folder in the machine's real cgroup hierarchy, where this process may make one.
 * Room: tests. May use: base, confine.
 * Threads: any. */
#ifndef QD_TESTS_DELEGATED_H
#define QD_TESTS_DELEGATED_H

#include <sys/stat.h>

#include "check.h"

#include "base/auto.h"
#include "confine/cgroup.h"

/* false where there is no cgroup v2, or none that is ours. `out` is to be removed with rmdir(). */
static inline bool delegated_folder(char *out, size_t size)
{
    static const char *const hierarchies[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
    qd_cgroups groups = { 0 };
    for (size_t i = 0; i < QD_LENGTH(hierarchies); i++) {
        snprintf(out, size, "%s/quantd-test-%ld", hierarchies[i], (long)getpid());
        if (mkdir(out, 0755) != 0)
            continue;
        if (qd_cgroups_open(out, &groups, NULL) == QD_OK) {
            qd_cgroups_fini(&groups);
            return true;
        }
        rmdir(out);
    }
    return false;
}

/* Whether groups below it can have a limit of memory. */
static inline bool delegated_memory(const char *dir)
{
    qd_cgroups groups = { 0 };
    bool memory = dir[0] != '\0' && qd_cgroups_open(dir, &groups, NULL) == QD_OK && groups.memory;
    qd_cgroups_fini(&groups);
    return memory;
}

#endif
