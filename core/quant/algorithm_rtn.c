/* algorithm_rtn.c: round to nearest, every weight by itself.
 * Source: algorithms.md §6.1. Bounds: with |w - q| <= d entrywise, (w-q) H (w-q)^T <= d |H| d^T (triangle inequality);
 * d = half a step before rounding (a step, if stochastic), the reach of the clipped weights after it. */
#include <math.h>

#include "base/mem.h"
#include "quant/algorithm_rows.h"
#include "quant/certify.h"
#include "quant/quadratic.h"
#include "quant/raise.h"

enum { ROWS_PER_TASK = 32, BOUND_PANEL = 128 };

#define TOLERANCE 1e-9

typedef struct rounding_run {
    const qd_layer_input *input;
    uint8_t *codes;
    qd_neuron *neurons;
} rounding_run;

/* Stored code of an argument. */
static inline uint8_t code_of(const qd_layer_input *input, double at, double dither)
{
    const qd_grid *grid = input->grid;
    bool stochastic = input->rounding == QD_ROUND_STOCHASTIC;
    if (grid->levels.count > 0)
        return (uint8_t)(stochastic ? qd_levels_dithered(&grid->levels, at, dither)
                                    : qd_levels_nearest(&grid->levels, at));
    double rounded = stochastic ? rint(at + dither) : qd_grid_code(at);
    return (uint8_t)((at < grid->low ? grid->low : at > grid->high ? grid->high : rounded) - grid->low);
}

static void round_row(const rounding_run *r, size_t row)
{
    const qd_grid *grid = r->input->grid;
    const float *w = qd_cmatf_row(r->input->w, row);
    uint8_t *codes = r->codes + row * r->input->w.cols;
    qd_neuron *neuron = &r->neurons[row];
    bool stochastic = r->input->rounding == QD_ROUND_STOCHASTIC;
    double grace = qd_rounding_grace(r->input->rounding), widest = qd_grid_widest(grid);
    double lowest = qd_grid_lowest(grid), highest = qd_grid_highest(grid);
    for (size_t g = 0; g < grid->groups; g++) {
        double scale = (double)qd_matf_row(grid->scale.view, row)[g];
        double zero = (double)qd_matf_row(grid->zero.view, row)[g];
        size_t end = qd_min_size((g + 1) * grid->group_size, r->input->w.cols);
        for (size_t j = g * grid->group_size; j < end; j++) {
            double at = (double)w[j] / scale + zero, excess = fmax(at - highest, lowest - at) / widest;
            double dither = stochastic ? qd_rounding_dither(r->input->seed, row, j) : 0.0;
            codes[j] = code_of(r->input, at, dither);
            double error = (double)w[j] - (qd_grid_level(grid, codes[j]) - zero) * scale;
            neuron->weight_error += error * error;
            neuron->clips += excess > grace;
            neuron->max_excess = fmax(neuron->max_excess, excess);
        }
    }
}

static qd_code round_rows(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const rounding_run *r = ctx;
    (void)worker;
    (void)err;
    size_t end = qd_min_size((index + 1) * ROWS_PER_TASK, r->input->w.rows);
    for (size_t row = index * ROWS_PER_TASK; row < end; row++)
        round_row(r, row);
    return QD_OK;
}

/* folded = sums of |H| over pairs of groups, lambda included. */
static void fold(const qd_factor *factor, const qd_steps *steps, qd_matd folded)
{
    for (size_t i = 0; i < steps->count; i++) {
        const double *h = qd_matd_row(factor->hessian.view, i);
        double *sum = qd_matd_row(folded, steps->group[i]);
        for (size_t j = 0; j < steps->count; j++)
            sum[steps->group[j]] += fabs(h[j]);
        sum[steps->group[i]] += factor->lambda;
    }
}

