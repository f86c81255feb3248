/* target.c: see target.h. */
#include "quant/target.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "linalg/gemm.h"
#include "quant/quadratic.h"

enum { PANEL = 128 };

void qd_weight_target_fini(qd_weight_target *target)
{
    free(target->rows);
    free(target->cross);
    *target = (qd_weight_target){ 0 };
}

/* Panels of rows over the pool, each worker with three panels of I columns and one of products. */
typedef struct panels {
    const qd_layer_input *input;
    const qd_steps *steps;
    const qd_weight_target *target;
    qd_solver solver;
    const qd_cmatd *path;  /* QD_SOLVE_PATH: triu(H) */
    const qd_cmatd *cross; /* QD_SOLVE_PATH: triu(K), processing order */
    const uint8_t *codes;
    qd_cmatf narrow[3]; /* matrices in float32 where products are: by NARROW_*; else empty */
    double *scratch;
    double *out[8]; /* O each */
} panels;

typedef struct panel {
    size_t start, count;
    qd_matd x, y, z, product;
} panel;

static size_t scratch_size(size_t features)
{
    return PANEL * (3 * features + QD_QUADRATIC_BLOCK);
}

static panel panel_at(const panels *p, size_t index, size_t worker)
{
    size_t features = p->input->w.cols, start = index * PANEL, count = qd_min_size(PANEL, p->input->w.rows - start);
    double *memory = p->scratch + worker * scratch_size(features);
    return (panel){ start,
                    count,
                    { count, features, features, memory },
                    { count, features, features, memory + PANEL * features },
                    { count, features, features, memory + 2 * PANEL * features },
                    { count, QD_QUADRATIC_BLOCK, QD_QUADRATIC_BLOCK, memory + 3 * PANEL * features } };
}

static qd_code over_panels(panels *p, qd_code (*task)(void *, size_t, size_t, qd_error *), qd_error *err)
{
    QD_AUTO(qd_free_pointer) void *scratch = NULL;
    qd_code code =
        qd_alloc(qd_pool_threads(p->input->pool) * scratch_size(p->input->w.cols), sizeof(double), &scratch, err);
    if (code != QD_OK)
        return code;
    p->scratch = scratch;
    return qd_pool_for(p->input->pool, (p->input->w.rows - 1) / PANEL + 1, task, p, err);
}

/* Rows of w, dead columns as they are: X sees them. */
static void load_rows(const panels *p, const panel *at, qd_matd out)
{
    for (size_t i = 0; i < at->count; i++)
        for (size_t j = 0; j < out.cols; j++)
            qd_matd_row(out, i)[j] = (double)qd_cmatf_row(p->input->w, at->start + i)[j];
}

static void gather(qd_cmatd from, const uint32_t *column, qd_matd to)
{
    for (size_t i = 0; i < from.rows; i++)
        for (size_t t = 0; t < from.cols; t++)
            qd_matd_row(to, i)[t] = qd_cmatd_row(from, i)[column[t]];
}

static void scatter(qd_cmatd from, const uint32_t *column, qd_matd to)
{
    for (size_t i = 0; i < from.rows; i++)
        for (size_t t = 0; t < from.cols; t++)
            qd_matd_row(to, i)[column[t]] = qd_cmatd_row(from, i)[t];
}

/* Which of them: what the target is solved from (the path's triu(K) too), and what is only described. */
enum { NARROW_CROSS, NARROW_FACTOR, NARROW_PATH, NARROW_OWN = 0, NARROW_HESSIAN };

static qd_matf narrow_rows(qd_cmatd x, double *memory)
{
    qd_matf to = qd_matf_view((float *)(void *)memory, x.rows, x.cols);
    for (size_t i = 0; i < x.rows; i++)
        for (size_t j = 0; j < x.cols; j++)
            qd_matf_row(to, i)[j] = (float)qd_cmatd_row(x, i)[j];
    return to;
}

static void widen_rows(qd_cmatf x, qd_matd to)
{
    for (size_t i = 0; i < x.rows; i++)
        for (size_t j = 0; j < x.cols; j++)
            qd_matd_row(to, i)[j] = (double)qd_cmatf_row(x, i)[j];
}

