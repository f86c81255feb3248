/* holdout.h: damping chosen by inputs that were held out, before anything is rounded.
 * Room: core/quant. May use: base, linalg.
 * Threads: a finished qd_holdout is read-only.
 * Source: theory.md §5 T8', §8.3; reference-numbers.md §1 "holdout". Everything is per token (H is a mean), so T is that of theory.md over
 * the number of held-out rows. */
#ifndef QD_QUANT_HOLDOUT_H
#define QD_QUANT_HOLDOUT_H

#include <stdbool.h>

#include "quant/factor.h"
#include "quant/gram.h"

enum { QD_HOLDOUT_EVERY = 5 };

/* Is this calibration sequence held out? i mod 5 = 4. */
static inline bool qd_holdout_takes(size_t sequence)
{
    return sequence % QD_HOLDOUT_EVERY == QD_HOLDOUT_EVERY - 1;
}

typedef struct qd_holdout {
    size_t tokens;       /* held out; 0 = nothing was */
    qd_matd_buf hessian; /* I x I, of the held-out inputs, original order */
    double value; /* lambda over the mean diagonal of H: 1, 0.1, ... 1e-5; QD_DAMPING_FALLBACK when none would do */
    double t; /* T at that lambda: the error of a grid is expected to be step^2 / 12 of it; NaN when none would do */
    double *column_t; /* I, original order: T's terms, of a column's own step. NaN as above */
} qd_holdout;
void qd_holdout_fini(qd_holdout *holdout);

/* T(lambda) = tr(diag(r) U H_hold U^T diag(r)), U = C^-1, by columns in original order; C and r of `factor`. */
qd_code qd_holdout_expect(const qd_factor *factor, qd_cmatd held, qd_pool *pool, double *out_columns, double *out_t,
                          qd_error *err);
/* fit: H of the other inputs. held: a finished gram, whose matrix is taken over. The order's row is asked for each lambda: the factors
 * are those that would be used. Of the values within 1 % of the least T the largest wins. */
/* guard: NULL, or that of a run with a guarantee: a lambda that leaves no room for every argument is no candidate. */
qd_code qd_holdout_search(qd_cmatd fit, qd_gram *held, const qd_order *order, const qd_guard *guard, qd_pool *pool,
                          qd_holdout *out, qd_error *err);
/* The same from a matrix that may lie on disk: nothing of it, nor of what is taken over, is resident afterwards; what candidates need lies
 * beside it. */
qd_code qd_holdout_search_in(const qd_matd_buf *fit, qd_gram *held, const qd_order *order, const qd_guard *guard,
                             qd_pool *pool, qd_holdout *out, qd_error *err);

#endif
