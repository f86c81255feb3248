/* algorithm_optq.c: OPTQ (GPTQ): columns in order, each rounding error fed to the columns that follow.
 * Source: algorithms.md §6.2; theory.md §2-3. */
#include "base/mem.h"
#include "quant/algorithm_rows.h"
#include "quant/raise.h"
#include "quant/refine.h"
#include "quant/sweep.h"

qd_code qd_optq_round(const qd_layer_input *input, qd_precision precision, const qd_sweep_kernel *kernel,
                      uint8_t *out_codes, qd_certificate *out, qd_error *err)
{
    QD_AUTO(qd_steps_fini) qd_steps steps = { 0 };
    QD_AUTO(qd_feedback_fini) qd_feedback feedback = { 0 };
    QD_AUTO(qd_free_pointer) void *neurons = NULL;
    QD_AUTO(qd_refined_fini) qd_refined refined = { 0 };
    qd_code code = qd_steps_init(input, QD_DEAD_ZERO, &steps, err);
    if (code == QD_OK)
        code = qd_feedback_init(input->factor, precision, input->pool, &feedback, err);
    qd_factor_release(input->factor); /* the sweep has what it wants */
    if (code == QD_OK)
        code = qd_alloc(input->w.rows, sizeof(qd_neuron), &neurons, err);
    if (code == QD_OK)
        code = qd_sweep_run(input, &steps, &feedback, kernel, out_codes, neurons, err);
    if (code == QD_OK)
        code = qd_refine_run(input, &steps, out_codes, &refined, err);
    qd_factor_release(input->factor);
    qd_feedback_fini(&feedback);
    if (code != QD_OK)
        return code;
    qd_cmatd upper = qd_matd_const(input->factor->c.view);
    double bound = qd_bound_pivots(input, &steps);
    qd_evidence evidence = { .method = "optq",
                             .precision = qd_precision_name(precision),
                             .input = input,
                             .steps = &steps,
                             .codes = out_codes,
                             .neurons = neurons,
                             .refined = &refined,
                             .upper = &upper,
                             .bound_sq = bound,
                             .expected_sq = qd_expected_pivots(input, &steps, bound),
                             .heldout_expected_sq =
                                 input->holdout == NULL ? 0.0 : qd_expected_columns(input, input->holdout->column_t, 1),
                             .tolerance = qd_sweep_tolerance(precision) };
    return qd_refine_certify(&evidence, out, err);
}

static qd_code round_in(const qd_layer_input *input, qd_precision precision, uint8_t *out_codes, qd_certificate *out,
                        qd_error *err)
{
    return qd_optq_round(input, precision, qd_sweep_kernel_best(), out_codes, out, err);
}

static qd_code round_layer(const qd_layer_input *input, uint8_t *out_codes, qd_certificate *out, qd_error *err)
{
    return qd_sweep_settle(input, round_in, out_codes, out, err);
}

static qd_code raise(const qd_layer_input *input, const qd_scale_type *type, qd_grid *grid, qd_growth *out,
                     qd_error *err)
{
    QD_AUTO(qd_steps_fini) qd_steps steps = { 0 };
    qd_code code = qd_steps_init(input, QD_DEAD_ZERO, &steps, err);
    if (code != QD_OK)
        return code;
    qd_cmatd upper = qd_matd_const(input->factor->c.view);
    const qd_raise_job job = { .input = input, .steps = &steps, .upper = &upper, .type = type, .damped = true };
    return qd_raise_steps(&job, grid, out, err);
}

static const qd_param params[] = { { .name = NULL } };

const qd_algorithm qd_algorithm_optq = {
    .name = "optq",
    .alias = "gptq",
    .summary = "OPTQ (GPTQ): feeds each column's rounding error to the columns that follow",
    .params = params,
    .refines = true,
    .needs = QD_NEEDS_HESSIAN,
    .drift = QD_DRIFT_FACTOR,
    .raise = raise,
    .round = round_layer,
};
