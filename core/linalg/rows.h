/* rows.h: what a forward pass does to rows of float32 beside products and exponentials: norms, rotations, sums, and their way to bf16 and back.
 * Room: core/linalg. May use: base.
 * Threads: pure functions. Each version is the same plain loops, compiled for an instruction set, and gives the same
 * bits. */
#ifndef QD_LINALG_ROWS_H
#define QD_LINALG_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
    /* sums of (x - y)^2 and of x^2, in double */
    void (*distance)(const float *x, const float *y, size_t count, double *out_difference, double *out_size);
    /* From bf16, at any address; and to bf16 as half.h rounds: as such, or as a float of which it is all (out may be x). */
    void (*widen)(const void *x, size_t count, float *out);
    void (*narrow)(const float *x, size_t count, uint16_t *out);
    void (*round)(const float *x, size_t count, float *out);
    /* out = x - y, of bf16 and rounded to it; out is neither. */
    void (*subtract_bf16)(const uint16_t *x, const uint16_t *y, size_t count, uint16_t *out);
} qd_rows;
const qd_rows *qd_rows_at(size_t index); /* fastest first; NULL past the end */
const qd_rows *qd_rows_best(void);       /* fastest this processor has */

#endif
