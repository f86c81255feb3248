/* scale_minmax.c: the scale that spans the whole range of a group; also the arithmetic all rules share. */
#include <math.h>

#include "quant/scale_rules.h"

/* Smallest range a group is taken to have, in weight units: bounds the statistic, not the scale (algorithms.md
 * §2.2). */
#define SMALLEST_RANGE 1e-4
/* Largest float zero, in steps: a group that lies far below 0 has its range raised to that. Float32 still tells codes
 * apart there, and at ten times as much, which the smallest fraction of mse makes of it. */
#define LARGEST_ZERO 0x1p16

qd_group_stat qd_group_measure(const qd_grid_spec *spec, const float *weights, size_t count)
{
    int32_t low, high;
    qd_grid_range(spec, &low, &high);
    double min = weights[0], max = weights[0];
    for (size_t i = 1; i < count; i++) {
        min = weights[i] < min ? weights[i] : min;
        max = weights[i] > max ? weights[i] : max;
    }
    qd_group_stat stat = { .low = low, .high = high, .levels = qd_grid_spec_levels(spec) };
    if (spec->zero == QD_ZERO_NONE) {
        stat.range = fmax(-min, max);
    } else {
        /* An integer zero is a code, so 0 must lie in the range; a float zero may lie outside (algorithms.md §2.2). */
        stat.lowest = fmax(-min, 0.0);
        stat.range = stat.lowest + (spec->zero == QD_ZERO_INTEGER ? fmax(max, 0.0) : max);
        stat.range = fmax(stat.range, stat.lowest * high / LARGEST_ZERO);
    }
    stat.range = fmax(stat.range, SMALLEST_RANGE);
    return stat;
}

float qd_group_scale(const qd_grid_spec *spec, const qd_group_stat *stat, double fraction)
{
    /* levels: T = the largest magnitude; symmetric: T = -low, so that a positive maximum is clipped to high/T of itself; asymmetric:
     * T = high */
    double top = stat->levels != NULL ? stat->levels->top : spec->zero == QD_ZERO_NONE ? -stat->low : stat->high;
    float scale = spec->scale_type->fit(spec->shrink * stat->range * fraction, top);
    return scale < spec->scale_type->smallest ? spec->scale_type->smallest : scale;
}

float qd_group_zero(const qd_grid_spec *spec, const qd_group_stat *stat, float scale, double fraction)
{
    if (spec->zero == QD_ZERO_NONE)
        return 0.0f;
    double zero = spec->shrink * stat->lowest * fraction / (double)scale;
    if (spec->zero == QD_ZERO_INTEGER)
        zero = fmin(fmax(rint(zero), stat->low), stat->high);
    return (float)zero;
}

static void choose(const qd_grid_spec *spec, const float *weights, const double *importance, size_t count,
                   float *out_scale, float *out_zero)
{
    (void)importance;
    qd_group_stat stat = qd_group_measure(spec, weights, count);
    *out_scale = qd_group_scale(spec, &stat, 1.0);
    *out_zero = qd_group_zero(spec, &stat, *out_scale, 1.0);
}

static const qd_param params[] = { { .name = NULL } };

const qd_scale_rule qd_scale_minmax = {
    .name = "minmax",
    .summary = "spans the range of the group (signed: a positive extreme is one code short)",
    .params = params,
    .tries = 1,
    .choose = choose,
};
