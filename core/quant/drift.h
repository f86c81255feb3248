/* drift.h: how far the arguments of stochastic rounding may lie from their targets.
 * Room: core/quant. May use: base, linalg.
 * Threads: called from one thread; columns are cut into fixed parts over the pool.
 * Source: theory.md I3, T10: z_t - target_t = - sum_{j<t} p_jt e_j with p_jt = A_jj (A^-1)_jt, A the upper triangular matrix of the feedback.
 * The e_j are martingale differences on intervals as long as their steps. */
#ifndef QD_QUANT_DRIFT_H
#define QD_QUANT_DRIFT_H

#include "base/pool.h"
#include "linalg/mat.h"
#include "quant/grid.h"

/* Probability with which a statement about chance may fail. */
#define QD_CHANCE_ETA 0.05

/* out (groups x I): sum of p_jt^2 over the j < t of a group. group: of each step; NULL = one group. */
qd_code qd_drift_squares(qd_cmatd upper, const uint32_t *group, qd_pool *pool, qd_matd out, qd_error *err);
/* kappa_t^2 = this * sum_{j<t} (step_j / step_t)^2 p_jt^2: Hoeffding and Azuma over all steps (N) of all neurons (d). */
double qd_drift_deviation(size_t features, size_t neurons);
/* Largest kappa where all steps are equal. */
qd_code qd_drift_equal(qd_cmatd upper, double deviation, qd_pool *pool, double *out, qd_error *err);
/* K: steps on either side of zero that a grid of this range, in steps, has when its zero is put best. */
double qd_drift_room(double low, double high, qd_zero_kind zero);
/* Least b with 2^(b-1) - 1 > kappa. */
unsigned qd_drift_bits(double kappa);

#endif
