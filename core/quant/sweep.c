/* sweep.c: see sweep.h: packing, panels, and what the certificate takes from them. */
#include "quant/sweep.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "quant/sweep_kernels.h"

enum { ROWS = QD_SWEEP_ROWS, BLOCK = QD_SWEEP_BLOCK, STRIP = QD_SWEEP_STRIP, GATHER = 16 };

static const qd_sweep_kernel *const kernels[] = {
#ifdef QD_SWEEP_X86
    &qd_sweep_avx512,
    &qd_sweep_avx2,
#endif
    &qd_sweep_portable,
};

const qd_sweep_kernel *qd_sweep_kernel_at(size_t index)
{
    return index < QD_LENGTH(kernels) ? kernels[index] : NULL;
}

const qd_sweep_kernel *qd_sweep_kernel_best(void)
{
    size_t i = 0;
    while (!kernels[i]->supported())
        i++;
    return kernels[i];
}

const char *qd_precision_name(qd_precision precision)
{
    return precision == QD_FLOAT64 ? "float64" : "float32";
}

qd_precision qd_sweep_precision(const qd_layer_input *input)
{
    return input->w.cols < QD_FLOAT32_COLUMNS || input->rounding == QD_ROUND_STOCHASTIC ? QD_FLOAT64 : QD_FLOAT32;
}

static bool is_doubtful(const qd_certificate *certificate)
{
    return certificate->status == QD_NUMERIC_SUSPECT || certificate->status == QD_VIOLATED;
}

qd_code qd_sweep_settle(const qd_layer_input *input, qd_sweep_attempt *attempt, uint8_t *out_codes, qd_certificate *out,
                        qd_error *err)
{
    qd_precision precision = qd_sweep_precision(input);
    qd_code code = attempt(input, precision, out_codes, out, err);
    if (precision == QD_FLOAT32 && (code == QD_ENUMERIC || (code == QD_OK && is_doubtful(out))))
        code = attempt(input, QD_FLOAT64, out_codes, out, err);
    return code;
}

double qd_sweep_tolerance(qd_precision precision)
{
    return precision == QD_FLOAT64 ? 1e-9 : 1e-4;
}

static size_t real_size(qd_precision precision)
{
    return precision == QD_FLOAT64 ? sizeof(double) : sizeof(float);
}

/* ---- feedback ---- */

typedef struct packing {
    qd_cmatd upper;
    const double *inverse; /* 1 / diagonal */
    qd_feedback *feedback;
} packing;

static void pack_row(const packing *p, size_t k, size_t j0, size_t end, size_t offset)
{
    const double *c = qd_cmatd_row(p->upper, k);
    for (size_t j = j0 > k ? j0 : k + 1; j < end; j++) {
        size_t at = offset + ((j - j0) / STRIP * BLOCK + k % BLOCK) * STRIP + (j - j0) % STRIP;
        double u = c[j] * p->inverse[j];
        if (p->feedback->precision == QD_FLOAT64)
            ((double *)p->feedback->data)[at] = u;
        else
            ((float *)p->feedback->data)[at] = (float)u;
    }
}

static qd_code pack_block_column(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const packing *p = ctx;
    (void)worker;
    (void)err;
    size_t j0 = index * BLOCK, end = qd_min_size(j0 + BLOCK, p->feedback->columns);
    for (size_t k = 0; k < end; k++)
        pack_row(p, k, j0, end, (index * (index + 1) / 2 + k / BLOCK) * BLOCK * BLOCK);
    return QD_OK;
}

qd_code qd_feedback_init_upper(qd_cmatd upper, qd_precision precision, qd_pool *pool, qd_feedback *out, qd_error *err)
{
    QD_AUTO(qd_feedback_fini) qd_feedback feedback = { upper.rows, precision, NULL };
    QD_AUTO(qd_free_pointer) void *memory = NULL;
    size_t blocks = (upper.rows - 1) / BLOCK + 1;
    qd_code code = qd_alloc(blocks * (blocks + 1) / 2 * BLOCK * BLOCK, real_size(precision), &feedback.data, err);
    if (code == QD_OK)
        code = qd_alloc(upper.rows, sizeof(double), &memory, err);
    if (code != QD_OK)
        return code;
    double *inverse = memory;
    for (size_t j = 0; j < upper.rows; j++) {
        double diagonal = qd_cmatd_row(upper, j)[j];
        inverse[j] = diagonal == 0.0 ? 0.0 : 1.0 / diagonal;
    }
    packing p = { upper, inverse, &feedback };
    code = qd_pool_for(pool, blocks, pack_block_column, &p, err);
    if (code != QD_OK)
        return code;
    *out = feedback;
    feedback.data = NULL;
    return QD_OK;
}