/* neuron->overload = d |H_lambda| d^T with d = the reach of a step. */
static qd_code bound_rows(const qd_layer_input *input, qd_cmatd folded, qd_neuron *neurons, qd_error *err)
{
    size_t groups = input->grid->groups;
    double reach = qd_rounding_reach(input->rounding) * qd_grid_widest(input->grid);
    QD_AUTO(qd_matd_buf_fini) qd_matd_buf half = { 0 };
    QD_AUTO(qd_matd_buf_fini) qd_matd_buf product = { 0 };
    qd_code code = qd_matd_buf_init(&half, BOUND_PANEL, groups, err);
    if (code == QD_OK)
        code = qd_matd_buf_init(&product, BOUND_PANEL, QD_QUADRATIC_BLOCK, err);
    if (code != QD_OK)
        return code;
    for (size_t start = 0; start < input->w.rows; start += BOUND_PANEL) {
        size_t count = qd_min_size(BOUND_PANEL, input->w.rows - start);
        double forms[BOUND_PANEL];
        for (size_t i = 0; i < count; i++)
            for (size_t g = 0; g < groups; g++)
                qd_matd_row(half.view, i)[g] = reach * (double)qd_matf_row(input->grid->scale.view, start + i)[g];
        qd_matd x = qd_matd_block(half.view, 0, 0, count, groups);
        qd_quadratic_direct(folded, 0.0, qd_matd_const(x), product.view, forms);
        for (size_t i = 0; i < count; i++)
            neurons[start + i].overload = forms[i];
    }
    return QD_OK;
}

/* out = |H| in processing order; without a factor H is the identity, and nothing reads it. */
static qd_code make_absolute(const qd_factor *factor, qd_matd_buf *out, qd_error *err)
{
    qd_matd h = factor == NULL ? (qd_matd){ 0 } : factor->hessian.view;
    qd_code code = qd_matd_buf_init(out, h.rows, h.cols, err);
    for (size_t i = 0; code == QD_OK && i < h.rows; i++)
        for (size_t j = 0; j < h.cols; j++)
            qd_matd_row(out->view, i)[j] = fabs(qd_matd_row(h, i)[j]);
    return code;
}

/* Clipped neurons: d is the reach of each weight. */
static qd_code overload_rows(const qd_layer_input *input, const qd_steps *steps, const uint8_t *codes,
                             qd_neuron *neurons, qd_error *err)
{
    QD_AUTO(qd_matd_buf_fini) qd_matd_buf absolute = { 0 };
    QD_AUTO(qd_free_pointer) void *rows_memory = NULL;
    QD_AUTO(qd_free_pointer) void *forms_memory = NULL;
    qd_code code = qd_alloc(input->w.rows, sizeof(uint32_t), &rows_memory, err);
    if (code == QD_OK)
        code = qd_alloc(input->w.rows, sizeof(double), &forms_memory, err);
    if (code != QD_OK)
        return code;
    uint32_t *rows = rows_memory;
    double *forms = forms_memory;
    size_t count = 0;
    for (size_t i = 0; i < input->w.rows; i++)
        if (neurons[i].clips > 0)
            rows[count++] = (uint32_t)i;
    if (count == 0)
        return QD_OK;
    code = make_absolute(input->factor, &absolute, err);
    if (code != QD_OK)
        return code;
    qd_cmatd matrix = qd_matd_const(absolute.view);
    qd_form_job job = { .input = input,
                        .steps = steps,
                        .kind = QD_ROWS_REACH,
                        .form = QD_FORM_DIRECT,
                        .matrix = &matrix,
                        .codes = codes,
                        .rows = rows,
                        .count = count };
    code = qd_form_run(&job, forms, err);
    for (size_t i = 0; code == QD_OK && i < count; i++)
        neurons[rows[i]].overload = forms[i];
    return code;
}

static double expected(const qd_layer_input *input, const qd_steps *steps)
{
    const qd_factor *factor = input->factor;
    double sum = 0.0, reach = qd_rounding_reach(input->rounding);
    double square = reach * reach * qd_rounding_variance(input->rounding);
    for (size_t i = 0; i < input->w.rows; i++)
        for (size_t t = 0; t < steps->count; t++) {
            double scale = qd_steps_expected(input, steps, i, t);
            double h = factor == NULL ? 1.0 : factor->diagonal[t] + factor->lambda;
            sum += scale * scale * square * h; /* independent errors */
        }
    return sum;
}

