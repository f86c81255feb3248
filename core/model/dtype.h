/* dtype.h: table of element types: name, bytes, to and from float.
 * Room: core/model. May use: base, linalg.
 * Threads: constant tables. */
#ifndef QD_MODEL_DTYPE_H
#define QD_MODEL_DTYPE_H

#include <stddef.h>

typedef struct qd_dtype {
    const char *name; /* as in safetensors: "BF16" */
    size_t bits;      /* a multiple of 8 in files we read; 0 where elements are stored in blocks */
    size_t block, block_bytes; /* elements stored together along a row, and their bytes: 0, 0 = one by one, bits / 8 each */
    /* count values at `from` (any alignment; whole blocks) -> floats; NULL where we do not widen. */
    void (*to_floats)(const void *from, size_t count, float *out);
    /* Rounds to nearest even; NULL where we do not write. */
    void (*from_floats)(const float *from, size_t count, void *out);
} qd_dtype;

const qd_dtype *qd_dtype_at(size_t index);       /* NULL past the end */
const qd_dtype *qd_dtype_find(const char *name); /* NULL for unknown */

#endif
