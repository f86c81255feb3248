/* container_block.c: two units for a block of groups, and each group's multiples of them. Units are tried by the quadratic error around the
 * groups' best real scales; multiples then take turns with their neighbours by the error of rounding, and with units that least squares gives
 * for the levels. Nothing is taken that does not lower the block's error. */
#include <math.h>

#include "quant/container_rows.h"

enum { UNITS = 96, KEPT = 4, ROUNDS = 6 };

/* The largest scale of a block is this much of the largest multiple, at least and at most. */
#define LEAST_SHARE 0.45
#define MOST_SHARE 1.1

typedef struct search {
    const qd_scale_type *type;
    const qd_fit_group *groups;
    size_t count;
} search;

static double multiple(double value, double unit, double low, double high)
{
    double k = rint(value / unit);
    return k < low ? low : k > high ? high : k; /* of no number: itself */
}

/* Sum of weight_g (value_g - unit * k_g)^2 with the best multiples. */
static double misfit(const double *value, const double *weight, size_t count, double unit, double low, double high)
{
    double sum = 0.0;
    for (size_t g = 0; g < count; g++) {
        double error = value[g] - unit * multiple(value[g], unit, low, high);
        sum += weight[g] * error * error;
    }
    return sum;
}

/* The KEPT best units for values with weights, best first. */
static void scan(const double *value, const double *weight, size_t count, double low, double high, double *out)
{
    double most = 0.0, loss[KEPT];
    for (size_t g = 0; g < count; g++)
        most = fmax(most, value[g]);
    for (int i = 0; i < KEPT; i++) {
        loss[i] = INFINITY;
        out[i] = qd_fit_half(most / high);
    }
    for (int i = 0; i < UNITS; i++) {
        double unit = qd_fit_half(most / (high * (LEAST_SHARE + (MOST_SHARE - LEAST_SHARE) * i / (double)(UNITS - 1))));
        double found = misfit(value, weight, count, unit, low, high);
        for (int k = 0; k < KEPT; k++)
            if (found < loss[k]) {
                double worse = loss[k], its = out[k];
                loss[k] = found;
                out[k] = unit;
                found = worse;
                unit = its;
            }
    }
}

/* ---- a plan of the block: units and multiples ---- */

static void place(const search *s, qd_fit_block *plan, size_t g)
{
    plan->at[g].fit.scale = plan->unit * plan->at[g].k;
    plan->at[g].fit.offset = plan->offset_unit * plan->at[g].m;
    qd_fit_measure(&s->groups[g], &plan->at[g].fit, &plan->at[g].sums);
}

static void place_all(const search *s, qd_fit_block *plan)
{
    plan->loss = 0.0;
    for (size_t g = 0; g < s->count; g++) {
        place(s, plan, g);
        plan->loss += plan->at[g].fit.loss;
    }
}

/* Each group's values rounded to units that its largest give. */
static void plan_plainly(const search *s, qd_fit_block *plan)
{
    double scale = 0.0, offset = 0.0;
    for (size_t g = 0; g < s->count; g++) {
        scale = fmax(scale, s->groups[g].start.scale);
        offset = fmax(offset, s->groups[g].start.offset);
    }
    plan->unit = qd_fit_half(scale / s->type->scale_high);
    plan->offset_unit = s->type->offset_high == 0 ? 0.0 : qd_fit_half(offset / s->type->offset_high);
    for (size_t g = 0; g < s->count; g++) {
        plan->at[g].fit = s->groups[g].start;
        plan->at[g].k = multiple(plan->at[g].fit.scale, plan->unit, 1.0, s->type->scale_high);
        plan->at[g].m = s->type->offset_high == 0
                            ? 0.0
                            : multiple(plan->at[g].fit.offset, plan->offset_unit, 0.0, s->type->offset_high);
    }
    place_all(s, plan);
}

/* With a unit for scales: multiples of it, then the offsets that suit those, and a unit for them. */
static void plan_with(const search *s, double unit, qd_fit_block *plan)
{
    double offset[QD_CONTAINER_BLOCK] = { 0.0 }, weight[QD_CONTAINER_BLOCK] = { 0.0 }, units[KEPT] = { 0.0 };
    plan->unit = unit;
    for (size_t g = 0; g < s->count; g++) {
        const qd_fit_group *group = &s->groups[g];
        plan->at[g].k = multiple(group->free.scale, unit, 1.0, s->type->scale_high);
        plan->at[g].m = 0.0;
        plan->at[g].fit = group->free;
        plan->at[g].fit.scale = unit * plan->at[g].k;
        plan->at[g].fit.offset = qd_fit_offset(group, &group->sums, plan->at[g].fit.scale);
        qd_fit_measure(group, &plan->at[g].fit, &plan->at[g].sums);
        offset[g] = qd_fit_offset(group, &plan->at[g].sums, plan->at[g].fit.scale);
        weight[g] = plan->at[g].sums.h;
    }
    if (s->type->offset_high > 0) {
        scan(offset, weight, s->count, 0.0, s->type->offset_high, units);
        for (size_t g = 0; g < s->count; g++)
            plan->at[g].m = multiple(offset[g], units[0], 0.0, s->type->offset_high);
    }
    plan->offset_unit = units[0];
    place_all(s, plan);
}

