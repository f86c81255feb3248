/* pace.c: see pace.h. */
#include "engine/pace.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/forecast.h"

void qd_pace_fini(qd_pace *pace)
{
    free(pace->cost);
    free(pace->group);
    *pace = (qd_pace){ 0 };
}

/* The layers from `first` that share an input. */
static size_t end_of_group(const qd_model *model, size_t first)
{
    size_t end = first + 1, all = qd_model_linear_count(model);
    while (end < all && qd_model_linear_at(model, end)->group == qd_model_linear_at(model, first)->group)
        end++;
    return end;
}

qd_code qd_pace_init(const qd_recipe *recipe, const qd_model *model, const qd_volume *volume, qd_pace *out,
                     qd_error *err)
{
    const qd_machine unit = { .threads = 1, .flops = 1, .factor = 1 };
    qd_pace pace = { .model = model, .count = qd_model_linear_count(model) };
    qd_code code = qd_alloc(pace.count, sizeof *pace.cost, (void **)&pace.cost, err);
    if (code == QD_OK)
        code = qd_alloc(pace.count, sizeof *pace.group, (void **)&pace.group, err);
    if (code != QD_OK) {
        qd_pace_fini(&pace);
        return code;
    }
    for (size_t i = 0; i < pace.count; i++)
        pace.cost[i] = qd_forecast_layer(recipe, model, volume, &unit, i);
    for (size_t first = 0, end; first < pace.count; first = end) {
        double sum = 0;
        end = end_of_group(model, first);
        for (size_t i = first; i < end; i++)
            sum += pace.cost[i];
        for (size_t i = first; i < end; i++)
            pace.group[i] = sum;
    }
    *out = pace;
    return QD_OK;
}

void qd_pace_begin(qd_pace *pace, double now)
{
    pace->last = now;
    pace->group_cost = pace->group_seconds = 0;
}

static bool ends_group(const qd_pace *pace, size_t index)
{
    return index + 1 == pace->count ||
           qd_model_linear_at(pace->model, index + 1)->group != qd_model_linear_at(pace->model, index)->group;
}

void qd_pace_made(qd_pace *pace, size_t index, double now)
{
    double spent = now - pace->last;
    pace->last = now;
    pace->made_cost += pace->cost[index];
    pace->made_seconds += spent;
    pace->group_cost += pace->cost[index];
    pace->group_seconds += spent;
    if (!ends_group(pace, index))
        return;
    double rate = pace->group_seconds / pace->group_cost;
    pace->fastest = pace->fastest == 0 ? rate : fmin(pace->fastest, rate);
    pace->slowest = fmax(pace->slowest, rate);
    pace->group_cost = pace->group_seconds = 0;
}

qd_pace_left qd_pace_rest(const qd_pace *pace, size_t next)
{
    double rest = 0;
    if (pace->made_cost <= 0)
        return (qd_pace_left){ NAN, NAN, NAN };
    for (size_t i = next; i < pace->count; i++)
        rest += pace->cost[i];
    double rate = pace->made_seconds / pace->made_cost;
    return (qd_pace_left){ .eta = rest * rate,
                           .low = rest * (pace->fastest == 0 ? rate : fmin(pace->fastest, rate)),
                           .high = rest * fmax(pace->slowest, rate) };
}

double qd_pace_expected(const qd_pace *pace, size_t index)
{
    return index >= pace->count || pace->made_cost <= 0 ? NAN
                                                        : pace->group[index] * pace->made_seconds / pace->made_cost;
}
