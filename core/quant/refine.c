/* refine.c: see refine.h: panels of rows, and what is taken back. */
#include "quant/refine.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "linalg/gemm.h"
#include "quant/quadratic.h"
#include "quant/refine_rows.h"

/* A beam wider than this has many codes of each row at hand, so panels are lower. */
enum { WIDE_BEAM = 32, LOW_PANEL = 64 };
static_assert((int)LOW_PANEL < (int)QD_REFINE_ROWS, "lower");

void qd_refined_fini(qd_refined *refined)
{
    qd_grid_fini(&refined->grid);
    free(refined->swept);
    free(refined->searched);
    free(refined->energy);
    free(refined->weight_error);
    *refined = (qd_refined){ 0 };
}

/* ---- panels ---- */

typedef struct scratch {
    double *numbers; /* target, error, gradient: rows x I; product; energies; then what a move wants */
    uint8_t *codes;  /* rows x I each: now, kept, found by the beam search, swept */
    float *scales;   /* kept: scale, zero and offset, rows x G */
} scratch;

typedef struct refining {
    const qd_layer_input *input;
    const qd_steps *steps;
    uint8_t *codes;
    qd_refined *refined;
    scratch *scratch;                  /* one a worker */
    size_t panel_rows;                 /* at most */
    size_t *changed, *fitted, *rounds; /* one a panel: summed in order */
} refining;

typedef struct panel {
    qd_refine_rows rows;
    uint8_t *kept, *found, *swept;
    double *kept_energy, *cost, *move;
    qd_matd product;
    float *kept_scale, *kept_zero, *kept_offset;
} panel;

static size_t rows_of_panels(const qd_layer_input *input)
{
    return qd_min_size(input->w.rows, input->refine.beam > WIDE_BEAM ? LOW_PANEL : QD_REFINE_ROWS);
}

static size_t count_numbers(const refining *r)
{
    size_t features = r->input->w.cols, width = qd_max_size(1, r->input->refine.beam), rows = r->panel_rows;
    size_t moves = qd_max_size(qd_fit_scratch(features), qd_descend_scratch(features));
    return rows * (3 * features + QD_QUADRATIC_BLOCK) + 3 * QD_REFINE_ROWS +
           qd_max_size(qd_beam_scratch(rows, features, width), moves);
}

/* What is read in whole vectors comes first: the move's, then the rest. */
static panel panel_at(const refining *r, size_t index, size_t worker)
{
    size_t features = r->steps->count, rows = r->panel_rows, start = index * rows;
    size_t count = qd_min_size(rows, r->input->w.rows - start);
    scratch *s = &r->scratch[worker];
    double *at = s->numbers + count_numbers(r) - rows * (3 * features + QD_QUADRATIC_BLOCK) - 3 * QD_REFINE_ROWS;
    panel p = { .rows = { .input = r->input,
                          .steps = r->steps,
                          .kernel = qd_refine_kernel_best(),
                          .grid = &r->refined->grid,
                          .start = start,
                          .count = count,
                          .target = { count, features, features, at },
                          .error = { count, features, features, at + rows * features },
                          .gradient = { count, features, features, at + 2 * rows * features },
                          .codes = s->codes },
                .move = s->numbers };
    at += 3 * rows * features;
    p.product = (qd_matd){ count, QD_QUADRATIC_BLOCK, QD_QUADRATIC_BLOCK, at };
    p.rows.energy = at + rows * QD_QUADRATIC_BLOCK;
    p.kept_energy = p.rows.energy + QD_REFINE_ROWS;
    p.cost = p.kept_energy + QD_REFINE_ROWS;
    p.kept = s->codes + rows * features;
    p.found = p.kept + rows * features;
    p.swept = p.found + rows * features;
    p.kept_scale = s->scales;
    p.kept_zero = p.kept_scale + rows * r->refined->grid.groups;
    p.kept_offset = p.kept_zero + rows * r->refined->grid.groups;
    return p;
}

