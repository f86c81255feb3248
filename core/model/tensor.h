/* tensor.h: a named tensor in a mapped file, and its bytes as numbers.
 * Room: core/model. May use: base, linalg.
 * Threads: immutable once the file is open.
 * Source: formats.md §1, §6.3 (order of rows), §6.5 (blocks). */
#ifndef QD_MODEL_TENSOR_H
#define QD_MODEL_TENSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "model/dtype.h"

enum { QD_TENSOR_MAX_RANK = 8 };

/* Strings and data live as long as the file. `data` may be unaligned. */
typedef struct qd_tensor {
    const char *name;
    const qd_dtype *dtype;
    size_t rank;
    uint64_t shape[QD_TENSOR_MAX_RANK]; /* outermost first; a dtype's blocks lie along the last */
    uint64_t elements;
    const unsigned char *data;
    size_t bytes;
    bool mapped; /* the data is a file's: pages are given back when they were read as numbers */
    /* What lies between the bytes and the numbers; all zero where the dtype says everything (qd_tensor_is_plain). */
    bool transposed;  /* the file has the transpose of `shape`, row by row (Conv1D) */
    size_t head_rows; /* rows of a head that lie interleaved in the file: numbers come half-split; 0 = none */
    const struct qd_tensor *scale;   /* every number is times one element of it; NULL = none */
    uint64_t scale_rows, scale_cols; /* rows and columns of this tensor under one element of `scale` */
} qd_tensor;

/* The bytes, in their dtype and order, are all there is to it: a copy of them is a copy of the tensor. (Blocks are
 * plain too, in a container that has them.) */
bool qd_tensor_is_plain(const qd_tensor *tensor);
/* Widened to float32. Only floating types (F64 is rounded), blocks and I8/U8/I16/I32; out has t->elements floats. */
qd_code qd_tensor_to_floats(const qd_tensor *tensor, float *out, qd_error *err);
/* The same for rows [row, row + count) of a rank-2 tensor. */
qd_code qd_tensor_rows_to_floats(const qd_tensor *tensor, size_t row, size_t count, float *out, qd_error *err);
/* What was read of the data, if it is mapped, need not be resident any more. The three functions that read do this themselves. */
void qd_tensor_release(const qd_tensor *tensor, const unsigned char *from, size_t bytes);
/* QD_ENUMERIC naming tensor, index and value at the first NaN or infinity. */
qd_code qd_tensor_check_finite(const qd_tensor *tensor, qd_error *err);

#endif
