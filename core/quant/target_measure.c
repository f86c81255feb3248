/* target_measure.c: see target.h: what codes leave of the mismatch, on calibration and on held-out inputs. */
#include <math.h>

#include "base/mem.h"
#include "quant/quadratic.h"
#include "quant/target.h"
#include "quant/target_panels.h"

/* Of `narrow`: M and H in float32, where they are large. */
enum { NARROW_OWN, NARROW_HESSIAN };

enum { MISMATCH, CROSS, BASE, TOTAL, OUTPUT, WEIGHTS, SHIFT, RESIDUAL, TERMS, SUMS };
static_assert((int)SUMS <= (int)(sizeof((qd_panels *)NULL)->out / sizeof(double *)), "sums have their place");

/* Objectives that are this much smaller than their terms are not told from products in float32. */
#define CANCELLED 10.0

/* How a form of rows is made. */
typedef struct measure_run {
    qd_panels panels;
    qd_products objectives; /* QD_PRODUCTS_FAST: in float32 where `narrow` is there */
} measure_run;

static void form_f32(const qd_panel *at, qd_cmatf narrow, qd_cmatf x, double *out)
{
    qd_quadratic_direct_f32(narrow, 0.0, x, qd_matf_view((float *)(void *)at->product.data, x.rows, QD_QUADRATIC_BLOCK),
                            out);
}

/* Forms of rows x; at->z is overwritten where they are in float32. */
static void describe(const qd_panel *at, qd_cmatf narrow, qd_cmatd wide, qd_cmatd x, double *out)
{
    if (narrow.rows == 0)
        qd_quadratic_direct(wide, 0.0, x, at->product, out);
    else
        form_f32(at, narrow, qd_matf_const(qd_panel_narrow(x, at->z.data)), out);
}

/* Two panels of forms with H at once, which is read once for both: w in at->y, d in at->x. */
static void describe_both(const measure_run *r, const qd_panel *at, double *out_weights, double *out_changes)
{
    qd_cmatf narrow = r->panels.narrow[NARROW_HESSIAN];
    float *memory = (float *)(void *)at->z.data;
    double forms[2 * QD_PANEL_ROWS];
    for (size_t i = 0; i < at->count; i++)
        for (size_t t = 0; t < narrow.rows; t++) {
            memory[i * narrow.rows + t] = (float)qd_matd_row(at->y, i)[t];
            memory[(at->count + i) * narrow.rows + t] = (float)qd_matd_row(at->x, i)[t];
        }
    form_f32(at, narrow, qd_cmatf_view(memory, 2 * at->count, narrow.rows), forms);
    for (size_t i = 0; i < at->count; i++) {
        out_weights[i] = forms[i];
        out_changes[i] = forms[at->count + i];
    }
}

/* s^2 ||e + D w||^2 + 2 s (w K + A) d^T + d H_damped d^T for the rows of d in at->x, whose d H d^T are `forms`. */
static void objective(const qd_panels *p, const qd_panel *at, const double *forms, double *out)
{
    double share = p->target->share;
    size_t features = p->steps->count;
    for (size_t i = 0; i < at->count; i++) {
        size_t row = at->start + i;
        const double *d = qd_matd_row(at->x, i);
        double cross = 2.0 * share * qd_panel_dot(p->target->cross + row * features, d, features);
        double mismatch = share * share * p->out[MISMATCH][row];
        double damped = forms[i] + p->steps->damping * qd_panel_dot(d, d, features);
        out[row] = mismatch + cross + damped;
        p->out[TERMS][row] = fmax(p->out[TERMS][row], fabs(mismatch) + fabs(cross) + damped);
    }
}

/* Of a row: largest |target - w| in steps. */
static double largest_shift(const qd_panels *p, size_t row, const double *shift)
{
    double largest = 0.0;
    const float *scale = qd_matf_row(p->input->grid->scale.view, row);
    for (size_t t = 0; t < p->steps->count; t++)
        largest = fmax(largest, fabs(shift[t]) / (double)scale[p->steps->group[t]]);
    return largest / qd_grid_widest(p->input->grid);
}

