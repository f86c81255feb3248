/* dtype.h: table of element types: name, bytes, to and from float.
 * Room: core/model. May use: base, linalg.
 * Threads: constant tables. */
#ifndef QD_MODEL_DTYPE_H
#define QD_MODEL_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct qd_dtype {
    const char *name; /* as in safetensors: "BF16" */
    size_t bits;      /* a multiple of 8 in files we read; 0 where elements are stored in blocks */
    size_t block,
        block_bytes; /* elements stored together along a row, and their bytes: 0, 0 = one by one, bits / 8 each */
    /* count values at `from` (any alignment; whole blocks) -> floats; NULL where we do not widen. */
    void (*to_floats)(const void *from, size_t count, float *out);
    /* Rounds to nearest even; NULL where we do not write. */
    void (*from_floats)(const float *from, size_t count, void *out);
} qd_dtype;

const qd_dtype *qd_dtype_at(size_t index);       /* NULL past the end */
const qd_dtype *qd_dtype_find(const char *name); /* NULL for unknown */

/* Bytes of so many elements; false when they overflow or are no whole bytes or blocks. */
bool qd_dtype_bytes(const qd_dtype *dtype, uint64_t elements, uint64_t *out);
/* The same where the count was checked before: a whole number of blocks that is in memory. */
size_t qd_dtype_size(const qd_dtype *dtype, size_t elements);

#endif