static void load(const refining *r, const panel *p)
{
    uint32_t rows[QD_REFINE_ROWS];
    size_t features = r->steps->count;
    for (size_t i = 0; i < p->rows.count; i++) {
        rows[i] = (uint32_t)(p->rows.start + i);
        for (size_t t = 0; t < features; t++)
            p->rows.codes[i * features + t] = r->codes[rows[i] * features + r->steps->column[t]];
    }
    qd_steps_rows(r->input, r->steps, QD_ROWS_TARGET, NULL, rows, p->rows.count, p->rows.target);
    memcpy(p->swept, p->rows.codes, p->rows.count * features);
}

void qd_refine_spread_grid(const qd_refine_rows *rows, size_t row, double *scale, double *zero)
{
    const float *scales = qd_matf_row(rows->grid->scale.view, rows->start + row);
    const float *zeros = qd_matf_row(rows->grid->zero.view, rows->start + row);
    for (size_t t = 0; t < rows->steps->count; t++) {
        scale[t] = (double)scales[rows->steps->group[t]];
        zero[t] = (double)zeros[rows->steps->group[t]];
    }
}

/* Errors of the codes and grid as they are. */
static void subtract(const panel *p)
{
    const qd_refine_rows *rows = &p->rows;
    for (size_t i = 0; i < rows->count; i++)
        for (size_t t = 0; t < rows->steps->count; t++)
            qd_matd_row(rows->error, i)[t] =
                qd_matd_row(rows->target, i)[t] - qd_refine_value(rows, i, t, rows->codes[i * rows->steps->count + t]);
}

/* Their energies too, as ||error C||^2. */
static void measure(const panel *p)
{
    const qd_refine_rows *rows = &p->rows;
    subtract(p);
    qd_quadratic_factor(qd_matd_const(rows->input->factor->c.view), qd_matd_const(rows->error), p->product,
                        rows->energy);
}

static void differentiate(const panel *p)
{
    const qd_refine_rows *rows = &p->rows;
    qd_gemm_f64(QD_PLAIN, QD_PLAIN, 1.0, qd_matd_const(rows->error), qd_matd_const(rows->input->factor->hessian.view),
                0.0, rows->gradient);
    for (size_t i = 0; i < rows->count; i++)
        qd_axpy_f64(rows->steps->damping, qd_matd_row(rows->error, i), qd_matd_row(rows->gradient, i),
                    rows->steps->count);
}

/* What a row is, and what it was: codes, scales and energy. */
static void exchange(const panel *p, size_t row, uint8_t *codes_to, const uint8_t *codes_from)
{
    memcpy(codes_to + row * p->rows.steps->count, codes_from + row * p->rows.steps->count, p->rows.steps->count);
}

static void keep_row(const panel *p, size_t row)
{
    const qd_grid *grid = p->rows.grid;
    size_t size = grid->groups * sizeof(float), at = row * grid->groups;
    exchange(p, row, p->kept, p->rows.codes);
    memcpy(p->kept_scale + at, qd_matf_row(grid->scale.view, p->rows.start + row), size);
    memcpy(p->kept_zero + at, qd_matf_row(grid->zero.view, p->rows.start + row), size);
    if (grid->offset.view.rows > 0)
        memcpy(p->kept_offset + at, qd_matf_row(grid->offset.view, p->rows.start + row), size);
    p->kept_energy[row] = p->rows.energy[row];
}

static void take_back_row(const panel *p, size_t row)
{
    const qd_grid *grid = p->rows.grid;
    size_t size = grid->groups * sizeof(float), at = row * grid->groups;
    exchange(p, row, p->rows.codes, p->kept);
    memcpy(qd_matf_row(grid->scale.view, p->rows.start + row), p->kept_scale + at, size);
    memcpy(qd_matf_row(grid->zero.view, p->rows.start + row), p->kept_zero + at, size);
    if (grid->offset.view.rows > 0)
        memcpy(qd_matf_row(grid->offset.view, p->rows.start + row), p->kept_offset + at, size);
    p->rows.energy[row] = p->kept_energy[row];
}

