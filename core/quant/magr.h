/* magr.h: MagR: weights with smaller extremes and (nearly) the same outputs, so that a grid has finer steps.
 * Room: core/quant. May use: base, linalg.
 * Threads: called from one thread; rows are cut into fixed panels over the pool: same bytes for any number of threads.
 * Source: algorithms.md §7 (Zhang et al. 2024). Each row by itself, from v = w: min 1/2 (v - w) H (v - w)^T + nu max|v| by proximal steps
 *   v <- prox(v - eta (v - w) H),  eta = 1 / sigma_max,  prox(y) = clip(y, +-t) with sum (|y_i| - t)_+ = tau,  nu = tau / eta. */
#ifndef QD_QUANT_MAGR_H
#define QD_QUANT_MAGR_H

#include "base/pool.h"
#include "linalg/mat.h"

/* tau = alpha sigma_max / max column sum of |H|, of whole rows (Brevitas); or alpha, of every group of the grid (as published). */
typedef enum qd_magr_normalization { QD_MAGR_BREVITAS, QD_MAGR_PUBLISHED } qd_magr_normalization;

typedef struct qd_magr {
    double alpha; /* >= 0; 0 changes nothing */
    size_t iterations;
    qd_magr_normalization normalization;
    size_t group_size; /* of the grid; 0 = the whole row */
} qd_magr;

/* What it did, over all rows. */
typedef struct qd_magr_report {
    double change_sq, output_sq;      /* (v - w) H (v - w)^T and w H w^T */
    double range_before, range_after; /* sums of max |w| and max |v| of the rows */
} qd_magr_report;

/* hessian: second moments of the *float* model's input. out: O x I, float64 inside, rounded to float32 once; may not be w. H = 0 asks for
 * nothing to be kept and gives no step size: w stays. */
qd_code qd_magr_run(const qd_magr *magr, qd_cmatf w, qd_cmatd hessian, qd_pool *pool, qd_matf out,
                    qd_magr_report *out_report, qd_error *err);

/* One proximal step of `count` values in place: exact (no tolerance, no sort). */
void qd_magr_prox(double *y, size_t count, double tau);

#endif