qd_code qd_feedback_init(const qd_factor *factor, qd_precision precision, qd_pool *pool, qd_feedback *out,
                         qd_error *err)
{
    return qd_feedback_init_upper(qd_matd_const(factor->c.view), precision, pool, out, err);
}

void qd_feedback_fini(qd_feedback *feedback)
{
    free(feedback->data);
    *feedback = (qd_feedback){ 0 };
}

/* ---- panels ---- */

typedef struct scratch {
    void *argument, *error; /* REAL [columns, rounded up][64] */
    uint8_t *codes;
    float *rows;        /* [16][columns + 16]: odd strides keep rows out of each other's cache sets */
    uint8_t *row_codes; /* [64][columns + 64] */
    void *scale, *zero; /* REAL [groups][64] */
    double *dither;     /* as argument; NULL unless rounding is stochastic */
    double *inverse;
} scratch;

/* A set of levels as kernels read it. */
typedef struct ladder {
    double level[QD_LEVELS_MAX], gap[QD_LEVELS_MAX], threshold[QD_LEVELS_MAX];
    float level_f32[QD_LEVELS_MAX], gap_f32[QD_LEVELS_MAX], threshold_f32[QD_LEVELS_MAX];
} ladder;

static void load_ladder(const qd_levels *levels, ladder *out)
{
    for (size_t k = 0; k < levels->count; k++) {
        out->level[k] = levels->value[k];
        out->gap[k] = k + 1 < levels->count ? levels->value[k + 1] - levels->value[k] : 0.0;
        out->threshold[k] = levels->value[k] + out->gap[k] * qd_levels_cut(levels, k);
        out->level_f32[k] = (float)out->level[k];
        out->gap_f32[k] = (float)out->gap[k];
        out->threshold_f32[k] = (float)out->threshold[k];
    }
}

typedef struct sweep_run {
    const qd_layer_input *input;
    const qd_steps *steps;
    const qd_feedback *feedback;
    const qd_sweep_kernel *kernel;
    scratch *scratch; /* one a worker */
    uint8_t *codes;
    qd_neuron *neurons;
    ladder ladder;
} sweep_run;

/* Some values of a column (from row `at` on) into an array of REAL. */
static void put_column(const sweep_run *r, void *array, size_t column, size_t at, const float *values, size_t count)
{
    if (r->feedback->precision == QD_FLOAT32) {
        memcpy((float *)array + column * ROWS + at, values, count * sizeof(float));
        return;
    }
    double *to = (double *)array + column * ROWS + at;
    for (size_t i = 0; i < count; i++)
        to[i] = (double)values[i];
}

/* A row in the order of the sweep. The row that comes `ahead` is asked for meanwhile: in any other order than their own nothing else foresees it. */
static void order_row(const qd_steps *steps, const float *restrict w, size_t ahead, float *restrict to)
{
    enum { LINE = 16 };
    const uint32_t *restrict column = steps->column;
    const float *restrict live = steps->live;
    size_t columns = steps->count;
    for (size_t t0 = 0; t0 < columns; t0 += LINE) {
        __builtin_prefetch(w + ahead + t0);
        for (size_t t = t0; t < qd_min_size(t0 + LINE, columns); t++)
            to[t] = w[column[t]] * live[t];
    }
}

/* Rows become columns. */
static void turn_f32(const float *restrict from, size_t stride, size_t columns, float *restrict to)
{
    for (size_t t = 0; t < columns; t++)
        for (size_t i = 0; i < GATHER; i++)
            to[t * ROWS + i] = from[i * stride + t];
}

static void turn_f64(const float *restrict from, size_t stride, size_t columns, double *restrict to)
{
    for (size_t t = 0; t < columns; t++)
        for (size_t i = 0; i < GATHER; i++)
            to[t * ROWS + i] = (double)from[i * stride + t];
}

/* W^T of 16 rows: each row is put in order first, so that both passes touch whole cache lines. Rows past the end of the
 * matrix are zeros. */
static void load_weights(const sweep_run *r, const scratch *s, size_t start, size_t at)
{
    size_t columns = r->steps->count, stride = columns + GATHER;
    for (size_t i = 0; i < GATHER; i++)
        if (start + at + i < r->input->w.rows)
            order_row(r->steps, qd_cmatf_row(r->input->w, start + at + i), 2 * r->input->w.ld, s->rows + i * stride);
        else
            memset(s->rows + i * stride, 0, columns * sizeof *s->rows);
    if (r->feedback->precision == QD_FLOAT32)
        turn_f32(s->rows, stride, columns, (float *)s->argument + at);
    else
        turn_f64(s->rows, stride, columns, (double *)s->argument + at);
}

