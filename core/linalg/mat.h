/* mat.h: matrix views, const views and owning buffers.
 * Room: core/linalg. May use: base. Knows no weights, no layers.
 * Threads: views are values; who owns the data decides.
 *
 * Row-major everywhere: (i, j) is data[i * ld + j], ld >= cols. A view owns nothing.
 * Letters of the tree: T tokens of a sequence, m tokens in all, D hidden size, V vocabulary, O (o) output features,
 * I (n) input features of a linear layer, G groups of input features. */
#ifndef QD_LINALG_MAT_H
#define QD_LINALG_MAT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/pages.h"

typedef struct qd_matf {
    size_t rows, cols, ld;
    float *data;
} qd_matf;
typedef struct qd_cmatf {
    size_t rows, cols, ld;
    const float *data;
} qd_cmatf;
/* Values of bf16. */
typedef struct qd_cmath {
    size_t rows, cols, ld;
    const uint16_t *data;
} qd_cmath;
typedef struct qd_matd {
    size_t rows, cols, ld;
    double *data;
} qd_matd;
typedef struct qd_cmatd {
    size_t rows, cols, ld;
    const double *data;
} qd_cmatd;

/* Owners: zero-initialize, init, use .view, fini (fine on a zeroed one). Contents start as zeros, 64-byte aligned,
 * ld == cols. */
typedef struct qd_matf_buf {
    qd_matf view;
} qd_matf_buf;
typedef struct qd_matd_buf {
    qd_matd view;
    qd_scratch_file file; /* where its data lies; empty = in memory */
} qd_matd_buf;
qd_code qd_matf_buf_init(qd_matf_buf *buf, size_t rows, size_t cols, qd_error *err);
void qd_matf_buf_fini(qd_matf_buf *buf);
qd_code qd_matd_buf_init(qd_matd_buf *buf, size_t rows, size_t cols, qd_error *err);
void qd_matd_buf_fini(qd_matd_buf *buf);
/* The same on disk, in a folder; NULL = in memory. What is in use of it is resident until it is released. */
qd_code qd_matd_buf_init_in(qd_matd_buf *buf, size_t rows, size_t cols, const char *folder, qd_error *err);
/* Nothing of it need be resident now, or nothing of some rows; of one in memory all of it stays. */
void qd_matd_buf_release(const qd_matd_buf *buf);
void qd_matd_buf_release_rows(const qd_matd_buf *buf, size_t first, size_t count);

static inline qd_cmatf qd_matf_const(qd_matf m)
{
    return (qd_cmatf){ m.rows, m.cols, m.ld, m.data };
}
static inline qd_cmatd qd_matd_const(qd_matd m)
{
    return (qd_cmatd){ m.rows, m.cols, m.ld, m.data };
}
/* A view of memory somebody else owns. */
static inline qd_matf qd_matf_view(float *data, size_t rows, size_t cols)
{
    return (qd_matf){ rows, cols, cols, data };
}
static inline qd_cmatf qd_cmatf_view(const float *data, size_t rows, size_t cols)
{
    return (qd_cmatf){ rows, cols, cols, data };
}
static inline qd_cmath qd_cmath_view(const uint16_t *data, size_t rows, size_t cols)
{
    return (qd_cmath){ rows, cols, cols, data };
}
/* Rows [i, i + rows), columns [j, j + cols). */
static inline qd_matf qd_matf_block(qd_matf m, size_t i, size_t j, size_t rows, size_t cols)
{
    assert(i + rows <= m.rows && j + cols <= m.cols);
    return (qd_matf){ rows, cols, m.ld, m.data + i * m.ld + j };
}
static inline qd_cmatf qd_cmatf_block(qd_cmatf m, size_t i, size_t j, size_t rows, size_t cols)
{
    assert(i + rows <= m.rows && j + cols <= m.cols);
    return (qd_cmatf){ rows, cols, m.ld, m.data + i * m.ld + j };
}
static inline qd_cmath qd_cmath_block(qd_cmath m, size_t i, size_t j, size_t rows, size_t cols)
{
    assert(i + rows <= m.rows && j + cols <= m.cols);
    return (qd_cmath){ rows, cols, m.ld, m.data + i * m.ld + j };
}
static inline qd_matd qd_matd_block(qd_matd m, size_t i, size_t j, size_t rows, size_t cols)
{
    assert(i + rows <= m.rows && j + cols <= m.cols);
    return (qd_matd){ rows, cols, m.ld, m.data + i * m.ld + j };
}
static inline float *qd_matf_row(qd_matf m, size_t i)
{
    return m.data + i * m.ld;
}
static inline const float *qd_cmatf_row(qd_cmatf m, size_t i)
{
    return m.data + i * m.ld;
}
static inline const uint16_t *qd_cmath_row(qd_cmath m, size_t i)
{
    return m.data + i * m.ld;
}
static inline double *qd_matd_row(qd_matd m, size_t i)
{
    return m.data + i * m.ld;
}
static inline const double *qd_cmatd_row(qd_cmatd m, size_t i)
{
    return m.data + i * m.ld;
}

#endif
