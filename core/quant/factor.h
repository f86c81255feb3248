/* factor.h: column order, damping and the reversed Cholesky factor that all column algorithms share.
 * Room: core/quant. May use: base, linalg.
 * Threads: a finished qd_factor is read-only.
 * Source: algorithms.md §1, §4, §5, §6.2 "Factor without forming an inverse"; theory.md §1 (its R is our C, its U our
 * R = C^-1). */
#ifndef QD_QUANT_FACTOR_H
#define QD_QUANT_FACTOR_H

#include <stdint.h>

#include "base/pool.h"
#include "linalg/mat.h"
#include "quant/param.h"

/* ---- what a run with a guarantee asks of order and damping: guarantee.h; theory.md §8.3 ---- */

/* The matrix of the feedback: none, the factor C, or triu(H). */
typedef enum qd_drift_kind { QD_DRIFT_NONE, QD_DRIFT_FACTOR, QD_DRIFT_PATH } qd_drift_kind;

/* Steps are equal here: they are not known yet. */
typedef struct qd_guard {
    qd_drift_kind drift;
    double room;         /* K */
    double deviation;    /* drift.h */
    const double *reach; /* largest |w| of each column over all neurons, original order */
} qd_guard;
/* kappa_t^2 / deviation of each step (I, out_sums), and the largest kappa. hessian: in processing order. */
qd_code qd_guard_measure(const qd_guard *guard, qd_cmatd hessian, qd_cmatd c, double *out_sums, double *out_kappa,
                         qd_error *err);

/* ---- orders ---- */
typedef struct qd_order {
    const char *name; /* "auto", "natural", "norm-descending", "min-pivot" */
    const char *summary;
    const qd_param *params;
    size_t matrices; /* of I x I float64, in memory, that permute works with */
    /* Fills permutation[t] = original column processed at step t, from H (I x I, finite, undamped) and the damping it will get. Stable:
     * ties lower index first. out_chosen: the row whose order it is; itself, but for "auto". QD_ENUMERIC when the order needs pivots that
     * this lambda does not give: a larger one may. */
    qd_code (*permute)(qd_cmatd hessian, double lambda, uint32_t *out_permutation, const struct qd_order **out_chosen,
                       qd_error *err);
    /* The same with a guard; NULL where it changes nothing. */
    qd_code (*permute_guarded)(qd_cmatd hessian, double lambda, const qd_guard *guard, uint32_t *out_permutation,
                               const struct qd_order **out_chosen, qd_error *err);
} qd_order;
const qd_order *qd_order_at(size_t index);
const qd_order *qd_order_find(const char *name);

/* ---- regularization ---- */
typedef enum qd_damping_value { QD_VALUE_GIVEN, QD_VALUE_HELD_OUT } qd_damping_value;
/* The value of a QD_VALUE_HELD_OUT rule where nothing can be held out. */
#define QD_DAMPING_FALLBACK 0.01

typedef struct qd_regularizer {
    const char *name; /* "mean_diagonal", "spectral", "absolute", "auto" */
    const char *summary;
    const qd_param *params; /* QD_VALUE_GIVEN: one value, with range and default; else none */
    qd_damping_value value; /* who gives the value: the job, or qd_holdout_search (holdout.h) */
    /* lambda >= 0 in units of H. Dead columns (H_jj = 0) do not count in means. */
    qd_code (*lambda)(qd_cmatd hessian, double value, double *out_lambda, qd_error *err);
} qd_regularizer;
const qd_regularizer *qd_regularizer_at(size_t index);
const qd_regularizer *qd_regularizer_find(const char *name);

enum { QD_LADDER_STEPS = 6 }; /* lambda, 10 lambda, ... 10^6 lambda: tries after the first */

/* H_lambda = C C^T, C upper triangular, in processing order. */
typedef struct qd_factor {
    size_t features;       /* I */
    const qd_order *order; /* whose order it is: never "auto" */
    const qd_regularizer *regularizer;
    uint32_t *permutation;          /* step -> original column */
    double lambda, lambda_relative; /* used value; relative to mean(diag H) over live columns */
    unsigned escalations;           /* 0 = the first lambda worked */
    size_t dead_columns;            /* H_jj = 0 before damping: their weights are rounded from zero */
    qd_matd_buf c;                  /* I x I upper triangular */
    qd_matd_buf hessian;            /* H (undamped) permuted into processing order */
    double *pivot, *diagonal;       /* C_tt and H_tt of step t: asking for them leaves both matrices where they lie */
    double trace;                   /* tr H, undamped */
} qd_factor;
/* Escalates lambda x10 (to at least 1e-8 of the mean diagonal) up to QD_LADDER_STEPS times, when a pivot is not
 * positive or lost in rounding; QD_ENUMERIC (with lambda and pivot) when all fail, or when H has a value that is not
 * finite. */
qd_code qd_factor_create(qd_cmatd hessian, const qd_order *order, const qd_regularizer *regularizer, double value,
                         qd_pool *pool, qd_factor **out, qd_error *err);
/* The same for a run with a guarantee. guard: NULL = none. */
qd_code qd_factor_create_guarded(qd_cmatd hessian, const qd_order *order, const qd_regularizer *regularizer,
                                 double value, const qd_guard *guard, qd_pool *pool, qd_factor **out, qd_error *err);
/* The same with its matrices on disk, in a folder (NULL = in memory). */
qd_code qd_factor_create_in(qd_cmatd hessian, const qd_order *order, const qd_regularizer *regularizer, double value,
                            const qd_guard *guard, qd_pool *pool, const char *folder, qd_factor **out, qd_error *err);
/* The same of a matrix that is taken over, put in order where it lies, and leaves an empty one behind: one matrix less. On failure it
 * stays as it was. C lies beside it. */
qd_code qd_factor_take(qd_matd_buf *hessian, const qd_order *order, const qd_regularizer *regularizer, double value,
                       const qd_guard *guard, qd_pool *pool, qd_factor **out, qd_error *err);
/* Between uses nothing of it need be resident. */
void qd_factor_release(const qd_factor *factor);
void qd_factor_destroy(qd_factor *factor);

/* to[i][j] = from[permutation[i]][permutation[j]]. */
qd_code qd_factor_gather(qd_cmatd from, const uint32_t *permutation, qd_pool *pool, qd_matd to, qd_error *err);

#endif
