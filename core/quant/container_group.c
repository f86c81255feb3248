/* container_group.c: scale, sign and offset of one group, by the error of rounding to nearest. For fixed levels the error is quadratic in scale
 * and offset, so that each start gives their exact minimum, and an upper bound of what rounding again has; the best start is iterated. */
#include <math.h>

#include "linalg/half.h"
#include "quant/container_rows.h"

enum { STARTS = 16, ROUNDS = 4 };

/* Added and taken away again this rounds to nearest, ties to even, whatever instructions there are. */
#define WHOLE 0x1.8p52
/* Determinants below this share: the group has one level only. */
#define SINGULAR 1e-12
/* Offsets further out than this, in steps, are not taken: scale_minmax.c. */
#define FARTHEST 0x1p16
/* How much of the range a start takes for the whole of it: from a fifth more to half. */
#define WIDEST 0.8
#define NARROWEST 2.0

double qd_fit_half(double value)
{
    double half = (double)qd_f16_to_float(qd_float_to_f16((float)value));
    return half > 0x1p-24 ? half : 0x1p-24;
}

void qd_fit_measure(const qd_fit_group *group, qd_fit *fit, qd_fit_sums *out_sums)
{
    qd_fit_sums s = { 0 };
    double inverse = fit->sign / fit->scale, shift = fit->offset / fit->scale, loss = 0.0;
    for (size_t i = 0; i < group->count; i++) {
        double w = (double)group->weights[i], h = group->importance == NULL ? 1.0 : group->importance[i];
        double level = w * inverse + shift;
        level = level < group->low ? group->low : level > group->high ? group->high : level;
        level = (level + WHOLE) - WHOLE;
        w *= fit->sign;
        double error = w - (level * fit->scale - fit->offset);
        loss += h * error * error;
        s.h += h;
        s.l += h * level;
        s.ll += h * level * level;
        s.w += h * w;
        s.wl += h * w * level;
        s.ww += h * w * w;
    }
    fit->loss = loss;
    *out_sums = s;
}

double qd_fit_offset(const qd_fit_group *group, const qd_fit_sums *s, double scale)
{
    if (!group->has_offset || !(s->h > 0.0))
        return 0.0;
    double offset = (scale * s->l - s->w) / s->h;
    return fmax(fmin(offset, FARTHEST * scale), fmax(group->lowest_offset, -FARTHEST * scale));
}

/* Scale and offset of least error for the levels that gave the sums; a scale that is not positive leaves the fit as it is. */
static qd_fit improve(const qd_fit_group *group, const qd_fit *from, const qd_fit_sums *s)
{
    qd_fit fit = *from;
    double determinant = s->ll * s->h - s->l * s->l, scale = fit.scale;
    if (!group->has_offset)
        scale = s->wl / s->ll;
    else if (determinant > SINGULAR * s->ll * s->h)
        scale = (s->wl * s->h - s->w * s->l) / determinant;
    if (group->has_offset && qd_fit_offset(group, s, scale) == group->lowest_offset)
        scale = (s->wl + group->lowest_offset * s->l) / s->ll;
    if (!(scale > 0.0) || !isfinite(scale))
        return fit;
    fit.scale = scale;
    fit.offset = qd_fit_offset(group, s, scale);
    fit.loss = s->ww - 2.0 * scale * s->wl + 2.0 * fit.offset * s->w + scale * scale * s->ll -
               2.0 * scale * fit.offset * s->l + fit.offset * fit.offset * s->h;
    return fit;
}

static void try_start(const qd_fit_group *group, qd_fit fit, qd_fit *best)
{
    qd_fit_sums sums;
    qd_fit_measure(group, &fit, &sums);
    qd_fit better = improve(group, &fit, &sums);
    if (better.loss < best->loss)
        *best = better;
}

typedef struct span {
    double min, max;
} span;

static span span_of(const qd_fit_group *group)
{
    span s = { INFINITY, -INFINITY };
    for (size_t i = 0; i < group->count; i++) {
        s.min = fmin(s.min, (double)group->weights[i]);
        s.max = fmax(s.max, (double)group->weights[i]);
    }
    return s;
}

static void start_around_zero(const qd_fit_group *group, span s, double sign, double narrow, qd_fit *best)
{
    double reach = fmax(-s.min, s.max);
    if (reach > 0.0)
        try_start(group, (qd_fit){ .sign = sign, .scale = reach / (-group->low * narrow) }, best);
}

/* Cut at both ends alike, and at the upper one alone. */
static void start_with_offset(const qd_fit_group *group, span s, double narrow, qd_fit *best)
{
    double min = fmin(s.min, -group->lowest_offset);
    double scale = (s.max - min) / ((group->high - group->low) * narrow), middle = (s.max + min) / 2.0;
    if (!(scale > 0.0))
        return;
    double even = fmax(scale * (group->high + group->low) / 2.0 - middle, group->lowest_offset);
    try_start(group, (qd_fit){ 1.0, scale, even, 0.0 }, best);
    try_start(group, (qd_fit){ 1.0, scale, scale * group->low - min, 0.0 }, best);
}

void qd_fit_search(qd_fit_group *group)
{
    qd_fit best = group->start;
    span s = span_of(group);
    try_start(group, group->start, &best);
    for (int i = 0; i < STARTS; i++) {
        double narrow = WIDEST * pow(NARROWEST / WIDEST, i / (double)(STARTS - 1));
        if (group->has_offset)
            start_with_offset(group, s, narrow, &best);
        else
            start_around_zero(group, s, 1.0, narrow, &best);
        if (group->mirrored)
            start_around_zero(group, s, -1.0, narrow, &best);
    }
    group->free = best;
    qd_fit_measure(group, &group->free, &group->sums);
    for (int round = 0; round < ROUNDS; round++) {
        qd_fit_sums sums;
        qd_fit next = improve(group, &group->free, &group->sums);
        qd_fit_measure(group, &next, &sums);
        if (!(next.loss < group->free.loss))
            break;
        group->free = next;
        group->sums = sums;
    }
}

/* The offset that is stored beside a stored scale; between levels and offset, one turn each. */
static void try_half(const qd_fit_group *group, double scale, qd_fit *best)
{
    qd_fit fit = { group->free.sign, scale, group->free.offset, 0.0 };
    qd_fit_sums sums;
    qd_fit_measure(group, &fit, &sums);
    if (group->has_offset) {
        fit.offset = (double)qd_f16_to_float(qd_float_to_f16((float)qd_fit_offset(group, &sums, scale)));
        qd_fit_measure(group, &fit, &sums);
    }
    if (fit.loss < best->loss)
        *best = fit;
}

void qd_fit_store_half(const qd_fit_group *group, qd_fit *out)
{
    qd_fit best = group->start;
    double nearest = qd_fit_half(group->free.scale), step = fmax(ldexp(nearest, -11), 0x1p-24);
    try_half(group, nearest, &best);
    try_half(group, qd_fit_half(nearest - step), &best);
    try_half(group, qd_fit_half(nearest + step), &best);
    *out = best;
}