static void load_panel(const sweep_run *r, const scratch *s, size_t start)
{
    for (size_t at = 0; at < ROWS; at += GATHER)
        load_weights(r, s, start, at);
    memcpy(s->error, s->argument, r->steps->count * ROWS * real_size(r->feedback->precision));
}

static void put(const sweep_run *r, void *array, size_t at, double value)
{
    if (r->feedback->precision == QD_FLOAT64)
        ((double *)array)[at] = value;
    else
        ((float *)array)[at] = (float)value;
}

/* The same from a target, which is in order already: 8 steps (a cache line) of each row at a time. */
static void load_target(const sweep_run *r, const scratch *s, size_t start, size_t count)
{
    enum { LINE = 8 };
    size_t columns = r->steps->count;
    for (size_t t0 = 0; t0 < columns; t0 += LINE)
        for (size_t i = 0; i < ROWS; i++)
            for (size_t t = t0; t < qd_min_size(t0 + LINE, columns); t++) {
                double value = i < count ? r->steps->target[(start + i) * columns + t] : 0.0;
                put(r, s->argument, t * ROWS + i, value);
                put(r, s->error, t * ROWS + i, value);
            }
    for (size_t i = 0; r->steps->first != NULL && i < count; i++)
        put(r, s->argument, i, r->steps->target[(start + i) * columns] - r->steps->first[start + i]);
}

static void load_dither(const sweep_run *r, const scratch *s, size_t start, size_t count)
{
    for (size_t t = 0; t < r->steps->count; t++)
        for (size_t i = 0; i < ROWS; i++)
            s->dither[t * ROWS + i] =
                i < count ? qd_rounding_dither(r->input->seed, start + i, r->steps->column[t]) : 0.0;
}

/* Rows past the end of the matrix have steps of 1. */
static void load_grid(const sweep_run *r, const scratch *s, size_t start, size_t count)
{
    const qd_grid *grid = r->input->grid;
    double widest = qd_grid_widest(grid);
    for (size_t g = 0; g < grid->groups; g++) {
        float scale[ROWS], zero[ROWS];
        for (size_t i = 0; i < ROWS; i++) {
            scale[i] = i < count ? qd_matf_row(grid->scale.view, start + i)[g] : 1.0f;
            zero[i] = i < count ? qd_matf_row(grid->zero.view, start + i)[g] : 0.0f;
            s->inverse[g * ROWS + i] = 1.0 / ((double)scale[i] * widest);
        }
        put_column(r, s->scale, g, 0, scale, ROWS);
        put_column(r, s->zero, g, 0, zero, ROWS);
    }
}

/* Columns become rows, ROWS of them at a time: both sides stay in the first cache. */
static void turn_codes(const uint8_t *restrict from, size_t columns, size_t count, size_t stride, uint8_t *restrict to)
{
    for (size_t t0 = 0; t0 < columns; t0 += ROWS) {
        size_t end = qd_min_size(t0 + ROWS, columns);
        for (size_t i = 0; i < count; i++)
            for (size_t t = t0; t < end; t++)
                to[i * stride + t] = from[t * ROWS + i];
    }
}

static void store_row(const uint8_t *restrict from, const uint32_t *restrict column, size_t columns,
                      uint8_t *restrict to)
{
    for (size_t t = 0; t < columns; t++)
        to[column[t]] = from[t];
}

static void store_codes(const sweep_run *r, const scratch *s, size_t start, size_t count)
{
    size_t columns = r->steps->count, stride = columns + ROWS;
    turn_codes(s->codes, columns, count, stride, s->row_codes);
    for (size_t i = 0; i < count; i++)
        store_row(s->row_codes + i * stride, r->steps->column, columns, r->codes + (start + i) * columns);
}

