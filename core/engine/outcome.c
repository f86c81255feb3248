/* outcome.c: see outcome.h. */
#include "engine/outcome.h"

#include "base/mem.h"
#include "engine/arithmetic.h"

/* Machines of this speed would need so long: shorter runs tell nothing, and the measurement would be a part of them. */
static const double usual_flops = 1e11, least_seconds = 2.0;

qd_volume qd_outcome_volume(const qd_context *c)
{
    qd_volume volume = { .samples = c->calibration.count, .length = c->calibration.length };
    qd_cost_settle(c->recipe, c->model, &volume);
    if (c->evaluation.text_count == 0)
        return volume;
    volume.windows = qd_evaluation_windows(&c->evaluation);
    volume.window = c->evaluation.cut.length;
    return volume;
}

static void expect(const qd_context *c, const qd_machine *machine, double out[QD_LEGS])
{
    qd_cost cost[QD_LEGS];
    qd_volume volume = qd_outcome_volume(c);
    qd_arithmetic arithmetic = qd_recipe_arithmetic(c->recipe, c->model);
    qd_cost_of_job(c->recipe, c->model, &volume, cost);
    for (size_t leg = 0; leg < QD_LEGS; leg++)
        out[leg] = qd_forecast_cost(&cost[leg], qd_forecast_leg_arithmetic(leg, arithmetic), machine);
}

qd_code qd_outcome_begin(qd_context *c, qd_error *err)
{
    const qd_machine usual = { .threads = qd_pool_threads(c->pool), .flops = usual_flops, .factor = 1 };
    double expected[QD_LEGS], sum = 0;
    expect(c, &usual, expected);
    for (size_t leg = 0; leg < QD_LEGS; leg++)
        sum += expected[leg];
    if (sum < least_seconds)
        return QD_OK;
    qd_machine found;
    qd_code code = qd_machine_probe(&found, err);
    if (code != QD_OK)
        return code;
    c->machine.threads = usual.threads;
    c->machine.flops = found.flops;
    c->machine.flops_bfloat16 = found.flops_bfloat16;
    return QD_OK;
}

void qd_outcome_take(qd_context *c, const qd_pace *pace)
{
    for (size_t leg = 0; c->machine.flops > 0 && leg < QD_LEGS; leg++)
        if (pace->leg[leg].steps > 0)
            c->legs[leg] = (qd_leg_time){ pace->leg[leg].expected, pace->leg[leg].seconds };
}

void qd_outcome_note(qd_context *c, qd_leg leg, double seconds)
{
    double expected[QD_LEGS];
    bool with_tasks = c->recipe->task_count > 0 && leg != QD_LEG_EXPORTING; /* which are not counted here */
    if (c->machine.flops <= 0 || with_tasks)
        return;
    expect(c, &c->machine, expected);
    c->legs[leg] = (qd_leg_time){ expected[leg], seconds };
}

static json_t *print_legs(const qd_context *c)
{
    json_t *out = json_object();
    for (size_t leg = 0; leg < QD_LEGS; leg++)
        if (c->legs[leg].expected > 0)
            json_object_set_new(
                out, qd_leg_name(leg),
                json_pack("{s:f, s:f}", "expected", c->legs[leg].expected, "seconds", c->legs[leg].seconds));
    return out;
}

json_t *qd_outcome_print(const qd_context *c)
{
    if (c->machine.flops <= 0)
        return json_null();
    return json_pack("{s:s, s:I, s:f, s:f, s:o}", "arithmetic",
                     qd_arithmetic_name(qd_recipe_arithmetic(c->recipe, c->model)), "threads",
                     (json_int_t)c->machine.threads, "flops", c->machine.flops, "flops_bfloat16",
                     c->machine.flops_bfloat16, "legs", print_legs(c));
}
