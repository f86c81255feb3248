/* levels.c: see levels.h. */
#include "quant/levels.h"

#include <math.h>

qd_code qd_levels_init(const double *values, size_t count, qd_levels *out, qd_error *err)
{
    qd_levels made = { .count = count, .narrowest = INFINITY };
    if (count < QD_LEVELS_MIN || count > QD_LEVELS_MAX)
        return qd_fail(err, QD_EINVAL, "%zu levels; %d to %d are allowed", count, QD_LEVELS_MIN, QD_LEVELS_MAX);
    for (size_t k = 0; k < count; k++) {
        double value = (double)(float)values[k] + 0.0; /* -0 is 0 */
        if (!isfinite(value))
            return qd_fail(err, QD_EINVAL, "level %zu, %g, does not fit float32", k, values[k]);
        made.value[k] = value;
        made.top = fmax(made.top, fabs(value));
        if (value == 0.0)
            made.anchor = k;
        if (k == 0)
            continue;
        double gap = value - made.value[k - 1];
        if (!(gap > 0.0))
            return qd_fail(err, QD_EINVAL,
                           "level %zu, %.12g, does not lie above %.12g before it (in float32); they ascend, each once",
                           k, values[k], values[k - 1]);
        made.widest = fmax(made.widest, gap);
        made.narrowest = fmin(made.narrowest, gap);
    }
    if (made.top < QD_LEVELS_TOP_MIN || made.top > QD_LEVELS_TOP_MAX)
        return qd_fail(err, QD_EINVAL,
                       "the largest of them in size is %g; 2^-100 to 2^100 (%.2g to %.2g) are allowed, so that scales "
                       "can be stored",
                       made.top, QD_LEVELS_TOP_MIN, QD_LEVELS_TOP_MAX);
    *out = made;
    return QD_OK;
}

/* Last level that is not above the value, or the first, but never the last of all: where the pair around the value begins. */
static size_t pair_of(const qd_levels *levels, double value)
{
    size_t low = 0, count = levels->count - 1;
    while (count > 1) {
        size_t half = count / 2;
        if (value >= levels->value[low + half]) {
            low += half;
            count -= half;
        } else
            count = half;
    }
    return low;
}

double qd_levels_gap(const qd_levels *levels, double value)
{
    size_t k = pair_of(levels, value);
    return levels->value[k + 1] - levels->value[k];
}

static size_t cut_pair(const qd_levels *levels, size_t k, double value, double cut)
{
    double gap = levels->value[k + 1] - levels->value[k];
    return value > levels->value[k] + gap * cut ? k + 1 : k;
}

size_t qd_levels_nearest(const qd_levels *levels, double value)
{
    size_t k = pair_of(levels, value);
    return cut_pair(levels, k, value, qd_levels_cut(levels, k));
}

size_t qd_levels_dithered(const qd_levels *levels, double value, double dither)
{
    return cut_pair(levels, pair_of(levels, value), value, 0.5 - dither);
}
