/* limits.c: see limits.h. */
#define _GNU_SOURCE
#include "confine/limits.h"

#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <sys/resource.h>
#include <unistd.h>

enum { DESCRIPTORS = 256, NICENESS = 10 };

uint64_t qd_limits_memory(uint64_t bytes, size_t threads)
{
    static const uint64_t each = UINT64_C(144) << 20, beside = UINT64_C(64) << 20;
    uint64_t untouched = (threads + 1) * each + beside, sum;
    if (bytes == 0 || __builtin_add_overflow(bytes, untouched, &sum))
        return 0;
    return sum;
}

/* Where the system allows less already, that stays. */
static int lower(__rlimit_resource_t what, uint64_t value)
{
    struct rlimit limit;
    if (getrlimit(what, &limit) != 0)
        return -1;
    limit.rlim_max = limit.rlim_max < value ? limit.rlim_max : value;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(what, &limit);
}

const char *qd_limits_enter(const qd_limits *limits)
{
    if (lower(RLIMIT_NOFILE, DESCRIPTORS) != 0)
        return "RLIMIT_NOFILE";
    if (limits->memory > 0 && QD_LIMITS_CAN_HOLD_MEMORY && lower(RLIMIT_DATA, limits->memory) != 0)
        return "RLIMIT_DATA";
    if (limits->file > 0 && lower(RLIMIT_FSIZE, limits->file) != 0)
        return "RLIMIT_FSIZE";
    return NULL;
}

void qd_limits_step_back(void)
{
    const struct sched_param none = { 0 };
    const struct rlimit nothing = { 0, 0 };
    setrlimit(RLIMIT_CORE, &nothing);
    setpriority(PRIO_PROCESS, 0, NICENESS);
    sched_setscheduler(0, SCHED_BATCH, &none);
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t ignored = write(fd, "800", 3);
    (void)ignored;
    close(fd);
}
