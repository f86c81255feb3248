/* rows.h: what a forward pass does to rows of float32 beside products and exponentials: norms, rotations, sums.
 * Room: core/linalg. May use: base.
 * Threads: pure functions. Each version is the same plain loops, compiled for an instruction set, and gives the same
 * bits. */
#ifndef QD_LINALG_ROWS_H
#define QD_LINALG_ROWS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct qd_rows {
    const char *name;
    bool (*supported)(void); /* by this processor */
    /* out = weight * x / sqrt(mean(x^2) + eps), the mean in double; out may be x. */
    void (*rms_norm)(const float *x, const float *weight, float eps, size_t count, float *out);
    /* out = weight * (x - mean(x)) / sqrt(var(x) + eps) + bias, in double; bias may be NULL, out may be x. */
    void (*layer_norm)(const float *x, const float *weight, const float *bias, float eps, size_t count, float *out);
    /* (a_i, b_i) turns by the angle i: a = a cos - b sin, b = b cos + a sin. */
    void (*rotate)(const float *cosine, const float *sine, size_t count, float *a, float *b);
    /* y += scale * x */
    void (*add)(float scale, const float *x, size_t count, float *y);
    /* y += scale * x in double */
    void (*add_wide)(double scale, const float *x, size_t count, double *y);
} qd_rows;
const qd_rows *qd_rows_at(size_t index); /* fastest first; NULL past the end */
const qd_rows *qd_rows_best(void);       /* fastest this processor has */

#endif
