/* scale_mse.c: the scale, of 19 fractions of the range, that rounds the group with the least squared error.
 * Source: algorithms.md §2.3: fractions i/20, i = 2..20, the first strictly smaller loss wins; asymmetric grids
 * search the scale with the zero of the whole range first, then the zero over the same fractions of |lo|. Not
 * weighted by H. Of powers of two those fractions are some five exponents; one above them is tried last. */
#include <math.h>

#include "quant/scale_rules.h"

enum { FIRST = 2, LAST = 20 };

static void choose(const qd_grid_spec *spec, const float *weights, const double *importance, size_t count,
                   float *out_scale, float *out_zero)
{
    (void)importance;
    qd_group_stat stat = qd_group_measure(spec, weights, count);
    qd_candidates tried = { 0 };
    for (int i = FIRST; i <= LAST + (int)spec->scale_type->wider; i++) {
        float scale = qd_group_scale(spec, &stat, i <= LAST ? i / (double)LAST : ldexp(1.0, i - LAST));
        tried.scale[tried.count] = scale;
        tried.zero[tried.count++] = qd_group_zero(spec, &stat, scale, 1.0);
    }
    size_t best = qd_group_least(&stat, weights, NULL, count, &tried);
    *out_scale = tried.scale[best];
    *out_zero = tried.zero[best];
    if (spec->zero == QD_ZERO_NONE)
        return;
    tried.count = 0;
    for (int i = FIRST; i <= LAST; i++) {
        tried.scale[tried.count] = *out_scale;
        tried.zero[tried.count++] = qd_group_zero(spec, &stat, *out_scale, i / (double)LAST);
    }
    *out_zero = tried.zero[qd_group_least(&stat, weights, NULL, count, &tried)];
}

static const qd_param params[] = { { .name = NULL } };

const qd_scale_rule qd_scale_mse = {
    .name = "mse",
    .summary = "the one of 19 fractions of the range with the least squared rounding error in the group",
    .params = params,
    .tries = LAST - FIRST + 1,
    .choose = choose,
};
