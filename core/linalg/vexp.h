/* vexp.h: exponentials over rows of float32: soft-max weights, SiLU gates, log-sum-exp parts.
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
/* No NaN and no infinity among the values. */
bool qd_all_finite(const float *values, size_t count);
/* Largest value of the row, and sum of exp(row[i] - max) in double. */
void qd_exp_sum_row(const float *row, size_t count, float *out_max, double *out_sum);

#endif