/* After moves: rows whose energy did not fall go back to what they were. */
static void judge_rows(const panel *p)
{
    measure(p);
    for (size_t i = 0; i < p->rows.count; i++) {
        if (p->rows.energy[i] < p->kept_energy[i])
            keep_row(p, i);
        else
            take_back_row(p, i);
    }
}

static void search(const refining *r, const panel *p)
{
    qd_beam_search(&p->rows, r->input->refine.beam, p->move, p->found, p->cost);
    memcpy(p->rows.codes, p->found, p->rows.count * r->steps->count);
    judge_rows(p);
}

/* error . gradient */
static double energy_by_gradient(const panel *p, size_t row)
{
    const double *error = qd_matd_row(p->rows.error, row), *gradient = qd_matd_row(p->rows.gradient, row);
    double sum = 0.0;
    for (size_t t = 0; t < p->rows.steps->count; t++)
        sum += error[t] * gradient[t];
    return sum;
}

/* The rows that a round changed are those of the next: it would find the others as they were, and leave them so. */
static void go_on(const panel *p, qd_refine_some *some)
{
    size_t left = 0;
    for (size_t k = 0; k < some->count; k++)
        if (some->changed[k] > 0) {
            some->row[left] = some->row[k];
            p->rows.energy[some->row[left]] = energy_by_gradient(p, some->row[left]);
            some->changed[left++] = 0;
        }
    some->count = left;
}

/* Rounds until nothing falls any more; how many. Moves keep error and gradient true to what they change, so there is one product with H at the
 * start, and one with C at the end, which judges all rounds. */
static size_t descend(const refining *r, const panel *p)
{
    size_t round = 0;
    qd_refine_some some = { .count = p->rows.count };
    if (r->input->refine.rounds == 0)
        return 0;
    for (size_t k = 0; k < some.count; k++)
        some.row[k] = (uint32_t)k;
    subtract(p); /* of rows that were taken back, too */
    differentiate(p);
    for (; some.count > 0 && round < r->input->refine.rounds; round++) {
        if (r->input->refine.refit)
            qd_fit_scales(&p->rows, &some, p->move);
        qd_descend(&p->rows, &some, p->move);
        go_on(p, &some);
    }
    judge_rows(p);
    return round;
}

static void store(const refining *r, const panel *p, size_t index)
{
    size_t features = r->steps->count;
    const qd_grid *grid = &r->refined->grid;
    for (size_t i = 0; i < p->rows.count; i++) {
        size_t row = p->rows.start + i;
        double square = 0.0;
        for (size_t t = 0; t < features; t++) {
            uint8_t code = p->rows.codes[i * features + t];
            size_t column = r->steps->column[t];
            double change = (double)(qd_cmatf_row(r->input->w, row)[column] * r->steps->live[t]) -
                            qd_refine_value(&p->rows, i, t, code);
            square += change * change;
            r->changed[index] += code != p->swept[i * features + t];
            r->codes[row * features + column] = code;
        }
        r->refined->energy[row] = p->rows.energy[i];
        r->refined->weight_error[row] = square;
        for (size_t g = 0; g < grid->groups; g++)
            r->fitted[index] +=
                qd_matf_row(grid->scale.view, row)[g] != qd_matf_row(r->input->grid->scale.view, row)[g] ||
                qd_matf_row(grid->zero.view, row)[g] != qd_matf_row(r->input->grid->zero.view, row)[g];
    }
}