/* One group with another multiple and sign, and the offset that suits them. */
static bool try_multiple(const search *s, qd_fit_block *plan, size_t g, double k, double sign)
{
    if (k < 1.0 || k > s->type->scale_high)
        return false;
    qd_fit_block other = { .unit = plan->unit, .offset_unit = plan->offset_unit };
    other.at[g] = plan->at[g];
    other.at[g].k = k;
    other.at[g].fit.sign = sign;
    place(s, &other, g);
    bool better = other.at[g].fit.loss < plan->at[g].fit.loss;
    if (better)
        plan->at[g] = other.at[g];
    if (s->type->offset_high == 0)
        return better;
    double offset = qd_fit_offset(&s->groups[g], &other.at[g].sums, other.at[g].fit.scale);
    double m = multiple(offset, plan->offset_unit, 0.0, s->type->offset_high);
    if (m == other.at[g].m)
        return better;
    other.at[g].m = m;
    place(s, &other, g);
    if (!(other.at[g].fit.loss < plan->at[g].fit.loss))
        return better;
    plan->at[g] = other.at[g];
    return true;
}

static bool turn_group(const search *s, qd_fit_block *plan, size_t g)
{
    double k = plan->at[g].k, sign = plan->at[g].fit.sign;
    bool better = try_multiple(s, plan, g, k, sign);
    for (int way = -1; way <= 1; way += 2)
        while (try_multiple(s, plan, g, plan->at[g].k + way, sign))
            better = true;
    if (s->groups[g].mirrored)
        for (int way = -1; way <= 1; way++)
            if (try_multiple(s, plan, g, k + way, -sign))
                better = true;
    return better;
}

/* Units of least error for the levels and multiples: two linear equations. */
static bool fit_units(const search *s, qd_fit_block *plan)
{
    double a = 0.0, b = 0.0, c = 0.0, p = 0.0, q = 0.0; /* [a -b; b -c] [unit, offset unit] = [p, q] */
    for (size_t g = 0; g < s->count; g++) {
        double k = plan->at[g].k, m = plan->at[g].m;
        const qd_fit_sums *sums = &plan->at[g].sums;
        a += k * k * sums->ll;
        b += k * m * sums->l;
        c += m * m * sums->h;
        p += k * sums->wl;
        q += m * sums->w;
    }
    double determinant = a * c - b * b;
    bool both = c > 0.0 && determinant > 1e-12 * a * c;
    double unit = both ? (p * c - q * b) / determinant : (p + plan->offset_unit * b) / a;
    if (!(unit > 0.0) || !isfinite(unit))
        return false;
    qd_fit_block other = *plan;
    other.unit = qd_fit_half(unit);
    other.offset_unit = c > 0.0 ? qd_fit_half((other.unit * b - q) / c) : plan->offset_unit;
    place_all(s, &other);
    if (!(other.loss < plan->loss))
        return false;
    *plan = other;
    return true;
}

static void polish(const search *s, qd_fit_block *plan)
{
    bool better = true;
    for (int round = 0; better && round < ROUNDS; round++) {
        better = false;
        for (size_t g = 0; g < s->count; g++)
            if (turn_group(s, plan, g))
                better = true;
        place_all(s, plan);
        if (fit_units(s, plan))
            better = true;
    }
}

void qd_fit_units(const qd_scale_type *type, const qd_fit_group *groups, size_t count, qd_fit_block *out)
{
    const search s = { type, groups, count };
    double scale[QD_CONTAINER_BLOCK] = { 0.0 }, weight[QD_CONTAINER_BLOCK] = { 0.0 }, units[KEPT];
    for (size_t g = 0; g < count; g++) {
        const qd_fit_sums *sums = &groups[g].sums;
        scale[g] = groups[g].free.scale;
        weight[g] = sums->ll - (groups[g].has_offset && sums->h > 0.0 ? sums->l * sums->l / sums->h : 0.0);
    }
    scan(scale, weight, count, 1.0, type->scale_high, units);
    qd_fit_block best, plan;
    plan_plainly(&s, &best);
    polish(&s, &best);
    for (int i = 0; i < KEPT; i++) {
        if (i > 0 && units[i] == units[i - 1])
            continue;
        plan_with(&s, units[i], &plan);
        polish(&s, &plan);
        if (plan.loss < best.loss)
            best = plan;
    }
    *out = best;
}