static void measure_codes(const measure_run *r, const qd_panel *at)
{
    const qd_panels *p = &r->panels;
    size_t features = p->steps->count;
    uint32_t rows[QD_PANEL_ROWS];
    double forms[QD_PANEL_ROWS];
    for (size_t i = 0; i < at->count; i++)
        rows[i] = (uint32_t)(at->start + i);
    qd_steps_rows(p->input, p->steps, QD_ROWS_CHANGE, p->codes, rows, at->count, at->x);
    describe(at, r->objectives == QD_PRODUCTS_FAST ? p->narrow[NARROW_HESSIAN] : (qd_cmatf){ 0 },
             qd_matd_const(p->input->factor->hessian.view), qd_matd_const(at->x), forms);
    objective(p, at, forms, p->out[TOTAL]);
    for (size_t i = 0; i < at->count; i++) {
        const double *d = qd_matd_row(at->x, i);
        p->out[WEIGHTS][at->start + i] = qd_panel_dot(d, d, features);
        p->out[CROSS][at->start + i] = qd_panel_dot(d, p->target->cross + (at->start + i) * features, features);
    }
    if (qd_panels_residual(p) == NULL)
        return;
    qd_columns_gather(qd_panel_residual(qd_panels_residual(p)->input.view, at), p->steps->column, at->y);
    for (size_t i = 0; i < at->count; i++) /* + A d^T */
        p->out[RESIDUAL][at->start + i] += qd_panel_dot(qd_matd_row(at->x, i), qd_matd_row(at->y, i), features);
}

/* Weights in at->y: w A^T leaves ||X w||^2, which has no e in it; w B^T and c enter the mismatch. */
static void measure_residual(const qd_panels *p, const qd_panel *at)
{
    const qd_residual *residual = qd_panels_residual(p);
    if (residual == NULL)
        return;
    qd_columns_scatter(qd_matd_const(at->y), p->steps->column, at->z);
    for (size_t i = 0; i < at->count; i++) {
        size_t row = at->start + i;
        const double *w = qd_matd_row(at->z, i);
        double own = qd_panel_dot(w, qd_matd_row(residual->difference.sum.view, row), at->z.cols);
        p->out[OUTPUT][row] -= 2.0 * qd_panel_dot(w, qd_matd_row(residual->input.view, row), at->z.cols);
        p->out[MISMATCH][row] += 2.0 * own + residual->square[row];
        p->out[RESIDUAL][row] = own;
    }
}

/* The target's objective: of the least squares solution d H_lambda = -s (w K + A), so its form is one of the other terms; theory.md T9 then
 * compares what it leaves with the codes' objective, in whose form nothing is taken for granted. In float32 the solution is not that good. */
static void measure_target(const measure_run *r, const qd_panel *at, double *forms)
{
    const qd_panels *p = &r->panels;
    qd_cmatd hessian = qd_matd_const(p->input->factor->hessian.view);
    size_t features = p->steps->count;
    bool solved = p->steps->path == NULL && !p->steps->narrow;
    if (!solved && r->objectives == QD_PRODUCTS_FAST && p->narrow[NARROW_HESSIAN].rows > 0) {
        describe_both(r, at, p->out[OUTPUT] + at->start, forms);
        return;
    }
    describe(at, p->narrow[NARROW_HESSIAN], hessian, qd_matd_const(at->y), p->out[OUTPUT] + at->start);
    if (!solved)
        qd_quadratic_direct(hessian, 0.0, qd_matd_const(at->x), at->product, forms);
    for (size_t i = 0; solved && i < at->count; i++) {
        const double *d = qd_matd_row(at->x, i);
        forms[i] = -p->target->share * qd_panel_dot(p->target->cross + (at->start + i) * features, d, features) -
                   p->steps->damping * qd_panel_dot(d, d, features);
    }
}

