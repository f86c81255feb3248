/* hadamard.h: orthonormal Hadamard matrices of any size, applied fast: the basis in which weights are incoherent.
 * Room: core/quant. May use: base, linalg.
 * Threads: a finished qd_hadamard is read-only; rows are cut into fixed panels over the pool.
 * Source: algorithms.md §8.1. n = K 2^p: M = (H_K x S) diag(signs) / sqrt(n), S of Sylvester, H_K of Paley. Where no H_K is known M is block
 * diagonal with S / sqrt(2^p), 2^p the largest power of two in n; of an odd n it is then diag(signs). */
#ifndef QD_QUANT_HADAMARD_H
#define QD_QUANT_HADAMARD_H

#include <stdint.h>

#include "base/pool.h"
#include "linalg/mat.h"

typedef enum qd_signs { QD_SIGNS_NONE, QD_SIGNS_RANDOM } qd_signs;

typedef struct qd_hadamard {
    size_t features, order, run; /* n = order * run; run = 2^p */
    double scale;
    qd_matd_buf mix; /* H_K; no rows where the segments of `run` values are not mixed */
    double *signs;   /* n; NULL = all are +1 */
} qd_hadamard;
/* key: of the random signs; layers with the same input share it (qd_rng_key of seed and input). */
qd_code qd_hadamard_create(size_t features, qd_signs signs, uint64_t key, qd_hadamard **out, qd_error *err);
void qd_hadamard_destroy(qd_hadamard *hadamard); /* NULL is fine */

/* QD_TURN: x becomes M x (of a row of weights: w M^T). QD_TURN_BACK: M^T x (w M). Rows of n values. */
typedef enum qd_turn { QD_TURN, QD_TURN_BACK } qd_turn;
/* One row; scratch: n. */
void qd_hadamard_row(const qd_hadamard *hadamard, qd_turn turn, double *x, double *scratch);
qd_code qd_hadamard_rows(const qd_hadamard *hadamard, qd_turn turn, qd_matd x, qd_pool *pool, qd_error *err);
/* The same for weights: computed in float64 and rounded to float32 once. That is 2^-25 of a value, 1e-5 of a step of 8 bits, and what a
 * certificate is about is the rounded one. `to` may be `from`. */
qd_code qd_hadamard_weights(const qd_hadamard *hadamard, qd_turn turn, qd_cmatf from, qd_matf to, qd_pool *pool,
                            qd_error *err);

/* m (n x n) becomes M m M^T: a moment of inputs x becomes that of M x. */
qd_code qd_hadamard_moment(const qd_hadamard *hadamard, qd_matd m, qd_pool *pool, qd_error *err);
/* For a symmetric m: the result is symmetric to the last bit. */
qd_code qd_hadamard_gram(const qd_hadamard *hadamard, qd_matd m, qd_pool *pool, qd_error *err);

#endif
