/* scale_mse.c: the scale, of 19 fractions of the range, that rounds the group with the least squared error.
 * Source: algorithms.md §2.3: fractions i/20, i = 2..20, the first strictly smaller loss wins; asymmetric grids
 * search the scale with the zero of the whole range first, then the zero over the same fractions of |lo|. Not
 * weighted by H. Of powers of two those fractions are some five exponents; one above them is tried last. */
#include <math.h>

#include "quant/scale_rules.h"

enum { FIRST = 2, LAST = 20 };

static double loss_of_levels(const qd_levels *levels, const float *weights, const double *importance, size_t count,
                             double scale)
{
    double loss = 0.0;
    for (size_t i = 0; i < count; i++) {
        double w = (double)weights[i], error = w - levels->value[qd_levels_nearest(levels, w / scale)] * scale;
        loss += importance == NULL ? error * error : importance[i] * error * error;
    }
    return loss;
}

double qd_group_loss(const qd_group_stat *stat, const float *weights, const double *importance, size_t count,
                     float scale, float zero)
{
    double loss = 0.0, s = (double)scale, z = (double)zero;
    if (stat->levels != NULL)
        return loss_of_levels(stat->levels, weights, importance, count, s);
    for (size_t i = 0; i < count; i++) {
        double w = (double)weights[i], code = w / s + z;
        code = code < stat->low ? stat->low : code > stat->high ? stat->high : rint(code);
        double error = w - (code - z) * s;
        loss += importance == NULL ? error * error : importance[i] * error * error;
    }
    return loss;
}

static void choose(const qd_grid_spec *spec, const float *weights, const double *importance, size_t count,
                   float *out_scale, float *out_zero)
{
    (void)importance;
    qd_group_stat stat = qd_group_measure(spec, weights, count);
    double best = INFINITY;
    for (int i = FIRST; i <= LAST + (int)spec->scale_type->wider; i++) {
        float scale = qd_group_scale(spec, &stat, i <= LAST ? i / (double)LAST : ldexp(1.0, i - LAST));
        float zero = qd_group_zero(spec, &stat, scale, 1.0);
        double loss = qd_group_loss(&stat, weights, NULL, count, scale, zero);
        if (loss < best || i == FIRST) {
            best = loss;
            *out_scale = scale;
            *out_zero = zero;
        }
    }
    if (spec->zero == QD_ZERO_NONE)
        return;
    best = INFINITY;
    for (int i = FIRST; i <= LAST; i++) {
        float zero = qd_group_zero(spec, &stat, *out_scale, i / (double)LAST);
        double loss = qd_group_loss(&stat, weights, NULL, count, *out_scale, zero);
        if (loss < best || i == FIRST) {
            best = loss;
            *out_zero = zero;
        }
    }
}

static const qd_param params[] = { { .name = NULL } };

const qd_scale_rule qd_scale_mse = {
    .name = "mse",
    .summary = "the one of 19 fractions of the range with the least squared rounding error in the group",
    .params = params,
    .tries = LAST - FIRST + 1,
    .choose = choose,
};
