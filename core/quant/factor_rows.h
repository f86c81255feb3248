/* factor_rows.h: rows of the order and regularizer registries.
 * Room: core/quant, private to it. May use: base, linalg.
 * Threads: constant rows. */
#ifndef QD_QUANT_FACTOR_ROWS_H
#define QD_QUANT_FACTOR_ROWS_H

#include "quant/factor.h"

extern const qd_order qd_order_natural, qd_order_norm_descending;
extern const qd_regularizer qd_regularizer_mean_diagonal;

/* Mean of |H_jj| over live columns (H_jj != 0); 1 when there is none, so that damping stays positive. */
double qd_mean_diagonal(qd_cmatd hessian);

#endif