/* Forms of rows x, which only describe: in float32 where there is such a matrix; at->z is overwritten then. */
static void describe(const panel *at, qd_cmatf narrow, qd_cmatd wide, qd_cmatd x, double *out)
{
    if (narrow.rows == 0)
        qd_quadratic_direct(wide, 0.0, x, at->product, out);
    else
        qd_quadratic_direct_f32(narrow, 0.0, qd_matf_const(narrow_rows(x, at->z.data)),
                                qd_matf_view((float *)(void *)at->product.data, at->count, QD_QUADRATIC_BLOCK), out);
}

static void multiply(qd_cmatd x, qd_cmatd matrix, qd_matd out)
{
    qd_gemm_f64(QD_PLAIN, QD_PLAIN, 1.0, x, matrix, 0.0, out);
}

/* x = x (C C^T)^-1 */
static void solve(const qd_factor *factor, qd_matd x)
{
    qd_trsm_f64(QD_TRANSPOSED, qd_matd_const(factor->c.view), x);
    qd_trsm_f64(QD_PLAIN, qd_matd_const(factor->c.view), x);
}

/* out = x matrix, in float32 where it is narrow; at->z is overwritten then. */
static void multiply_by(const panel *at, qd_cmatf narrow, qd_cmatd wide, qd_cmatd x, qd_matd out)
{
    size_t features = x.cols;
    if (narrow.rows == 0) {
        multiply(x, wide, out);
        return;
    }
    qd_matf from = narrow_rows(x, at->z.data);
    qd_matf to = qd_matf_view((float *)(void *)at->z.data + PANEL * features, at->count, features);
    qd_gemm_f32(QD_PLAIN, QD_PLAIN, 1.0f, qd_matf_const(from), narrow, 0.0f, to);
    widen_rows(qd_matf_const(to), out);
}

/* The panel's target = target (C C^T)^-1, or target triu(H)^-1 on the path. */
static void solve_panel(const panels *p, const panel *at, qd_matd target)
{
    qd_cmatf narrow = p->narrow[NARROW_FACTOR];
    if (narrow.rows == 0 && p->solver == QD_SOLVE_PATH)
        qd_trsm_f64(QD_PLAIN, *p->path, target);
    else if (narrow.rows == 0)
        solve(p->input->factor, target);
    if (narrow.rows == 0)
        return;
    qd_matf x = narrow_rows(qd_matd_const(target), at->z.data);
    if (p->solver == QD_SOLVE_LEAST_SQUARES)
        qd_trsm_f32(QD_TRANSPOSED, narrow, x);
    qd_trsm_f32(QD_PLAIN, narrow, x);
    widen_rows(qd_matf_const(x), target);
}

static double dot(const double *x, const double *y, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++)
        sum += x[i] * y[i];
    return sum;
}

/* Rows of O x I moments of the residual that belong to a panel. */
static qd_cmatd residual_rows(qd_matd all, const panel *at)
{
    return qd_matd_const(qd_matd_block(all, at->start, 0, at->count, all.cols));
}

static const qd_residual *residual_of(const panels *p)
{
    const qd_residual *residual = &p->input->mismatch->residual;
    return residual->outputs == 0 ? NULL : residual;
}

static void add_rows(qd_cmatd from, qd_matd to)
{
    for (size_t i = 0; i < from.rows; i++)
        for (size_t j = 0; j < from.cols; j++)
            qd_matd_row(to, i)[j] += qd_cmatd_row(from, i)[j];
}

/* ---- target ---- */

static qd_matd rows_of(double *matrix, const panel *at, size_t features)
{
    return (qd_matd){ at->count, features, features, matrix + at->start * features };
}