static qd_code measure_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const measure_run *r = ctx;
    const qd_panels *p = &r->panels;
    const qd_panel at = qd_panel_at(p, index, worker);
    size_t features = p->steps->count;
    double forms[QD_PANEL_ROWS];
    (void)err;
    qd_panel_load(p, &at, at.x);
    describe(&at, p->narrow[NARROW_OWN], qd_matd_const(p->input->mismatch->own.view), qd_matd_const(at.x),
             p->out[MISMATCH] + at.start);
    qd_columns_gather(qd_matd_const(at.x), p->steps->column, at.y);
    for (size_t i = 0; i < at.count; i++) {
        const double *target = p->target->rows + (at.start + i) * features;
        for (size_t t = 0; t < features; t++)
            qd_matd_row(at.x, i)[t] = qd_matd_row(at.y, i)[t] * (double)p->steps->live[t] - target[t];
        p->out[SHIFT][at.start + i] = largest_shift(p, at.start + i, qd_matd_row(at.x, i));
    }
    measure_target(r, &at, forms);
    for (size_t i = 0; i < at.count; i++) {
        p->out[TERMS][at.start + i] = 0.0;
        p->out[OUTPUT][at.start + i] +=
            2.0 * qd_panel_dot(qd_matd_row(at.y, i), p->target->cross + (at.start + i) * features, features) +
            p->out[MISMATCH][at.start + i];
    }
    measure_residual(p, &at);
    objective(p, &at, forms, p->out[BASE]);
    measure_codes(r, &at);
    return QD_OK;
}

/* ---- on held-out inputs, undamped and unshrunken, in original order: what the layer's own output is off by, without e ---- */

enum { HELD, HELD_BASE, HELD_OUTPUT, HELD_MISMATCH, HELD_SUMS };

/* w M w^T + 2 (w K) d^T + d H d^T: d in at->z, in processing order; w K in at->y. */
static void held_objective(const qd_panels *p, const qd_panel *at, double *out)
{
    const qd_moments *held = &p->input->mismatch->part[QD_PART_JUDGE];
    qd_columns_scatter(qd_matd_const(at->z), p->steps->column, at->x);
    qd_quadratic_direct(qd_matd_const(held->hessian.sum.view), 0.0, qd_matd_const(at->x), at->product, out + at->start);
    for (size_t i = 0; i < at->count; i++)
        out[at->start + i] += p->out[HELD_MISMATCH][at->start + i] +
                              2.0 * qd_panel_dot(qd_matd_row(at->y, i), qd_matd_row(at->x, i), at->x.cols);
}

static qd_code held_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const qd_panels *p = ctx;
    const qd_panel at = qd_panel_at(p, index, worker);
    const qd_moments *held = &p->input->mismatch->part[QD_PART_JUDGE];
    uint32_t rows[QD_PANEL_ROWS];
    (void)err;
    qd_panel_load(p, &at, at.x);
    qd_panel_multiply(qd_matd_const(at.x), qd_matd_const(held->cross.sum.view), at.y);
    qd_mismatch_release(p->input->mismatch);
    qd_quadratic_direct(qd_matd_const(held->own.sum.view), 0.0, qd_matd_const(at.x), at.product,
                        p->out[HELD_MISMATCH] + at.start);
    qd_mismatch_release(p->input->mismatch);
    qd_quadratic_direct(qd_matd_const(held->hessian.sum.view), 0.0, qd_matd_const(at.x), at.product,
                        p->out[HELD_OUTPUT] + at.start);
    for (size_t i = 0; i < at.count; i++) {
        rows[i] = (uint32_t)(at.start + i);
        p->out[HELD_OUTPUT][rows[i]] +=
            2.0 * qd_panel_dot(qd_matd_row(at.y, i), qd_matd_row(at.x, i), at.x.cols) + p->out[HELD_MISMATCH][rows[i]];
    }
    qd_steps_rows(p->input, p->steps, QD_ROWS_CHANGE, p->codes, rows, at.count, at.z);
    held_objective(p, &at, p->out[HELD]);
    qd_steps_rows(p->input, p->steps, QD_ROWS_WEIGHT, NULL, rows, at.count, at.z);
    for (size_t i = 0; i < at.count; i++)
        for (size_t t = 0; t < at.z.cols; t++)
            qd_matd_row(at.z, i)[t] -= p->target->rows[(size_t)rows[i] * at.z.cols + t];
    held_objective(p, &at, p->out[HELD_BASE]);
    qd_mismatch_release(p->input->mismatch);
    return QD_OK;
}

