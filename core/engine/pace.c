/* pace.c: see pace.h. */
#include "engine/pace.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/arithmetic.h"

/* What has not begun may take so many times more or less than is expected of it; what has begun, such a part more or less: as much as steps
 * differ, and not less than this. */
static const double unknown_spread = 2.0, least_spread = 0.05, early_spread = 0.25;
static const size_t early_steps = 3;
static const qd_leg paced[] = { QD_LEG_WALK, QD_LEG_MOMENTS, QD_LEG_ROUNDING };

void qd_pace_fini(qd_pace *pace)
{
    for (size_t i = 0; i < QD_LEGS; i++)
        free(pace->leg[i].cost);
    *pace = (qd_pace){ 0 };
}

qd_code qd_pace_init(const qd_recipe *recipe, const qd_model *model, const qd_volume *volume, const qd_machine *machine,
                     qd_pace *out, qd_error *err)
{
    qd_pace pace = { .model = model, .count = qd_model_linear_count(model) };
    qd_arithmetic arithmetic = qd_recipe_arithmetic(recipe, model);
    qd_code code = QD_OK;
    for (size_t k = 0; code == QD_OK && k < QD_LENGTH(paced); k++)
        code = qd_alloc(pace.count, sizeof(double), (void **)&pace.leg[paced[k]].cost, err);
    if (code != QD_OK) {
        qd_pace_fini(&pace);
        return code;
    }
    for (size_t i = 0; i < pace.count; i++) {
        qd_cost cost[QD_LEGS];
        qd_cost_of_layer(recipe, model, volume, i, cost);
        for (size_t k = 0; k < QD_LENGTH(paced); k++)
            pace.leg[paced[k]].cost[i] = qd_forecast_cost(&cost[paced[k]], arithmetic, machine);
    }
    *out = pace;
    return QD_OK;
}

void qd_pace_expect(qd_pace *pace, qd_leg leg, double prior)
{
    pace->leg[leg].prior = prior;
}

void qd_pace_begin(qd_pace *pace, double now)
{
    pace->last = now;
}

static double cost_between(const qd_pace_leg *leg, size_t from, size_t end)
{
    double sum = 0;
    for (size_t i = from; i < end; i++)
        sum += leg->cost[i];
    return sum;
}

void qd_pace_passed(qd_pace *pace, qd_leg which, size_t end, double now)
{
    pace->leg[which].done = qd_max_size(pace->leg[which].done, end);
    pace->last = now;
}

void qd_pace_made(qd_pace *pace, qd_leg which, size_t end, double now)
{
    qd_pace_leg *leg = &pace->leg[which];
    double expected = cost_between(leg, leg->done, end), seconds = now - pace->last;
    leg->expected += expected;
    leg->seconds += seconds;
    qd_pace_passed(pace, which, end, now);
    if (expected <= 0)
        return;
    leg->steps++;
    leg->squares += seconds * seconds / expected;
}

/* How all that was done compares with what was expected of it, the probe's findings included; 0 = nothing was. */
static double course_so_far(const qd_pace *pace)
{
    double expected = 0, seconds = 0;
    for (size_t k = 0; k < QD_LENGTH(paced); k++) {
        const qd_pace_leg *leg = &pace->leg[paced[k]];
        expected += leg->expected * (leg->prior > 0 ? leg->prior : 1);
        seconds += leg->seconds;
    }
    return expected > 0 ? seconds / expected : 0;
}

/* Seconds over those expected: as it was, or as it may be; NaN = unknown. */
static double ratio_of(const qd_pace *pace, const qd_pace_leg *leg)
{
    double so_far = course_so_far(pace);
    if (leg->steps > 0)
        return leg->seconds / leg->expected;
    if (leg->prior > 0)
        return leg->prior * (so_far > 0 ? so_far : 1);
    return so_far > 0 ? so_far : NAN;
}

/* Part by which a leg's rest may differ from what is expected of it. */
static double spread_of(const qd_pace_leg *leg)
{
    double mean = leg->seconds / leg->expected, variance = leg->squares / leg->expected - mean * mean;
    double spread = mean > 0 ? sqrt(fmax(variance, 0)) / mean : 0;
    return fmax(spread, leg->steps < early_steps ? early_spread : least_spread);
}

qd_pace_left qd_pace_rest(const qd_pace *pace)
{
    qd_pace_left left = { 0 };
    for (size_t k = 0; k < QD_LENGTH(paced); k++) {
        const qd_pace_leg *leg = &pace->leg[paced[k]];
        double rest = cost_between(leg, leg->done, pace->count), ratio = ratio_of(pace, leg);
        if (rest <= 0)
            continue;
        double more = leg->steps > 0 ? 1 + spread_of(leg) : unknown_spread;
        left.eta += rest * ratio;
        left.low += rest * ratio / more;
        left.high += rest * ratio * more;
    }
    return left;
}

/* The layers with the input of `index`. */
static size_t end_of_group(const qd_model *model, size_t index)
{
    size_t end = index + 1, all = qd_model_linear_count(model);
    while (end < all && qd_model_linear_at(model, end)->group == qd_model_linear_at(model, index)->group)
        end++;
    return end;
}

double qd_pace_expected(const qd_pace *pace, size_t index)
{
    if (index >= pace->count || course_so_far(pace) <= 0)
        return NAN;
    size_t end = end_of_group(pace->model, index);
    double sum = 0;
    for (size_t k = 0; k < QD_LENGTH(paced); k++) {
        const qd_pace_leg *leg = &pace->leg[paced[k]];
        size_t until = paced[k] == QD_LEG_WALK ? index : end;
        double cost = cost_between(leg, qd_min_size(leg->done, until), until);
        sum += cost > 0 ? cost * ratio_of(pace, leg) : 0;
    }
    return sum;
}