static qd_code target_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const panels *p = ctx;
    const panel at = panel_at(p, index, worker);
    size_t features = p->steps->count;
    (void)err;
    qd_matd cross = rows_of(p->target->cross, &at, features), target = rows_of(p->target->rows, &at, features);
    load_rows(p, &at, at.x);
    multiply_by(&at, p->narrow[NARROW_CROSS], qd_matd_const(p->input->mismatch->cross.view), qd_matd_const(at.x), at.y);
    if (residual_of(p) != NULL)
        add_rows(residual_rows(residual_of(p)->input.view, &at), at.y);
    gather(qd_matd_const(at.y), p->steps->column, cross);
    if (p->solver == QD_SOLVE_PATH) {
        gather(qd_matd_const(at.x), p->steps->column, at.y);
        multiply_by(&at, p->narrow[NARROW_PATH], *p->cross, qd_matd_const(at.y), target);
        if (residual_of(p) != NULL) { /* the path's partial output starts at e */
            gather(residual_rows(residual_of(p)->input.view, &at), p->steps->column, at.z);
            add_rows(qd_matd_const(at.z), target);
        }
    } else {
        for (size_t i = 0; i < at.count * features; i++)
            target.data[i] = cross.data[i];
    }
    solve_panel(p, &at, target);
    for (size_t i = 0; i < at.count; i++)
        for (size_t t = 0; t < features; t++) {
            double *value = &qd_matd_row(target, i)[t];
            double w = (double)(qd_cmatf_row(p->input->w, at.start + i)[p->steps->column[t]] * p->steps->live[t]);
            *value = w + p->target->share * *value;
        }
    return QD_OK;
}

/* triu(K) in processing order. */
static qd_code order_cross(const qd_layer_input *input, const qd_steps *steps, qd_matd_buf *out, qd_error *err)
{
    qd_code code = qd_matd_buf_init(out, steps->count, steps->count, err);
    for (size_t k = 0; code == QD_OK && k < steps->count; k++)
        for (size_t t = k; t < steps->count; t++)
            qd_matd_row(out->view, k)[t] = qd_matd_row(input->mismatch->cross.view, steps->column[k])[steps->column[t]];
    return code;
}

static qd_code make_rows(const qd_layer_input *input, const qd_steps *steps, qd_solver solver, const qd_cmatd *path,
                         qd_weight_target *target, qd_error *err)
{
    QD_AUTO(qd_matd_buf_fini) qd_matd_buf ordered = { 0 };
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf cross32 = { 0 }, factor32 = { 0 }, path32 = { 0 };
    qd_code code = qd_alloc(input->w.rows * steps->count, sizeof(double), (void **)&target->rows, err);
    if (code == QD_OK)
        code = qd_alloc(input->w.rows * steps->count, sizeof(double), (void **)&target->cross, err);
    if (code == QD_OK && solver == QD_SOLVE_PATH)
        code = order_cross(input, steps, &ordered, err);
    if (code == QD_OK && steps->narrow) {
        code = qd_form_narrow(qd_matd_const(input->mismatch->cross.view), input->pool, &cross32, err);
        if (code == QD_OK)
            code = qd_form_narrow(path != NULL ? *path : qd_matd_const(input->factor->c.view), input->pool, &factor32,
                                  err);
        if (code == QD_OK && solver == QD_SOLVE_PATH)
            code = qd_form_narrow(qd_matd_const(ordered.view), input->pool, &path32, err);
    }
    if (code != QD_OK)
        return code;
    qd_cmatd cross = qd_matd_const(ordered.view);
    panels p = { .input = input, .steps = steps, .target = target, .solver = solver, .path = path, .cross = &cross };
    p.narrow[NARROW_CROSS] = qd_matf_const(cross32.view);
    p.narrow[NARROW_FACTOR] = qd_matf_const(factor32.view);
    p.narrow[NARROW_PATH] = qd_matf_const(path32.view);
    code = over_panels(&p, target_task, err);
    for (size_t i = 0; code == QD_OK && i < input->w.rows * steps->count; i++)
        if (!isfinite(target->rows[i]))
            return qd_fail(err, QD_ENUMERIC, "target: value (%zu, step %zu) is not finite", i / steps->count,
                           i % steps->count);
    return code;
}

qd_code qd_weight_target_init(const qd_layer_input *input, const qd_steps *steps, qd_solver solver,
                              const qd_cmatd *path, qd_weight_target *out, qd_error *err)
{
    QD_AUTO(qd_weight_target_fini) qd_weight_target target = { .share = input->use.share };
    qd_code code = QD_OK;
    if (input->use.shrink == QD_SHRINK_AUTO)
        code = qd_weight_target_share(input, &target.share, err);
    if (code == QD_OK)
        code = make_rows(input, steps, solver, path, &target, err);
    if (code != QD_OK)
        return code;
    *out = target;
    target = (qd_weight_target){ 0 };
    return QD_OK;
}

/* ---- what is left ---- */

