/* mem.c: see mem.h. */
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ALIGNMENT = 64 };

qd_code qd_alloc(size_t count, size_t size, void **out, qd_error *err)
{
    size_t bytes, padded;
    if (!qd_mul_size(count, size, &bytes) || !qd_add_size(bytes, ALIGNMENT, &padded))
        return qd_fail(err, QD_ENOMEM, "allocation of %zu x %zu bytes overflows", count, size);
    padded &= ~(size_t)(ALIGNMENT - 1);
    if (padded == 0)
        padded = ALIGNMENT;
    void *p = aligned_alloc(ALIGNMENT, padded);
    if (p == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory: %zu bytes were wanted", bytes);
    memset(p, 0, padded);
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