static qd_code bounds(const qd_layer_input *input, const qd_steps *steps, const uint8_t *codes, qd_neuron *neurons,
                      double *out_bound, qd_error *err)
{
    QD_AUTO(qd_matd_buf_fini) qd_matd_buf folded = { 0 };
    qd_code code = qd_matd_buf_init(&folded, input->grid->groups, input->grid->groups, err);
    if (code != QD_OK)
        return code;
    if (input->factor != NULL)
        fold(input->factor, steps, folded.view);
    for (size_t t = 0; input->factor == NULL && t < steps->count; t++)
        qd_matd_row(folded.view, steps->group[t])[steps->group[t]] += 1.0;
    code = bound_rows(input, qd_matd_const(folded.view), neurons, err);
    if (code != QD_OK)
        return code;
    *out_bound = 0.0;
    for (size_t i = 0; i < input->w.rows; i++)
        *out_bound += neurons[i].overload;
    return overload_rows(input, steps, codes, neurons, err);
}

static qd_code energies(const qd_layer_input *input, const qd_steps *steps, const uint8_t *codes, qd_neuron *neurons,
                        qd_error *err)
{
    QD_AUTO(qd_free_pointer) void *memory = NULL;
    qd_code code = qd_alloc(input->w.rows, sizeof(double), &memory, err);
    if (code != QD_OK)
        return code;
    double *forms = memory;
    qd_form_job job = { .input = input,
                        .steps = steps,
                        .kind = QD_ROWS_ERROR,
                        .form = QD_FORM_FACTOR,
                        .codes = codes,
                        .count = input->w.rows };
    code = qd_form_run(&job, forms, err);
    for (size_t i = 0; code == QD_OK && i < input->w.rows; i++)
        neurons[i].energy = forms[i];
    return code;
}

static qd_code round_layer(const qd_layer_input *input, uint8_t *out_codes, qd_certificate *out, qd_error *err)
{
    QD_AUTO(qd_steps_fini) qd_steps steps = { 0 };
    QD_AUTO(qd_free_pointer) void *memory = NULL;
    qd_code code = qd_steps_init(input, QD_DEAD_AS_IS, &steps, err);
    if (code == QD_OK)
        code = qd_alloc(input->w.rows, sizeof(qd_neuron), &memory, err);
    if (code != QD_OK)
        return code;
    rounding_run run = { input, out_codes, memory };
    qd_evidence evidence = { .method = "rtn",
                             .precision = "float64",
                             .input = input,
                             .steps = &steps,
                             .codes = out_codes,
                             .neurons = run.neurons,
                             .tolerance = TOLERANCE };
    code = qd_pool_for(input->pool, (input->w.rows - 1) / ROWS_PER_TASK + 1, round_rows, &run, err);
    if (code == QD_OK)
        code = energies(input, &steps, out_codes, run.neurons, err);
    if (code == QD_OK)
        code = bounds(input, &steps, out_codes, run.neurons, &evidence.bound_sq, err);
    if (code != QD_OK)
        return code;
    evidence.expected_sq = expected(input, &steps);
    if (input->holdout != NULL) {
        qd_matd held = input->holdout->hessian.view;
        evidence.heldout_expected_sq = qd_expected_columns(input, held.data, held.ld + 1);
    }
    return qd_certify(&evidence, out, err);
}

static qd_code raise(const qd_layer_input *input, const qd_scale_type *type, qd_grid *grid, qd_growth *out,
                     qd_error *err)
{
    QD_AUTO(qd_steps_fini) qd_steps steps = { 0 };
    qd_code code = qd_steps_init(input, QD_DEAD_AS_IS, &steps, err);
    if (code != QD_OK)
        return code;
    const qd_raise_job job = { .input = input, .steps = &steps, .type = type };
    return qd_raise_steps(&job, grid, out, err);
}

static const qd_param params[] = { { .name = NULL } };

const qd_algorithm qd_algorithm_rtn = {
    .name = "rtn",
    .summary = "round to nearest: every weight to its closest code",
    .params = params,
    .needs = QD_NEEDS_NOTHING,
    .drift = QD_DRIFT_NONE,
    .raise = raise,
    .round = round_layer,
};
