/* guarantee.h: steps large enough that stochastic rounding clips nothing, with probability 1 - eta, known before the pass.
 * Room: core/quant. May use: base, linalg.
 * Threads: called from one thread; rows are cut into fixed parts over the pool.
 * Source: theory.md T10, T12, §8.3. Step t of a row holds when  low <= target_t / step_t + zero -/+ kappa_t <= high  with
 *   (kappa_t step_t)^2 = deviation * sum_g step_g^2 S_gt        (drift.h; S_gt: sum of p_jt^2 over the j < t of group g).
 * What a group needs grows with the steps of the others: raising each to its need, again and again from the rule's steps, ends at the
 * smallest that hold together, or never (Knaster and Tarski). */
#ifndef QD_QUANT_GUARANTEE_H
#define QD_QUANT_GUARANTEE_H

#include "quant/algorithm.h"

/* Beginning of the error when no steps would do. */
#define QD_GUARANTEE_INFEASIBLE "GUARANTEE_INFEASIBLE"

/* Raises the steps of `grid` (that of `input`), and moves its zeros where it has any, until the guarantee holds for `algorithm`; each step is
 * a value of `type`. Steps that hold already are kept. QD_EINVAL when none would do: with the bits, and the lambda, that would. */
qd_code qd_layer_guarantee(const qd_algorithm *algorithm, const qd_layer_input *input, const qd_scale_type *type,
                           qd_grid *grid, qd_growth *out, qd_error *err);

#endif