static qd_code refine_panel(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const refining *r = ctx;
    const panel p = panel_at(r, index, worker);
    (void)err;
    load(r, &p);
    measure(&p);
    for (size_t i = 0; i < p.rows.count; i++)
        keep_row(&p, i);
    memcpy(r->refined->swept + p.rows.start, p.rows.energy, p.rows.count * sizeof(double));
    if (r->input->refine.beam > 1)
        search(r, &p);
    memcpy(r->refined->searched + p.rows.start, p.rows.energy, p.rows.count * sizeof(double));
    r->rounds[index] = descend(r, &p);
    store(r, &p, index);
    return QD_OK;
}

/* ---- the layer ---- */

static void free_scratch(scratch *s, size_t threads)
{
    for (size_t i = 0; s != NULL && i < threads; i++) {
        free(s[i].numbers);
        free(s[i].codes);
        free(s[i].scales);
    }
    free(s);
}

static qd_code allocate_scratch(const refining *r, scratch *s, qd_error *err)
{
    qd_code code = qd_alloc(count_numbers(r), sizeof(double), (void **)&s->numbers, err);
    if (code == QD_OK)
        code = qd_alloc(4 * r->panel_rows, r->steps->count, (void **)&s->codes, err);
    if (code == QD_OK)
        code = qd_alloc(3 * r->panel_rows * r->input->grid->groups, sizeof(float), (void **)&s->scales, err);
    return code;
}

static qd_code over_panels(refining *r, size_t panels, qd_error *err)
{
    QD_AUTO(qd_free_pointer) void *counts = NULL;
    size_t threads = qd_pool_threads(r->input->pool);
    qd_code code = qd_alloc(3 * panels, sizeof(size_t), &counts, err);
    if (code == QD_OK)
        code = qd_alloc(threads, sizeof *r->scratch, (void **)&r->scratch, err);
    for (size_t i = 0; code == QD_OK && i < threads; i++)
        code = allocate_scratch(r, &r->scratch[i], err);
    r->changed = counts;
    r->fitted = r->changed + panels;
    r->rounds = r->fitted + panels;
    if (code == QD_OK)
        code = qd_pool_for(r->input->pool, panels, refine_panel, r, err);
    free_scratch(r->scratch, threads);
    for (size_t i = 0; code == QD_OK && i < panels; i++) {
        r->refined->codes_changed += r->changed[i];
        r->refined->scales_fitted += r->fitted[i];
        r->refined->rounds = qd_max_size(r->refined->rounds, r->rounds[i]);
    }
    return code;
}

qd_code qd_refine_run(const qd_layer_input *input, const qd_steps *steps, uint8_t *codes, qd_refined *out,
                      qd_error *err)
{
    QD_AUTO(qd_refined_fini) qd_refined refined = { 0 };
    double **const sums[] = { &refined.swept, &refined.searched, &refined.energy, &refined.weight_error };
    bool wanted = input->refine.beam > 1 || input->refine.rounds > 0;
    qd_code code = qd_grid_copy(input->grid, &refined.grid, err);
    for (size_t i = 0; code == QD_OK && wanted && i < QD_LENGTH(sums); i++)
        code = qd_alloc(input->w.rows, sizeof(double), (void **)sums[i], err);
    refining r = {
        .input = input, .steps = steps, .codes = codes, .refined = &refined, .panel_rows = rows_of_panels(input)
    };
    if (code == QD_OK && wanted)
        code = over_panels(&r, (input->w.rows - 1) / r.panel_rows + 1, err);
    if (code != QD_OK)
        return code;
    *out = refined;
    refined = (qd_refined){ 0 };
    return QD_OK;
}

qd_code qd_refine_certify(const qd_evidence *evidence, qd_certificate *out, qd_error *err)
{
    qd_layer_input final = *evidence->input;
    qd_evidence found = *evidence;
    final.grid = &evidence->refined->grid;
    found.input = &final;
    qd_code code = qd_certify(&found, out, err);
    qd_grid *fitted = evidence->input->fitted;
    if (code != QD_OK || fitted == NULL || !evidence->input->refine.refit)
        return code;
    qd_grid_fini(fitted);
    return qd_grid_copy(final.grid, fitted, err);
}
