/* mem.c: see mem.h. */
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Large blocks ask for huge pages: a matrix of 2048 x 2048 doubles is 8192 page faults else, a third of what factoring it takes, and its
 * columns lie on as many pages. A hint: where it is refused, small pages it is. They are zeros because their pages, which nothing else lies on, are
 * taken away: pages of a private mapping come back as zeros, and those that are never touched never do. */
enum { ALIGNMENT = 64, HUGE_PAGE = 2 << 20 };

qd_code qd_alloc(size_t count, size_t size, void **out, qd_error *err)
{
    size_t bytes, padded;
    if (!qd_mul_size(count, size, &bytes) || !qd_add_size(bytes, HUGE_PAGE, &padded))
        return qd_fail(err, QD_ENOMEM, "allocation of %zu x %zu bytes overflows", count, size);
    size_t alignment = bytes >= HUGE_PAGE ? HUGE_PAGE : ALIGNMENT;
    padded = (bytes + alignment - 1) / alignment * alignment;
    if (padded == 0)
        padded = alignment;
    void *p = aligned_alloc(alignment, padded);
    if (p == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory: %zu bytes were wanted", bytes);
#ifdef MADV_HUGEPAGE
    if (alignment == HUGE_PAGE)
        (void)madvise(p, padded, MADV_HUGEPAGE);
#endif
    if (alignment != HUGE_PAGE || madvise(p, padded, MADV_DONTNEED) != 0)
        memset(p, 0, bytes);
    *out = p;
    return QD_OK;
}

qd_code qd_grow(void **data, size_t *capacity, size_t needed, size_t size, qd_error *err)
{
    if (needed <= *capacity)
        return QD_OK;
    size_t wanted = *capacity < 16 ? 16 : *capacity;
    while (wanted < needed)
        if (!qd_mul_size(wanted, 2, &wanted))
            return qd_fail(err, QD_ENOMEM, "growing to %zu elements overflows", needed);
    size_t bytes;
    if (!qd_mul_size(wanted, size, &bytes))
        return qd_fail(err, QD_ENOMEM, "growing to %zu elements overflows", needed);
    void *p = realloc(*data, bytes);
    if (p == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory: %zu bytes were wanted", bytes);
    *data = p;
    *capacity = wanted;
    return QD_OK;
}

qd_code qd_dup(const char *text, char **out, qd_error *err)
{
    if (text == NULL) {
        *out = NULL;
        return QD_OK;
    }
    char *copy = strdup(text);
    if (copy == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory: %zu bytes were wanted", strlen(text) + 1);
    *out = copy;
    return QD_OK;
}

uint64_t qd_resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%*u %lu", &pages) != 1)
        pages = 0;
    fclose(file);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}
