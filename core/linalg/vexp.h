/* vexp.h: exponentials over rows of float32: soft-max weights, gates of SiLU and GELU, log-sum-exp parts.
 * Room: core/linalg. May use: base.
 * Threads: pure functions. Instruction set chosen at run time; every version has the plain loop as its source.
 * Accuracy: relative error of the exponential below 2e-7 (tests compare with the C library in double). */
#ifndef QD_LINALG_VEXP_H
#define QD_LINALG_VEXP_H

#include <stdbool.h>
#include <stddef.h>

/* row[i] = exp(row[i] - max(row)) / sum: the soft-max of a row of count >= 1 finite values, in place. */
void qd_softmax_row(float *row, size_t count);
/* gate[i] = silu(gate[i]) * up[i], silu(x) = x / (1 + exp(-x)). */
void qd_silu_multiply(float *gate, const float *up, size_t count);
/* gate[i] = gelu(gate[i]) * up[i], gelu(x) = x Phi(x), Phi the normal distribution. */
void qd_gelu_multiply(float *gate, const float *up, size_t count);
/* The same with Phi(x) = 1 / (1 + exp(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3). */
void qd_gelu_tanh_multiply(float *gate, const float *up, size_t count);
/* x[i] = scale * tanh(factor * x[i]). */
void qd_tanh_row(float *x, size_t count, float factor, float scale);
/* No NaN and no infinity among the values. */
bool qd_all_finite(const float *values, size_t count);
/* Largest value of the row, and sum of exp(row[i] - max) in double. */
void qd_exp_sum_row(const float *row, size_t count, float *out_max, double *out_sum);

/* The same for one instruction set: each is the same loops, compiled for it. */
typedef struct qd_vexp {
    const char *name;
    bool (*supported)(void); /* by this processor */
    void (*softmax)(float *row, size_t count);
    void (*silu)(float *gate, const float *up, size_t count);
    void (*gelu)(float *gate, const float *up, size_t count);
    void (*gelu_tanh)(float *gate, const float *up, size_t count);
    void (*tanh)(float *x, size_t count, float factor, float scale);
    void (*exp_sum)(const float *row, size_t count, float *out_max, double *out_sum);
} qd_vexp;
const qd_vexp *qd_vexp_at(size_t index); /* fastest first; NULL past the end */

#endif
