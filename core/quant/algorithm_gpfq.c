/* algorithm_gpfq.c: GPFQ: greedy path following: each code brings the quantized stream's partial output back to the float stream's.
 * Source: algorithms.md §6.3, covariance form. It is the sweep on the path without rounding, with U_kt = H_kt / H_tt: both obey
 *   a_t H_tt = sum_{k<=t} w_k G_kt - sum_{k<t} q_k H_kt,
 * so their difference is the feedback of target - q. Bound: with e_t = a_t - q_t, ||X~ (target - q)||^2 <= sum e_t^2 H_tt, since each
 * step first removes from the error what lies along column t, then adds e_t of that column. */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "linalg/gemm.h"
#include "quant/algorithm_rows.h"
#include "quant/raise.h"
#include "quant/sweep.h"
#include "quant/target.h"

enum { PANEL = 64 };

/* What GPFQ takes from H alone. */
typedef struct greedy {
    qd_matd_buf upper;   /* triu(H), 1 on the diagonal of dead columns */
    double *diagonal;    /* H_tt */
    double *expectation; /* energy of independent errors of variance 1, by step */
    double *held;        /* the same on held-out inputs; NULL = there are none */
    qd_matd_buf hold;    /* their H, in processing order */
} greedy;

static void greedy_fini(greedy *g)
{
    qd_matd_buf_fini(&g->upper);
    free(g->diagonal);
    free(g->expectation);
    free(g->held);
    qd_matd_buf_fini(&g->hold);
}

/* rows (P x Q) of triu(H)^-1 from `start` on, which are zero before their own column; product: as large. What independent errors of variance 1
 * leave on held-out inputs: H_tt^2 y H_hold y^T. */
static void expect_held(const greedy *g, size_t start, qd_cmatd rows, qd_matd product)
{
    qd_cmatd hold = qd_matd_const(qd_matd_block(g->hold.view, start, start, rows.cols, rows.cols));
    qd_gemm_f64(QD_PLAIN, QD_PLAIN, 1.0, rows, hold, 0.0, product);
    for (size_t i = 0; i < rows.rows; i++) {
        double form = 0.0, h = g->diagonal[start + i];
        for (size_t k = i; k < rows.cols; k++)
            form += qd_matd_row(product, i)[k] * qd_cmatd_row(rows, i)[k];
        g->held[start + i] = h * h * fmax(0.0, form);
    }
}

/* Error t, by itself, ends as e_t H_tt y with y = row t of triu(H)^-1, of energy H_tt^2 y H y^T = 2 H_tt - H_tt^2 sum_k H_kk y_k^2,
 * because H = T + T^T - diag and y T = unit vector t. */
static qd_code expectation_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const greedy *g = ctx;
    size_t n = g->upper.view.rows, start = index * PANEL, count = qd_min_size(PANEL, n - start);
    QD_AUTO(qd_matd_buf_fini) qd_matd_buf rows = { 0 }, product = { 0 };
    (void)worker;
    /* rows of the inverse are zero before their own column */
    qd_code code = qd_matd_buf_init(&rows, count, n - start, err);
    if (code == QD_OK && g->held != NULL)
        code = qd_matd_buf_init(&product, count, n - start, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; i < count; i++)
        qd_matd_row(rows.view, i)[i] = 1.0;
    qd_trsm_f64(QD_PLAIN, qd_matd_const(qd_matd_block(g->upper.view, start, start, n - start, n - start)), rows.view);
    for (size_t i = 0; i < count; i++) {
        double square = 0.0, h = g->diagonal[start + i];
        for (size_t k = i; k < n - start; k++)
            square += g->diagonal[start + k] * qd_matd_row(rows.view, i)[k] * qd_matd_row(rows.view, i)[k];
        g->expectation[start + i] = fmax(0.0, 2.0 * h - h * h * square);
    }
    if (g->held != NULL)
        expect_held(g, start, qd_matd_const(rows.view), product.view);
    return QD_OK;
}

static qd_code take_holdout(const qd_layer_input *input, greedy *g, qd_error *err)
{
    size_t n = input->w.cols;
    if (input->holdout == NULL)
        return QD_OK;
    qd_code code = qd_alloc(n, sizeof *g->held, (void **)&g->held, err);
    if (code == QD_OK)
        code = qd_matd_buf_init(&g->hold, n, n, err);
    return code == QD_OK ? qd_factor_gather(qd_matd_const(input->holdout->hessian.view), input->factor->permutation,
                                            input->pool, g->hold.view, err)
                         : code;
}

static qd_code greedy_init(const qd_layer_input *input, greedy *g, qd_error *err)
{
    qd_matd h = input->factor->hessian.view;
    qd_code code = qd_matd_buf_init(&g->upper, h.rows, h.rows, err);
    if (code == QD_OK)
        code = qd_alloc(h.rows, sizeof *g->diagonal, (void **)&g->diagonal, err);
    if (code == QD_OK)
        code = qd_alloc(h.rows, sizeof *g->expectation, (void **)&g->expectation, err);
    if (code == QD_OK)
        code = take_holdout(input, g, err);
    for (size_t k = 0; code == QD_OK && k < h.rows; k++) {
        g->diagonal[k] = qd_matd_row(h, k)[k];
        for (size_t t = k; t < h.rows; t++)
            qd_matd_row(g->upper.view, k)[t] = qd_matd_row(h, k)[t];
        if (g->diagonal[k] == 0.0)
            qd_matd_row(g->upper.view, k)[k] = 1.0;
    }
    return code == QD_OK ? qd_pool_for(input->pool, (h.rows - 1) / PANEL + 1, expectation_task, g, err) : code;
}

