/* scale_rules.h: rows of the scale registry, and what they share: the statistic of a group and its affine grid.
 * Room: core/quant, private to it. May use: base, linalg.
 * Threads: pure functions, constant rows.
 * Source: algorithms.md §2.2. */
#ifndef QD_QUANT_SCALE_RULES_H
#define QD_QUANT_SCALE_RULES_H

#include "quant/scale.h"

extern const qd_scale_rule qd_scale_minmax, qd_scale_mse, qd_scale_hessian_mse;

/* Codes and statistic of one group. */
typedef struct qd_group_stat {
    double low, high;        /* codes */
    const qd_levels *levels; /* NULL: the codes themselves */
    double range;  /* max|w| (QD_ZERO_NONE) or max w - lo (max(max w, 0) - lo for an integer zero), at least 1e-4 */
    double lowest; /* |lo|, lo = min(min w, 0); 0 for QD_ZERO_NONE */
} qd_group_stat;
qd_group_stat qd_group_measure(const qd_grid_spec *spec, const float *weights, size_t count);

/* Scale for a fraction of the range, rounded to the scale type, and > 0. */
float qd_group_scale(const qd_grid_spec *spec, const qd_group_stat *stat, double fraction);
/* Zero for a fraction of |lo| under a (stored) scale: 0, an integer in the code range, or a float. */
float qd_group_zero(const qd_grid_spec *spec, const qd_group_stat *stat, float scale, double fraction);

enum { QD_CANDIDATES_MOST = 128 };
typedef struct qd_candidates {
    size_t count;
    float scale[QD_CANDIDATES_MOST], zero[QD_CANDIDATES_MOST];
} qd_candidates;
/* The first with the least sum_j importance_j (w_j - q_j)^2 of rounding to the nearest code or level; importance NULL = 1. */
size_t qd_group_least(const qd_group_stat *stat, const float *weights, const double *importance, size_t count,
                      const qd_candidates *candidates);

#endif
