/* machine_memory.c: see machine_memory.h. */
#include "jobs/machine_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { SMALL_FILE = 1 << 16 };

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static uint64_t total_of_machine(void)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    unsigned long long kibibytes = 0;
    if (qd_file_read("/proc/meminfo", SMALL_FILE, &text, NULL) != QD_OK)
        return 0;
    const char *line = strstr(qd_str_borrow(&text), "MemTotal:");
    return line != NULL && sscanf(line, "MemTotal: %llu", &kibibytes) == 1 ? 1024 * (uint64_t)kibibytes : 0;
}

/* 0 = "max", or there is no such file. */
static uint64_t limit_of_group(const char *folder)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(folder, "memory.max");
    if (path == NULL || qd_file_read(path, SMALL_FILE, &text, NULL) != QD_OK)
        return 0;
    return strtoull(qd_str_borrow(&text), NULL, 10);
}

/* The group and those above it: each may have a limit. */
static uint64_t limit_of_groups(void)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    QD_AUTO(qd_str_fini) qd_str path = { 0 };
    uint64_t least = 0;
    if (qd_file_read("/proc/self/cgroup", SMALL_FILE, &text, NULL) != QD_OK)
        return 0;
    const char *line = strstr(qd_str_borrow(&text), "0::/");
    if (line == NULL)
        return 0;
    qd_str_add(&path, "/sys/fs/cgroup/");
    size_t root = path.length;
    qd_str_add_bytes(&path, line + 4, strcspn(line + 4, "\n"));
    if (qd_str_check(&path, NULL) != QD_OK)
        return 0;
    for (size_t length = path.length; length >= root; length--) {
        if (length != path.length && path.data[length] != '/' && length != root)
            continue;
        path.data[length] = '\0';
        least = smaller(least, limit_of_group(path.data));
    }
    return least;
}

uint64_t qd_machine_memory(void)
{
    return smaller(total_of_machine(), limit_of_groups());
}