static qd_code sweep_panel(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const sweep_run *r = ctx;
    const scratch *s = &r->scratch[worker];
    (void)err;
    size_t start = index * ROWS, count = qd_min_size(ROWS, r->input->w.rows - start);
    bool wide = r->feedback->precision == QD_FLOAT64;
    double widest = qd_grid_widest(r->input->grid);
    qd_neuron neurons[ROWS];
    _Alignas(64) double first[ROWS] = { 0 };
    if (r->steps->target != NULL)
        load_target(r, s, start, count);
    else
        load_panel(r, s, start);
    if (r->steps->first != NULL)
        memcpy(first, r->steps->first + start, count * sizeof *first);
    load_grid(r, s, start, count);
    if (s->dither != NULL)
        load_dither(r, s, start, count);
    qd_sweep_panel panel = { .columns = r->steps->count,
                             .feedback = r->feedback->data,
                             .argument = s->argument,
                             .error = s->error,
                             .codes = s->codes,
                             .scale = s->scale,
                             .zero = s->zero,
                             .inverse = s->inverse,
                             .group = r->steps->group,
                             .r2 = r->steps->path == NULL ? r->steps->r2 : r->steps->path,
                             .path = r->steps->path == NULL ? 0.0 : 1.0,
                             .first = r->steps->first == NULL ? NULL : first,
                             .reach = qd_rounding_reach(r->input->rounding) * widest,
                             .grace = qd_rounding_grace(r->input->rounding) * widest,
                             .dither = s->dither,
                             .low = r->input->grid->low,
                             .high = r->input->grid->high,
                             .lowest = qd_grid_lowest(r->input->grid),
                             .highest = qd_grid_highest(r->input->grid),
                             .levels = r->input->grid->levels.count,
                             .level = wide ? (const void *)r->ladder.level : r->ladder.level_f32,
                             .gap = wide ? (const void *)r->ladder.gap : r->ladder.gap_f32,
                             .threshold = wide ? (const void *)r->ladder.threshold : r->ladder.threshold_f32,
                             .exact = r->input->grid->levels.value,
                             .neurons = neurons };
    (wide ? r->kernel->sweep_f64 : r->kernel->sweep_f32)(&panel);
    store_codes(r, s, start, count);
    memcpy(r->neurons + start, neurons, count * sizeof *neurons);
    return QD_OK;
}

static void free_scratch(scratch *s, size_t threads)
{
    for (size_t i = 0; s != NULL && i < threads; i++) {
        free(s[i].argument);
        free(s[i].error);
        free(s[i].codes);
        free(s[i].scale);
        free(s[i].zero);
        free(s[i].dither);
        free(s[i].inverse);
        free(s[i].rows);
        free(s[i].row_codes);
    }
    free(s);
}

static qd_code allocate_scratch(const sweep_run *r, scratch *s, qd_error *err)
{
    size_t columns = (r->steps->count + STRIP - 1) / STRIP * STRIP, groups = r->input->grid->groups;
    size_t size = real_size(r->feedback->precision);
    qd_code code = qd_alloc(columns * ROWS, size, &s->argument, err);
    if (code == QD_OK)
        code = qd_alloc(columns * ROWS, size, &s->error, err);
    if (code == QD_OK)
        code = qd_alloc(columns * ROWS, 1, (void **)&s->codes, err);
    if (code == QD_OK)
        code = qd_alloc(groups * ROWS, size, &s->scale, err);
    if (code == QD_OK)
        code = qd_alloc(groups * ROWS, size, &s->zero, err);
    if (code == QD_OK && r->input->rounding == QD_ROUND_STOCHASTIC)
        code = qd_alloc(columns * ROWS, sizeof(double), (void **)&s->dither, err);
    if (code == QD_OK)
        code = qd_alloc(groups * ROWS, sizeof(double), (void **)&s->inverse, err);
    if (code == QD_OK)
        code = qd_alloc((r->steps->count + GATHER) * GATHER, sizeof(float), (void **)&s->rows, err);
    if (code == QD_OK)
        code = qd_alloc((r->steps->count + ROWS) * ROWS, 1, (void **)&s->row_codes, err);
    return code;
}

qd_code qd_sweep_run(const qd_layer_input *input, const qd_steps *steps, const qd_feedback *feedback,
                     const qd_sweep_kernel *kernel, uint8_t *out_codes, qd_neuron *out_neurons, qd_error *err)
{
    assert(input->rounding == QD_ROUND_NEAREST || feedback->precision == QD_FLOAT64);
    sweep_run run = { .input = input,
                      .steps = steps,
                      .feedback = feedback,
                      .kernel = kernel,
                      .codes = out_codes,
                      .neurons = out_neurons };
    load_ladder(&input->grid->levels, &run.ladder);
    size_t threads = qd_pool_threads(input->pool);
    qd_code code = qd_alloc(threads, sizeof *run.scratch, (void **)&run.scratch, err);
    for (size_t i = 0; code == QD_OK && i < threads; i++)
        code = allocate_scratch(&run, &run.scratch[i], err);
    if (code == QD_OK)
        code = qd_pool_for(input->pool, (input->w.rows - 1) / ROWS + 1, sweep_panel, &run, err);
    free_scratch(run.scratch, threads);
    return code;
}
