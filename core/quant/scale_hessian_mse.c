/* scale_hessian_mse.c: the scale, of 80 fractions of the range, that rounds the group with the least error in the layer's output, as far as
 * diag(H) knows it. Source: algorithms.md §2.3; reference-numbers.md §1 "hwscale": fractions 1, 0.99 ... 0.21 of range and lo together,
 * the first least sum_j H_jj (w_j - q_j)^2. Powers of two are tried one exponent above that, too. */
#include <math.h>

#include "quant/scale_rules.h"

enum { CANDIDATES = 80, HUNDREDTHS = 100 };

static bool candidate_of(const qd_grid_spec *spec, const qd_group_stat *stat, size_t index, float *out_scale,
                         float *out_zero)
{
    if (index >= CANDIDATES + spec->scale_type->wider)
        return false;
    double fraction =
        index < CANDIDATES ? (double)(HUNDREDTHS - index) / HUNDREDTHS : ldexp(1.0, (int)(index - CANDIDATES) + 1);
    *out_scale = qd_group_scale(spec, stat, fraction);
    *out_zero = qd_group_zero(spec, stat, *out_scale, fraction);
    return true;
}

static bool candidate(const qd_grid_spec *spec, const float *weights, size_t count, size_t index, float *out_scale,
                      float *out_zero)
{
    qd_group_stat stat = qd_group_measure(spec, weights, count);
    return candidate_of(spec, &stat, index, out_scale, out_zero);
}

static void choose(const qd_grid_spec *spec, const float *weights, const double *importance, size_t count,
                   float *out_scale, float *out_zero)
{
    qd_group_stat stat = qd_group_measure(spec, weights, count);
    qd_candidates tried = { 0 };
    while (candidate_of(spec, &stat, tried.count, &tried.scale[tried.count], &tried.zero[tried.count]))
        tried.count++;
    size_t best = qd_group_least(&stat, weights, importance, count, &tried);
    *out_scale = tried.scale[best];
    *out_zero = tried.zero[best];
}

static const qd_param params[] = { { .name = NULL } };

const qd_scale_rule qd_scale_hessian_mse = {
    .name = "hessian-mse",
    .summary = "the one of 80 fractions of the range with the least squared rounding error weighted by diag(H)",
    .params = params,
    .tries = CANDIDATES,
    .choose = choose,
    .candidate = candidate,
};
