/* sweep.c: see sweep.h: packing, panels, and what the certificate takes from them. */
#include "quant/sweep.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "quant/sweep_kernels.h"

enum { ROWS = QD_SWEEP_ROWS, BLOCK = QD_SWEEP_BLOCK, STRIP = QD_SWEEP_STRIP };

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

static size_t real_size(qd_precision precision)
{
    return precision == QD_FLOAT64 ? sizeof(double) : sizeof(float);
}

/* ---- feedback ---- */

typedef struct packing {
    const qd_factor *factor;
    const double *inverse; /* 1 / C_jj */
    qd_feedback *feedback;
} packing;

static void pack_row(const packing *p, size_t k, size_t j0, size_t end, size_t offset)
{
    const double *c = qd_matd_row(p->factor->c.view, k);
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

qd_code qd_feedback_init(const qd_factor *factor, qd_precision precision, qd_pool *pool, qd_feedback *out,
                         qd_error *err)
{
    QD_AUTO(qd_feedback_fini) qd_feedback feedback = { factor->features, precision, NULL };
    QD_AUTO(qd_free_pointer) void *memory = NULL;
    size_t blocks = (factor->features - 1) / BLOCK + 1;
    qd_code code = qd_alloc(blocks * (blocks + 1) / 2 * BLOCK * BLOCK, real_size(precision), &feedback.data, err);
    if (code == QD_OK)
        code = qd_alloc(factor->features, sizeof(double), &memory, err);
    if (code != QD_OK)
        return code;
    double *inverse = memory;
    for (size_t j = 0; j < factor->features; j++)
        inverse[j] = 1.0 / qd_matd_row(factor->c.view, j)[j];
    packing p = { factor, inverse, &feedback };
    code = qd_pool_for(pool, blocks, pack_block_column, &p, err);
    if (code != QD_OK)
        return code;
    *out = feedback;
    feedback.data = NULL;
    return QD_OK;
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
    void *scale, *zero; /* REAL [groups][64] */
} scratch;

typedef struct sweep_run {
    const qd_layer_input *input;
    const qd_steps *steps;
    const qd_feedback *feedback;
    const qd_sweep_kernel *kernel;
    scratch *scratch; /* one a worker */
    uint8_t *codes;
    qd_neuron *neurons;
} sweep_run;

static void put(const sweep_run *r, void *array, size_t at, float value)
{
    if (r->feedback->precision == QD_FLOAT64)
        ((double *)array)[at] = (double)value;
    else
        ((float *)array)[at] = value;
}

static double get(const sweep_run *r, const void *array, size_t at)
{
    return r->feedback->precision == QD_FLOAT64 ? ((const double *)array)[at] : (double)((const float *)array)[at];
}

/* Rows past the end of the matrix are zeros on a grid of step 1. */
static void load_panel(const sweep_run *r, const scratch *s, size_t start, size_t count)
{
    const qd_grid *grid = r->input->grid;
    for (size_t i = 0; i < ROWS; i++) {
        const float *w = i < count ? qd_cmatf_row(r->input->w, start + i) : NULL;
        for (size_t t = 0; t < r->steps->count; t++) {
            float value = w == NULL ? 0.0f : w[r->steps->column[t]] * r->steps->live[t];
            put(r, s->argument, t * ROWS + i, value);
            put(r, s->error, t * ROWS + i, value);
        }
        for (size_t g = 0; g < grid->groups; g++) {
            put(r, s->scale, g * ROWS + i, w == NULL ? 1.0f : qd_matf_row(grid->scale.view, start + i)[g]);
            put(r, s->zero, g * ROWS + i, w == NULL ? 0.0f : qd_matf_row(grid->zero.view, start + i)[g]);
        }
    }
}

/* theory.md §2, I2, and §3, T2, from the arguments z and the codes, in float64. */
static void tally(const sweep_run *r, const scratch *s, size_t i, qd_neuron *out)
{
    const qd_grid *grid = r->input->grid;
    qd_neuron neuron = { 0 };
    for (size_t t = 0; t < r->steps->count; t++) {
        size_t at = t * ROWS + i, group = (size_t)r->steps->group[t] * ROWS + i;
        double scale = get(r, s->scale, group), zero = get(r, s->zero, group);
        double z = get(r, s->argument, at), r2 = r->steps->r2[t];
        double code = z / scale + zero, excess = fmax(code - grid->high, grid->low - code);
        double eps = z - ((double)(grid->low + s->codes[at]) - zero) * scale;
        double reach = scale * fmax(0.5, excess), error = get(r, s->error, at);
        neuron.energy += eps * eps * r2;
        neuron.overload += reach * reach * r2;
        neuron.weight_error += error * error;
        neuron.clips += excess > 0.5;
        neuron.max_excess = fmax(neuron.max_excess, excess);
    }
    *out = neuron;
}

static qd_code sweep_panel(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const sweep_run *r = ctx;
    const scratch *s = &r->scratch[worker];
    (void)err;
    size_t start = index * ROWS, count = qd_min_size(ROWS, r->input->w.rows - start), columns = r->steps->count;
    load_panel(r, s, start, count);
    qd_sweep_panel panel = { .columns = columns,
                             .feedback = r->feedback->data,
                             .argument = s->argument,
                             .error = s->error,
                             .codes = s->codes,
                             .scale = s->scale,
                             .zero = s->zero,
                             .group = r->steps->group,
                             .low = r->input->grid->low,
                             .high = r->input->grid->high };
    (r->feedback->precision == QD_FLOAT64 ? r->kernel->sweep_f64 : r->kernel->sweep_f32)(&panel);
    for (size_t i = 0; i < count; i++) {
        uint8_t *codes = r->codes + (start + i) * columns;
        for (size_t t = 0; t < columns; t++)
            codes[r->steps->column[t]] = s->codes[t * ROWS + i];
        tally(r, s, i, &r->neurons[start + i]);
    }
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
    return code;
}

qd_code qd_sweep_run(const qd_layer_input *input, const qd_steps *steps, const qd_feedback *feedback,
                     const qd_sweep_kernel *kernel, uint8_t *out_codes, qd_neuron *out_neurons, qd_error *err)
{
    sweep_run run = { input, steps, feedback, kernel, NULL, out_codes, out_neurons };
    size_t threads = qd_pool_threads(input->pool);
    qd_code code = qd_alloc(threads, sizeof *run.scratch, (void **)&run.scratch, err);
    for (size_t i = 0; code == QD_OK && i < threads; i++)
        code = allocate_scratch(&run, &run.scratch[i], err);
    if (code == QD_OK)
        code = qd_pool_for(input->pool, (input->w.rows - 1) / ROWS + 1, sweep_panel, &run, err);
    free_scratch(run.scratch, threads);
    return code;
}