enum { MISMATCH, CROSS, BASE, TOTAL, OUTPUT, WEIGHTS, SHIFT, RESIDUAL, SUMS };

/* s^2 ||e + D w||^2 + 2 s (w K + A) d^T + d H_damped d^T for the rows of d in at->x. */
static void objective(const panels *p, const panel *at, double *out)
{
    const qd_factor *factor = p->input->factor;
    double share = p->target->share, forms[PANEL];
    size_t features = p->steps->count;
    qd_quadratic_direct(qd_matd_const(factor->hessian.view), p->steps->damping, qd_matd_const(at->x), at->product,
                        forms);
    for (size_t i = 0; i < at->count; i++) {
        size_t row = at->start + i;
        double cross = dot(p->target->cross + row * features, qd_matd_row(at->x, i), features);
        out[row] = share * share * p->out[MISMATCH][row] + 2.0 * share * cross + forms[i];
    }
}

/* Of a row: largest |target - w| in steps. */
static double largest_shift(const panels *p, size_t row, const double *shift)
{
    double largest = 0.0;
    const float *scale = qd_matf_row(p->input->grid->scale.view, row);
    for (size_t t = 0; t < p->steps->count; t++)
        largest = fmax(largest, fabs(shift[t]) / (double)scale[p->steps->group[t]]);
    return largest / qd_grid_widest(p->input->grid);
}

static void measure_codes(const panels *p, const panel *at)
{
    size_t features = p->steps->count;
    uint32_t rows[PANEL];
    for (size_t i = 0; i < at->count; i++)
        rows[i] = (uint32_t)(at->start + i);
    qd_steps_rows(p->input, p->steps, QD_ROWS_CHANGE, p->codes, rows, at->count, at->x);
    objective(p, at, p->out[TOTAL]);
    for (size_t i = 0; i < at->count; i++) {
        const double *d = qd_matd_row(at->x, i);
        p->out[WEIGHTS][at->start + i] = dot(d, d, features);
        p->out[CROSS][at->start + i] = dot(d, p->target->cross + (at->start + i) * features, features);
    }
    if (residual_of(p) == NULL)
        return;
    gather(residual_rows(residual_of(p)->input.view, at), p->steps->column, at->y);
    for (size_t i = 0; i < at->count; i++) /* + A d^T */
        p->out[RESIDUAL][at->start + i] += dot(qd_matd_row(at->x, i), qd_matd_row(at->y, i), features);
}

/* Weights in at->x, in original order: w A^T leaves ||X w||^2, which has no e in it; w B^T and c enter the mismatch. */
static void measure_residual(const panels *p, const panel *at)
{
    const qd_residual *residual = residual_of(p);
    if (residual == NULL)
        return;
    for (size_t i = 0; i < at->count; i++) {
        size_t row = at->start + i;
        const double *w = qd_matd_row(at->x, i);
        double own = dot(w, qd_matd_row(residual->difference.sum.view, row), at->x.cols);
        p->out[OUTPUT][row] -= 2.0 * dot(w, qd_matd_row(residual->input.view, row), at->x.cols);
        p->out[MISMATCH][row] += 2.0 * own + residual->square[row];
        p->out[RESIDUAL][row] = own;
    }
}

static qd_code measure_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const panels *p = ctx;
    const panel at = panel_at(p, index, worker);
    size_t features = p->steps->count;
    (void)err;
    load_rows(p, &at, at.x);
    describe(&at, p->narrow[NARROW_OWN], qd_matd_const(p->input->mismatch->own.view), qd_matd_const(at.x),
             p->out[MISMATCH] + at.start);
    gather(qd_matd_const(at.x), p->steps->column, at.y);
    describe(&at, p->narrow[NARROW_HESSIAN], qd_matd_const(p->input->factor->hessian.view), qd_matd_const(at.y),
             p->out[OUTPUT] + at.start);
    for (size_t i = 0; i < at.count; i++)
        p->out[OUTPUT][at.start + i] +=
            2.0 * dot(qd_matd_row(at.y, i), p->target->cross + (at.start + i) * features, features) +
            p->out[MISMATCH][at.start + i];
    measure_residual(p, &at);
    for (size_t i = 0; i < at.count; i++) {
        size_t row = at.start + i;
        const double *target = p->target->rows + row * features;
        for (size_t t = 0; t < features; t++)
            qd_matd_row(at.x, i)[t] = qd_matd_row(at.y, i)[t] * (double)p->steps->live[t] - target[t];
        p->out[SHIFT][row] = largest_shift(p, row, qd_matd_row(at.x, i));
    }
    objective(p, &at, p->out[BASE]);
    measure_codes(p, &at);
    return QD_OK;
}