/* of_step: energy of an error of variance 1. */
static double expected(const qd_layer_input *input, const qd_steps *steps, const double *of_step)
{
    double sum = 0.0;
    for (size_t i = 0; i < input->w.rows; i++)
        for (size_t t = 0; t < steps->count; t++) {
            double reach = qd_steps_expected(input, steps, i, t) * qd_rounding_reach(input->rounding);
            sum += reach * reach * qd_rounding_variance(input->rounding) * of_step[t];
        }
    return sum;
}

static qd_code follow(const qd_layer_input *input, const qd_steps *steps, const qd_weight_target *target,
                      const greedy *g, uint8_t *out_codes, qd_certificate *out, qd_error *err)
{
    QD_AUTO(qd_feedback_fini) qd_feedback feedback = { 0 };
    QD_AUTO(qd_free_pointer) void *neurons = NULL;
    qd_measure measure;
    qd_precision precision = steps->narrow ? QD_FLOAT32 : QD_FLOAT64;
    qd_code code = qd_feedback_init_upper(qd_matd_const(g->upper.view), precision, input->pool, &feedback, err);
    if (code == QD_OK)
        code = qd_alloc(input->w.rows, sizeof(qd_neuron), &neurons, err);
    if (code == QD_OK)
        code = qd_sweep_run(input, steps, &feedback, qd_sweep_kernel_best(), out_codes, neurons, err);
    if (code == QD_OK)
        code = qd_weight_target_measure(input, steps, target, out_codes, &measure, err);
    if (code != QD_OK)
        return code;
    qd_cmatd upper = qd_matd_const(g->upper.view);
    qd_evidence evidence = { .method = "gpfq",
                             .precision = qd_precision_name(precision),
                             .input = input,
                             .steps = steps,
                             .codes = out_codes,
                             .neurons = neurons,
                             .bound_sq = qd_bound_pivots(input, steps),
                             .expected_sq = expected(input, steps, g->expectation),
                             .heldout_expected_sq =
                                 g->held == NULL ? 0.0 : measure.heldout_base_sq + expected(input, steps, g->held),
                             .tolerance = qd_sweep_tolerance(precision),
                             .upper = &upper,
                             .measure = &measure };
    return qd_certify(&evidence, out, err);
}

/* The path without rounding, in order; steps->damping is none of GPFQ's. */
static qd_code find_path(const qd_layer_input *input, qd_precision precision, qd_steps *steps, greedy *g,
                         qd_weight_target *target, qd_error *err)
{
    qd_code code = qd_steps_init(input, QD_DEAD_ZERO, steps, err);
    if (code == QD_OK)
        code = greedy_init(input, g, err);
    steps->damping = 0.0;
    steps->narrow = precision == QD_FLOAT32;
    qd_cmatd upper = qd_matd_const(g->upper.view);
    if (code == QD_OK)
        code = qd_weight_target_init(input, steps, QD_SOLVE_PATH, &upper, target, err);
    steps->target = target->rows;
    return code;
}

static qd_code round_in(const qd_layer_input *input, qd_precision precision, uint8_t *out_codes, qd_certificate *out,
                        qd_error *err)
{
    QD_AUTO(qd_steps_fini) qd_steps steps = { 0 };
    QD_AUTO(qd_weight_target_fini) qd_weight_target target = { 0 };
    QD_AUTO(greedy_fini) greedy g = { 0 };
    qd_code code = find_path(input, precision, &steps, &g, &target, err);
    if (code != QD_OK)
        return code;
    steps.path = g.diagonal;
    return follow(input, &steps, &target, &g, out_codes, out, err);
}

static qd_code round_layer(const qd_layer_input *input, uint8_t *out_codes, qd_certificate *out, qd_error *err)
{
    return qd_sweep_settle(input, round_in, out_codes, out, err);
}

/* The same drift as OPTQ's, through triu(H) and from the path. */
static qd_code raise(const qd_layer_input *input, const qd_scale_type *type, qd_grid *grid, qd_growth *out,
                     qd_error *err)
{
    QD_AUTO(qd_steps_fini) qd_steps steps = { 0 };
    QD_AUTO(qd_weight_target_fini) qd_weight_target target = { 0 };
    QD_AUTO(greedy_fini) greedy g = { 0 };
    qd_code code = find_path(input, QD_FLOAT64, &steps, &g, &target, err);
    if (code != QD_OK)
        return code;
    qd_cmatd upper = qd_matd_const(g.upper.view);
    const qd_raise_job job = { .input = input, .steps = &steps, .upper = &upper, .type = type };
    return qd_raise_steps(&job, grid, out, err);
}

static const qd_param params[] = { { .name = NULL } };

const qd_algorithm qd_algorithm_gpfq = {
    .name = "gpfq",
    .summary = "GPFQ: each code in turn brings the layer's output back to that of the float model; no damping",
    .params = params,
    .needs = QD_NEEDS_MISMATCH,
    .drift = QD_DRIFT_PATH,
    .raise = raise,
    .round = round_layer,
};
