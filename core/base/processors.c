/* processors.c: how many processors this process may use (pool.h): those it may run on, and as many as its control groups pay for. */
#define _GNU_SOURCE /* sched_getaffinity, CPU_COUNT */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/pool.h"

enum { SMALL_FILE = 1 << 16 };

static size_t allowed(void)
{
    cpu_set_t set; /* too small where there are more than 1024: then all that are online */
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
    if (count > 0)
        return (size_t)count;
    return online < 1 ? 1 : (size_t)online;
}

size_t qd_processors_of_quota(const char *cpu_max, size_t most)
{
    unsigned long long quota = 0, period = 0;
    if (sscanf(cpu_max, "%llu %llu", &quota, &period) != 2 || quota == 0 || period == 0)
        return most; /* "max": there is no quota */
    unsigned long long whole = quota / period + (quota % period != 0);
    return whole < most ? (size_t)whole : most;
}

static size_t of_group(const char *folder, size_t most)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(folder, "cpu.max");
    if (path == NULL || qd_file_read(path, SMALL_FILE, &text, NULL) != QD_OK)
        return most;
    return qd_processors_of_quota(qd_str_borrow(&text), most);
}

/* The group and those above it: each may have a quota. */
static size_t of_groups(size_t most)
{
    static const char root[] = "/sys/fs/cgroup";
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    QD_AUTO(qd_str_fini) qd_str path = { 0 };
    if (qd_file_read("/proc/self/cgroup", SMALL_FILE, &text, NULL) != QD_OK)
        return most;
    const char *line = strstr(qd_str_borrow(&text), "0::/");
    if (line == NULL)
        return most;
    qd_str_add(&path, root);
    qd_str_add_bytes(&path, line + 3, strcspn(line + 3, "\n"));
    if (qd_str_check(&path, NULL) != QD_OK)
        return most;
    for (char *end = path.data + path.length; end != NULL && end >= path.data + sizeof root - 1;
         end = strrchr(path.data, '/')) {
        *end = '\0';
        most = of_group(path.data, most);
    }
    return most;
}

size_t qd_pool_processors(void)
{
    return of_groups(allowed());
}
