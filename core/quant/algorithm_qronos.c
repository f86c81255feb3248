/* algorithm_qronos.c: Qronos: rounds so that the quantized stream's output is near the float stream's, errors of earlier layers included.
 * Source: algorithms.md §6.4; theory.md §7, T9 (OPTQ on the least-squares target), T11 (bounds). */
#include <math.h>

#include "base/mem.h"
#include "quant/algorithm_rows.h"
#include "quant/raise.h"
#include "quant/refine.h"
#include "quant/sweep.h"
#include "quant/target.h"

/* sum over k >= 1 of (w - v)_k H_k0, by the row that holds the same. */
static double others(const qd_layer_input *input, const qd_steps *steps, size_t row)
{
    double sum = 0.0;
    for (size_t k = 1; input->v.rows > 0 && k < steps->count; k++) {
        size_t column = steps->column[k];
        double change = (double)qd_cmatf_row(input->w, row)[column] - (double)qd_cmatf_row(input->v, row)[column];
        sum += change * qd_matd_row(input->factor->hessian.view, 0)[k];
    }
    return sum;
}

/* As first published, the first column is given the best first weight beside the others at v: w_0 + (s (w K)_0 + sum (w - v)_k H_k0) / H_00,
 * without lambda. out: target minus that. */
static qd_code first_arguments(const qd_layer_input *input, const qd_steps *steps, const qd_weight_target *target,
                               double **out, qd_error *err)
{
    double diagonal = input->factor->diagonal[0];
    qd_code code = qd_alloc(input->w.rows, sizeof **out, (void **)out, err);
    for (size_t i = 0; code == QD_OK && i < input->w.rows && diagonal > 0.0; i++) {
        double w = (double)(qd_cmatf_row(input->w, i)[steps->column[0]] * steps->live[0]);
        double more = target->share * target->cross[i * steps->count] + others(input, steps, i);
        (*out)[i] = target->rows[i * steps->count] - (w + more / diagonal);
    }
    return code;
}

/* theory.md T11: the first step's error is |z - q| + |target - z|. */
static double bound_with_first(const qd_layer_input *input, const qd_steps *steps)
{
    double bound = qd_bound_pivots(input, steps);
    for (size_t i = 0; steps->first != NULL && i < input->w.rows; i++) {
        double reach = (double)qd_matf_row(input->grid->scale.view, i)[steps->group[0]] * qd_grid_widest(input->grid) *
                       qd_rounding_reach(input->rounding);
        double more = reach + fabs(steps->first[i]);
        bound += (more * more - reach * reach) * steps->r2[0];
    }
    return bound;
}

/* What the target leaves there, and the rounding. */
static double expected_on_held(const qd_layer_input *input, const qd_measure *measure)
{
    return input->holdout == NULL ? 0.0
                                  : measure->heldout_base_sq + qd_expected_columns(input, input->holdout->column_t, 1);
}

static qd_code round_target(const qd_layer_input *input, const qd_steps *steps, const qd_weight_target *target,
                            uint8_t *out_codes, qd_certificate *out, qd_error *err)
{
    QD_AUTO(qd_feedback_fini) qd_feedback feedback = { 0 };
    QD_AUTO(qd_free_pointer) void *neurons = NULL;
    QD_AUTO(qd_refined_fini) qd_refined refined = { 0 };
    qd_measure measure;
    qd_precision precision = steps->narrow ? QD_FLOAT32 : QD_FLOAT64;
    qd_code code = qd_feedback_init(input->factor, precision, input->pool, &feedback, err);
    qd_factor_release(input->factor); /* the sweep has what it wants */
    if (code == QD_OK)
        code = qd_alloc(input->w.rows, sizeof(qd_neuron), &neurons, err);
    if (code == QD_OK)
        code = qd_sweep_run(input, steps, &feedback, qd_sweep_kernel_best(), out_codes, neurons, err);
    if (code == QD_OK)
        code = qd_refine_run(input, steps, out_codes, &refined, err);
    qd_factor_release(input->factor);
    qd_feedback_fini(&feedback);
    qd_layer_input final = *input;
    final.grid = &refined.grid;
    if (code == QD_OK)
        code = qd_weight_target_measure(&final, steps, target, out_codes, &measure, err);
    if (code != QD_OK)
        return code;
    qd_cmatd upper = qd_matd_const(input->factor->c.view);
    qd_evidence evidence = { .method = "qronos",
                             .precision = qd_precision_name(precision),
                             .input = input,
                             .steps = steps,
                             .codes = out_codes,
                             .neurons = neurons,
                             .refined = &refined,
                             .bound_sq = bound_with_first(input, steps),
                             .expected_sq = qd_expected_pivots(input, steps, qd_bound_pivots(input, steps)),
                             .heldout_expected_sq = expected_on_held(input, &measure),
                             .tolerance = qd_sweep_tolerance(precision),
                             .upper = &upper,
                             .measure = &measure };
    measure.start = qd_start_name(input->use.start);
    return qd_refine_certify(&evidence, out, err);
}

