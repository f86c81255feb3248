/* turned.h: second moments of two streams in another basis of the input, and those of the float stream alone.
 * Room: core/quant. May use: base, linalg.
 * Threads: called from one thread; rows are cut into fixed panels over the pool.
 * Source: algorithms.md §8.2, §8.3: W M^T, M H M^T, M K M^T. */
#ifndef QD_QUANT_TURNED_H
#define QD_QUANT_TURNED_H

#include "quant/hadamard.h"
#include "quant/mismatch.h"

/* Every matrix of a finished mismatch, those of its parts too; before qd_mismatch_split. */
qd_code qd_mismatch_turn(qd_mismatch *mismatch, const qd_hadamard *basis, qd_pool *pool, qd_error *err);
/* X^T X / m = H + K + K^T + M; out: I x I. */
void qd_mismatch_float_moment(const qd_mismatch *mismatch, qd_matd out);

#endif
