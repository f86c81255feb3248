/* target.c: see target.h: the target, and how much of the correction is believed. target_measure.c has what is left. */
#include "quant/target.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "linalg/gemm.h"
#include "quant/quadratic.h"
#include "quant/target_panels.h"

void qd_weight_target_fini(qd_weight_target *target)
{
    free(target->rows);
    free(target->cross);
    *target = (qd_weight_target){ 0 };
}

/* Of `narrow`: what the target is solved from, and the path's triu(K). */
enum { NARROW_CROSS, NARROW_FACTOR, NARROW_PATH };

static void widen_rows(qd_cmatf x, qd_matd to)
{
    for (size_t i = 0; i < x.rows; i++)
        for (size_t j = 0; j < x.cols; j++)
            qd_matd_row(to, i)[j] = (double)qd_cmatf_row(x, i)[j];
}

/* x = x (C C^T)^-1 */
static void qd_panel_solve(const qd_factor *factor, qd_matd x)
{
    qd_trsm_f64(QD_TRANSPOSED, qd_matd_const(factor->c.view), x);
    qd_trsm_f64(QD_PLAIN, qd_matd_const(factor->c.view), x);
}

/* out = x matrix, in float32 where it is narrow; at->z is overwritten then. */
static void multiply_by(const qd_panel *at, qd_cmatf narrow, qd_cmatd wide, qd_cmatd x, qd_matd out)
{
    size_t features = x.cols;
    if (narrow.rows == 0) {
        qd_panel_multiply(x, wide, out);
        return;
    }
    qd_matf from = qd_panel_narrow(x, at->z.data);
    qd_matf to = qd_matf_view((float *)(void *)at->z.data + QD_PANEL_ROWS * features, at->count, features);
    qd_gemm_f32(QD_PLAIN, QD_PLAIN, 1.0f, qd_matf_const(from), narrow, 0.0f, to);
    widen_rows(qd_matf_const(to), out);
}

/* The panel's target = target (C C^T)^-1, or target triu(H)^-1 on the path. */
static void solve_panel(const qd_panels *p, const qd_panel *at, qd_matd target)
{
    qd_cmatf narrow = p->narrow[NARROW_FACTOR];
    if (narrow.rows == 0 && p->solver == QD_SOLVE_PATH)
        qd_trsm_f64(QD_PLAIN, *p->path, target);
    else if (narrow.rows == 0)
        qd_panel_solve(p->input->factor, target);
    if (narrow.rows == 0)
        return;
    qd_matf x = qd_panel_narrow(qd_matd_const(target), at->z.data);
    if (p->solver == QD_SOLVE_LEAST_SQUARES)
        qd_trsm_f32(QD_TRANSPOSED, narrow, x);
    qd_trsm_f32(QD_PLAIN, narrow, x);
    widen_rows(qd_matf_const(x), target);
}

static qd_matd rows_of(double *matrix, const qd_panel *at, size_t features)
{
    return (qd_matd){ at->count, features, features, matrix + at->start * features };
}

