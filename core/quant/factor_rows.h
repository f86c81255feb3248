/* factor_rows.h: rows of the order and regularizer registries.
 * Room: core/quant, private to it. May use: base, linalg.
 * Threads: constant rows. */
#ifndef QD_QUANT_FACTOR_ROWS_H
#define QD_QUANT_FACTOR_ROWS_H

#include "quant/factor.h"

extern const qd_order qd_order_auto, qd_order_natural, qd_order_norm_descending, qd_order_min_pivot;
extern const qd_regularizer qd_regularizer_mean_diagonal, qd_regularizer_spectral, qd_regularizer_absolute,
    qd_regularizer_auto;

/* Mean of |H_jj| over live columns (H_jj != 0); 1 when there is none, so that damping stays positive. */
double qd_mean_diagonal(qd_cmatd hessian);
/* Largest eigenvalue of |H| in size, by power iteration from a fixed start: the same bytes every time; 0 for H = 0. */
qd_code qd_spectral_norm(qd_cmatd hessian, double *out_norm, qd_error *err);
/* QD_EINVAL, with the field's name, when a value is outside the row's range. */
qd_code qd_damping_check(const qd_param *param, double value, qd_error *err);

/* A squared pivot at or below this is what rounding left of zero: I eps max diag(H_lambda). */
double qd_pivot_least(qd_cmatd hessian, double lambda);
/* H + lambda I = C C^T for an H in processing order; QD_ENUMERIC when a pivot is not positive or lost in rounding. */
qd_code qd_pivots(qd_cmatd hessian, double lambda, qd_pool *pool, qd_matd c, qd_error *err);

#endif