static qd_code measure_held(const qd_layer_input *input, const qd_steps *steps, const qd_weight_target *target,
                            const uint8_t *codes, qd_measure *out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) void *memory = NULL;
    size_t rows = input->w.rows;
    if (input->holdout == NULL)
        return QD_OK;
    qd_code code = qd_alloc(HELD_SUMS * rows, sizeof(double), &memory, err);
    if (code != QD_OK)
        return code;
    qd_panels p = { .input = input, .steps = steps, .target = target, .codes = codes };
    for (size_t i = 0; i < HELD_SUMS; i++)
        p.out[i] = (double *)memory + i * rows;
    code = qd_panels_run(&p, held_task, err);
    out->heldout_sq = qd_panels_sum(p.out[HELD], rows);
    out->heldout_base_sq = fmax(0.0, qd_panels_sum(p.out[HELD_BASE], rows));
    out->heldout_output_sq = qd_panels_sum(p.out[HELD_OUTPUT], rows);
    return code;
}

/* Sums of the terms of an objective that is much smaller say nothing of it in float32: once more then. */
static qd_code measure_rows(measure_run *r, qd_error *err)
{
    qd_panels *p = &r->panels;
    size_t rows = p->input->w.rows;
    qd_code code = qd_panels_run(p, measure_task, err);
    if (code != QD_OK || r->objectives == QD_PRODUCTS_FLOAT64 ||
        qd_panels_sum(p->out[TERMS], rows) <= CANCELLED * qd_panels_sum(p->out[TOTAL], rows))
        return code;
    r->objectives = QD_PRODUCTS_FLOAT64;
    return qd_panels_run(p, measure_task, err);
}

qd_code qd_weight_target_measure(const qd_layer_input *input, const qd_steps *steps, const qd_weight_target *target,
                                 const uint8_t *codes, qd_measure *out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) void *memory = NULL;
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf own = { 0 }, hessian = { 0 };
    size_t rows = input->w.rows;
    qd_code code = qd_alloc(SUMS * rows, sizeof(double), &memory, err);
    if (code == QD_OK && qd_form_in_float32(input, QD_PRODUCTS_FAST)) {
        code = qd_form_narrow_away(&input->mismatch->own, input->pool, &own, err);
        if (code == QD_OK)
            code = qd_form_narrow_away(&input->factor->hessian, input->pool, &hessian, err);
    }
    if (code != QD_OK)
        return code;
    measure_run r = { .panels = { .input = input, .steps = steps, .target = target, .codes = codes },
                      .objectives = steps->narrow && hessian.view.rows > 0 ? QD_PRODUCTS_FAST : QD_PRODUCTS_FLOAT64 };
    qd_panels *p = &r.panels;
    p->narrow[NARROW_OWN] = qd_matf_const(own.view);
    p->narrow[NARROW_HESSIAN] = qd_matf_const(hessian.view);
    for (size_t i = 0; i < SUMS; i++)
        p->out[i] = (double *)memory + i * rows;
    qd_mismatch_release(input->mismatch);
    code = measure_rows(&r, err);
    qd_matf_buf_fini(&own);
    qd_matf_buf_fini(&hessian);
    qd_mismatch_release(input->mismatch);
    qd_factor_release(input->factor);
    if (code != QD_OK)
        return code;
    *out = (qd_measure){ .share = target->share,
                         .mismatch_sq = qd_panels_sum(p->out[MISMATCH], rows),
                         .cross_sq = qd_panels_sum(p->out[CROSS], rows),
                         .base_sq = fmax(0.0, qd_panels_sum(p->out[BASE], rows)),
                         .total_sq = qd_panels_sum(p->out[TOTAL], rows),
                         .output_sq = fmax(0.0, qd_panels_sum(p->out[OUTPUT], rows)),
                         .weight_error_sq = qd_panels_sum(p->out[WEIGHTS], rows),
                         .residual_cross = qd_panels_sum(p->out[RESIDUAL], rows) };
    if (qd_panels_residual(p) != NULL)
        out->residual_sq = qd_panels_sum(qd_panels_residual(p)->square, rows);
    for (size_t i = 0; i < rows; i++)
        out->shift_max = fmax(out->shift_max, p->out[SHIFT][i]);
    return measure_held(input, steps, target, codes, out, err);
}