static double sum(const double *values, size_t count)
{
    double total = 0.0;
    for (size_t i = 0; i < count; i++)
        total += values[i];
    return total;
}

/* ---- on held-out inputs, undamped and unshrunken, in original order: what the layer's own output is off by, without e ---- */

enum { HELD, HELD_BASE, HELD_OUTPUT, HELD_MISMATCH, HELD_SUMS };

/* w M w^T + 2 (w K) d^T + d H d^T: d in at->z, in processing order; w K in at->y. */
static void held_objective(const panels *p, const panel *at, double *out)
{
    const qd_moments *held = &p->input->mismatch->part[QD_PART_JUDGE];
    scatter(qd_matd_const(at->z), p->steps->column, at->x);
    qd_quadratic_direct(qd_matd_const(held->hessian.sum.view), 0.0, qd_matd_const(at->x), at->product, out + at->start);
    for (size_t i = 0; i < at->count; i++)
        out[at->start + i] +=
            p->out[HELD_MISMATCH][at->start + i] + 2.0 * dot(qd_matd_row(at->y, i), qd_matd_row(at->x, i), at->x.cols);
}

static qd_code held_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const panels *p = ctx;
    const panel at = panel_at(p, index, worker);
    const qd_moments *held = &p->input->mismatch->part[QD_PART_JUDGE];
    uint32_t rows[PANEL];
    (void)err;
    load_rows(p, &at, at.x);
    multiply(qd_matd_const(at.x), qd_matd_const(held->cross.sum.view), at.y);
    qd_quadratic_direct(qd_matd_const(held->own.sum.view), 0.0, qd_matd_const(at.x), at.product,
                        p->out[HELD_MISMATCH] + at.start);
    qd_quadratic_direct(qd_matd_const(held->hessian.sum.view), 0.0, qd_matd_const(at.x), at.product,
                        p->out[HELD_OUTPUT] + at.start);
    for (size_t i = 0; i < at.count; i++) {
        rows[i] = (uint32_t)(at.start + i);
        p->out[HELD_OUTPUT][rows[i]] +=
            2.0 * dot(qd_matd_row(at.y, i), qd_matd_row(at.x, i), at.x.cols) + p->out[HELD_MISMATCH][rows[i]];
    }
    qd_steps_rows(p->input, p->steps, QD_ROWS_CHANGE, p->codes, rows, at.count, at.z);
    held_objective(p, &at, p->out[HELD]);
    qd_steps_rows(p->input, p->steps, QD_ROWS_WEIGHT, NULL, rows, at.count, at.z);
    for (size_t i = 0; i < at.count; i++)
        for (size_t t = 0; t < at.z.cols; t++)
            qd_matd_row(at.z, i)[t] -= p->target->rows[(size_t)rows[i] * at.z.cols + t];
    held_objective(p, &at, p->out[HELD_BASE]);
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
    panels p = { .input = input, .steps = steps, .target = target, .codes = codes };
    for (size_t i = 0; i < HELD_SUMS; i++)
        p.out[i] = (double *)memory + i * rows;
    code = over_panels(&p, held_task, err);
    out->heldout_sq = sum(p.out[HELD], rows);
    out->heldout_base_sq = fmax(0.0, sum(p.out[HELD_BASE], rows));
    out->heldout_output_sq = sum(p.out[HELD_OUTPUT], rows);
    return code;
}