static qd_code target_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const qd_panels *p = ctx;
    const qd_panel at = qd_panel_at(p, index, worker);
    size_t features = p->steps->count;
    (void)err;
    qd_matd cross = rows_of(p->target->cross, &at, features), target = rows_of(p->target->rows, &at, features);
    qd_panel_load(p, &at, at.x);
    multiply_by(&at, p->narrow[NARROW_CROSS], qd_matd_const(p->input->mismatch->cross.view), qd_matd_const(at.x), at.y);
    if (qd_panels_residual(p) != NULL)
        qd_panel_add(qd_panel_residual(qd_panels_residual(p)->input.view, &at), at.y);
    qd_columns_gather(qd_matd_const(at.y), p->steps->column, cross);
    if (p->solver == QD_SOLVE_PATH) {
        qd_columns_gather(qd_matd_const(at.x), p->steps->column, at.y);
        multiply_by(&at, p->narrow[NARROW_PATH], *p->cross, qd_matd_const(at.y), target);
        if (qd_panels_residual(p) != NULL) { /* the path's partial output starts at e */
            qd_columns_gather(qd_panel_residual(qd_panels_residual(p)->input.view, &at), p->steps->column, at.z);
            qd_panel_add(qd_matd_const(at.z), target);
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
        code = qd_form_narrow_away(&input->mismatch->cross, input->pool, &cross32, err);
        if (code == QD_OK)
            code = path != NULL ? qd_form_narrow(*path, input->pool, &factor32, err)
                                : qd_form_narrow_away(&input->factor->c, input->pool, &factor32, err);
        if (code == QD_OK && solver == QD_SOLVE_PATH)
            code = qd_form_narrow_away(&ordered, input->pool, &path32, err);
    }
    qd_mismatch_release(input->mismatch);
    qd_factor_release(input->factor);
    if (code != QD_OK)
        return code;
    qd_cmatd cross = qd_matd_const(ordered.view);
    qd_panels p = { .input = input, .steps = steps, .target = target, .solver = solver, .path = path, .cross = &cross };
    p.narrow[NARROW_CROSS] = qd_matf_const(cross32.view);
    p.narrow[NARROW_FACTOR] = qd_matf_const(factor32.view);
    p.narrow[NARROW_PATH] = qd_matf_const(path32.view);
    code = qd_panels_run(&p, target_task, err);
    qd_mismatch_release(input->mismatch);
    qd_factor_release(input->factor);
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

/* ---- share ---- */

/* algorithms.md §13.2: the correction fitted on one part, d = (w K + A)_A (H_A + lambda)^-1, against what the other part asks for. */
static qd_code share_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const qd_panels *p = ctx;
    const qd_panel at = qd_panel_at(p, index, worker);
    const qd_mismatch *mismatch = p->input->mismatch;
    const qd_factor *fit = mismatch->fit;
    (void)err;
    qd_panel_load(p, &at, at.x);
    qd_panel_multiply(qd_matd_const(at.x), qd_matd_const(mismatch->part[QD_PART_FIT].cross.sum.view), at.y);
    if (qd_panels_residual(p) != NULL)
        qd_panel_add(qd_panel_residual(mismatch->part[QD_PART_FIT].residual.sum.view, &at), at.y);
    qd_mismatch_release(mismatch);
    qd_columns_gather(qd_matd_const(at.y), fit->permutation, at.x);
    qd_panel_solve(fit, at.x);
    qd_mismatch_release(mismatch);
    qd_columns_scatter(qd_matd_const(at.x), fit->permutation, at.y);
    qd_quadratic_direct(qd_matd_const(mismatch->part[QD_PART_JUDGE].hessian.sum.view), 0.0, qd_matd_const(at.y),
                        at.product, p->out[1] + at.start);
    qd_mismatch_release(mismatch);
    qd_panel_load(p, &at, at.x);
    for (size_t j = 0; j < at.x.cols; j += QD_QUADRATIC_BLOCK) {
        size_t cols = qd_min_size(QD_QUADRATIC_BLOCK, at.x.cols - j);
        qd_matd wanted = qd_matd_block(at.product, 0, 0, at.count, cols);
        qd_panel_multiply(
            qd_matd_const(at.x),
            qd_matd_const(qd_matd_block(mismatch->part[QD_PART_JUDGE].cross.sum.view, 0, j, at.x.cols, cols)), wanted);
        if (qd_panels_residual(p) != NULL)
            qd_panel_add(qd_matd_const(qd_matd_block(mismatch->part[QD_PART_JUDGE].residual.sum.view, at.start, j,
                                                     at.count, cols)),
                         wanted);
        for (size_t i = 0; i < at.count; i++)
            p->out[0][at.start + i] += qd_panel_dot(qd_matd_row(wanted, i), qd_matd_row(at.y, i) + j, cols);
    }
    qd_mismatch_release(mismatch);
    return QD_OK;
}

qd_code qd_weight_target_share(const qd_layer_input *input, double *out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) void *memory = NULL;
    size_t rows = input->w.rows;
    qd_code code = qd_alloc(2 * rows, sizeof(double), &memory, err);
    if (code != QD_OK)
        return code;
    qd_panels p = { .input = input, .out = { memory, (double *)memory + rows } };
    code = qd_panels_run(&p, share_task, err);
    if (code != QD_OK)
        return code;
    double wanted = qd_panels_sum(p.out[0], rows), size = qd_panels_sum(p.out[1], rows);
    *out = size > 0.0 ? fmin(1.0, fmax(0.0, wanted / size)) : 1.0; /* no correction: nothing to shrink */
    return QD_OK;
}
