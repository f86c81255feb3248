/* mem.h: overflow-checked and aligned allocation, and how much memory the process holds.
 * Room: core/base. May use: libc.
 * Threads: any. */
#ifndef QD_BASE_MEM_H
#define QD_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* count * size zeroed bytes, aligned to 64; free() releases it. count * size == 0 gives a valid pointer.
 * QD_ENOMEM names the size that could not be had. */
qd_code qd_alloc(size_t count, size_t size, void **out, qd_error *err);
/* Grows *data (NULL or from qd_alloc/qd_grow/malloc) so that `needed` elements fit; *capacity is in elements.
 * New elements are not initialized. On failure *data is unchanged. */
qd_code qd_grow(void **data, size_t *capacity, size_t needed, size_t size, qd_error *err);
/* strdup that reports. NULL stays NULL. */
qd_code qd_dup(const char *text, char **out, qd_error *err);
/* Bytes of this process that are in memory; 0 when that cannot be told. */
uint64_t qd_resident_bytes(void);

/* out = a * b / a + b; false on overflow. */
static inline bool qd_mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool qd_add_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}
static inline size_t qd_min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}
static inline size_t qd_max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

#endif