static qd_code make_target(const qd_layer_input *input, qd_precision precision, qd_weight_target *out, qd_error *err)
{
    QD_AUTO(qd_steps_fini) qd_steps steps = { 0 };
    qd_code code = qd_steps_init(input, QD_DEAD_ZERO, &steps, err);
    steps.narrow = precision == QD_FLOAT32;
    return code == QD_OK ? qd_weight_target_init(input, &steps, QD_SOLVE_LEAST_SQUARES, NULL, out, err) : code;
}

static qd_code aim(const qd_layer_input *input, qd_weight_target *out, qd_error *err)
{
    qd_precision precision = qd_sweep_precision(input);
    qd_code code = make_target(input, precision, out, err);
    return code == QD_ENUMERIC && precision == QD_FLOAT32 ? make_target(input, QD_FLOAT64, out, err) : code;
}

/* A target that was made before the grid serves the first attempt; one in float64 after that makes its own. */
static qd_code round_in(const qd_layer_input *input, qd_precision precision, uint8_t *out_codes, qd_certificate *out,
                        qd_error *err)
{
    QD_AUTO(qd_steps_fini) qd_steps steps = { 0 };
    QD_AUTO(qd_weight_target_fini) qd_weight_target own = { 0 };
    QD_AUTO(qd_free_pointer) double *first = NULL;
    bool made = input->target != NULL && precision == qd_sweep_precision(input);
    const qd_weight_target *target = made ? input->target : &own;
    qd_code code = qd_steps_init(input, QD_DEAD_ZERO, &steps, err);
    steps.narrow = precision == QD_FLOAT32;
    if (code == QD_OK && target == &own)
        code = make_target(input, precision, &own, err);
    if (code == QD_OK && input->use.start == QD_START_ORIGINAL)
        code = first_arguments(input, &steps, target, &first, err);
    if (code != QD_OK)
        return code;
    steps.target = target->rows;
    steps.first = first;
    return round_target(input, &steps, target, out_codes, out, err);
}

/* theory.md T12: T10 with the target for w. */
static qd_code raise(const qd_layer_input *input, const qd_scale_type *type, qd_grid *grid, qd_growth *out,
                     qd_error *err)
{
    QD_AUTO(qd_steps_fini) qd_steps steps = { 0 };
    QD_AUTO(qd_weight_target_fini) qd_weight_target own = { 0 };
    if (input->use.start != QD_START_PROJECTED)
        return qd_fail(err, QD_EINVAL, "no guarantee for the start '%s'", qd_start_name(input->use.start));
    qd_code code = qd_steps_init(input, QD_DEAD_ZERO, &steps, err);
    if (code == QD_OK && input->target == NULL)
        code = aim(input, &own, err);
    if (code != QD_OK)
        return code;
    steps.target = input->target == NULL ? own.rows : input->target->rows;
    qd_cmatd upper = qd_matd_const(input->factor->c.view);
    const qd_raise_job job = { .input = input, .steps = &steps, .upper = &upper, .type = type, .damped = true };
    return qd_raise_steps(&job, grid, out, err);
}

static qd_code round_layer(const qd_layer_input *input, uint8_t *out_codes, qd_certificate *out, qd_error *err)
{
    return qd_sweep_settle(input, round_in, out_codes, out, err);
}

static const qd_param params[] = { { .name = NULL } };

const qd_algorithm qd_algorithm_qronos = {
    .name = "qronos",
    .summary = "Qronos: OPTQ on the weights that repair what earlier layers' rounding did to the inputs",
    .params = params,
    .starts = true,
    .refines = true,
    .needs = QD_NEEDS_MISMATCH,
    .aim = aim,
    .drift = QD_DRIFT_FACTOR,
    .raise = raise,
    .round = round_layer,
};