qd_code qd_weight_target_measure(const qd_layer_input *input, const qd_steps *steps, const qd_weight_target *target,
                                 const uint8_t *codes, qd_measure *out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) void *memory = NULL;
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf own = { 0 }, hessian = { 0 };
    size_t rows = input->w.rows;
    qd_code code = qd_alloc(SUMS * rows, sizeof(double), &memory, err);
    if (code == QD_OK && qd_form_in_float32(input, QD_PRODUCTS_FAST)) {
        code = qd_form_narrow(qd_matd_const(input->mismatch->own.view), input->pool, &own, err);
        if (code == QD_OK)
            code = qd_form_narrow(qd_matd_const(input->factor->hessian.view), input->pool, &hessian, err);
    }
    if (code != QD_OK)
        return code;
    panels p = { .input = input, .steps = steps, .target = target, .codes = codes };
    p.narrow[NARROW_OWN] = qd_matf_const(own.view);
    p.narrow[NARROW_HESSIAN] = qd_matf_const(hessian.view);
    for (size_t i = 0; i < SUMS; i++)
        p.out[i] = (double *)memory + i * rows;
    code = over_panels(&p, measure_task, err);
    if (code != QD_OK)
        return code;
    *out = (qd_measure){ .share = target->share,
                         .mismatch_sq = sum(p.out[MISMATCH], rows),
                         .cross_sq = sum(p.out[CROSS], rows),
                         .base_sq = fmax(0.0, sum(p.out[BASE], rows)),
                         .total_sq = sum(p.out[TOTAL], rows),
                         .output_sq = fmax(0.0, sum(p.out[OUTPUT], rows)),
                         .weight_error_sq = sum(p.out[WEIGHTS], rows),
                         .residual_cross = sum(p.out[RESIDUAL], rows) };
    if (residual_of(&p) != NULL)
        out->residual_sq = sum(residual_of(&p)->square, rows);
    for (size_t i = 0; i < rows; i++)
        out->shift_max = fmax(out->shift_max, p.out[SHIFT][i]);
    return measure_held(input, steps, target, codes, out, err);
}

/* ---- share ---- */

/* algorithms.md §13.2: the correction fitted on one part, d = (w K + A)_A (H_A + lambda)^-1, against what the other part asks for. */
static qd_code share_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const panels *p = ctx;
    const panel at = panel_at(p, index, worker);
    const qd_mismatch *mismatch = p->input->mismatch;
    const qd_factor *fit = mismatch->fit;
    (void)err;
    load_rows(p, &at, at.x);
    multiply(qd_matd_const(at.x), qd_matd_const(mismatch->part[QD_PART_FIT].cross.sum.view), at.y);
    if (residual_of(p) != NULL)
        add_rows(residual_rows(mismatch->part[QD_PART_FIT].residual.sum.view, &at), at.y);
    gather(qd_matd_const(at.y), fit->permutation, at.x);
    solve(fit, at.x);
    scatter(qd_matd_const(at.x), fit->permutation, at.y);
    qd_quadratic_direct(qd_matd_const(mismatch->part[QD_PART_JUDGE].hessian.sum.view), 0.0, qd_matd_const(at.y),
                        at.product, p->out[1] + at.start);
    load_rows(p, &at, at.x);
    for (size_t j = 0; j < at.x.cols; j += QD_QUADRATIC_BLOCK) {
        size_t cols = qd_min_size(QD_QUADRATIC_BLOCK, at.x.cols - j);
        qd_matd wanted = qd_matd_block(at.product, 0, 0, at.count, cols);
        multiply(qd_matd_const(at.x),
                 qd_matd_const(qd_matd_block(mismatch->part[QD_PART_JUDGE].cross.sum.view, 0, j, at.x.cols, cols)),
                 wanted);
        if (residual_of(p) != NULL)
            add_rows(qd_matd_const(
                         qd_matd_block(mismatch->part[QD_PART_JUDGE].residual.sum.view, at.start, j, at.count, cols)),
                     wanted);
        for (size_t i = 0; i < at.count; i++)
            p->out[0][at.start + i] += dot(qd_matd_row(wanted, i), qd_matd_row(at.y, i) + j, cols);
    }
    return QD_OK;
}

qd_code qd_weight_target_share(const qd_layer_input *input, double *out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) void *memory = NULL;
    size_t rows = input->w.rows;
    qd_code code = qd_alloc(2 * rows, sizeof(double), &memory, err);
    if (code != QD_OK)
        return code;
    panels p = { .input = input, .out = { memory, (double *)memory + rows } };
    code = over_panels(&p, share_task, err);
    if (code != QD_OK)
        return code;
    double wanted = sum(p.out[0], rows), size = sum(p.out[1], rows);
    *out = size > 0.0 ? fmin(1.0, fmax(0.0, wanted / size)) : 1.0; /* no correction: nothing to shrink */
    return QD_OK;
}
