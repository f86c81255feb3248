/* target_panels.c: see target_panels.h. */
#include "quant/target_panels.h"

#include "base/mem.h"
#include "linalg/gemm.h"

static size_t scratch_size(size_t features)
{
    return QD_PANEL_ROWS * (3 * features + QD_QUADRATIC_BLOCK);
}

qd_panel qd_panel_at(const qd_panels *p, size_t index, size_t worker)
{
    size_t features = p->input->w.cols, start = index * QD_PANEL_ROWS,
           count = qd_min_size(QD_PANEL_ROWS, p->input->w.rows - start);
    double *memory = p->scratch + worker * scratch_size(features);
    return (qd_panel){ start,
                       count,
                       { count, features, features, memory },
                       { count, features, features, memory + QD_PANEL_ROWS * features },
                       { count, features, features, memory + 2 * QD_PANEL_ROWS * features },
                       { count, QD_QUADRATIC_BLOCK, QD_QUADRATIC_BLOCK, memory + 3 * QD_PANEL_ROWS * features } };
}

qd_code qd_panels_run(qd_panels *p, qd_code (*task)(void *, size_t, size_t, qd_error *), qd_error *err)
{
    QD_AUTO(qd_free_pointer) void *scratch = NULL;
    qd_code code =
        qd_alloc(qd_pool_threads(p->input->pool) * scratch_size(p->input->w.cols), sizeof(double), &scratch, err);
    if (code != QD_OK)
        return code;
    p->scratch = scratch;
    return qd_pool_for(p->input->pool, (p->input->w.rows - 1) / QD_PANEL_ROWS + 1, task, p, err);
}

void qd_panel_load(const qd_panels *p, const qd_panel *at, qd_matd out)
{
    for (size_t i = 0; i < at->count; i++)
        for (size_t j = 0; j < out.cols; j++)
            qd_matd_row(out, i)[j] = (double)qd_cmatf_row(p->input->w, at->start + i)[j];
}

void qd_columns_gather(qd_cmatd from, const uint32_t *column, qd_matd to)
{
    for (size_t i = 0; i < from.rows; i++)
        for (size_t t = 0; t < from.cols; t++)
            qd_matd_row(to, i)[t] = qd_cmatd_row(from, i)[column[t]];
}

void qd_columns_scatter(qd_cmatd from, const uint32_t *column, qd_matd to)
{
    for (size_t i = 0; i < from.rows; i++)
        for (size_t t = 0; t < from.cols; t++)
            qd_matd_row(to, i)[column[t]] = qd_cmatd_row(from, i)[t];
}

qd_matf qd_panel_narrow(qd_cmatd x, double *memory)
{
    qd_matf to = qd_matf_view((float *)(void *)memory, x.rows, x.cols);
    for (size_t i = 0; i < x.rows; i++)
        for (size_t j = 0; j < x.cols; j++)
            qd_matf_row(to, i)[j] = (float)qd_cmatd_row(x, i)[j];
    return to;
}

void qd_panel_multiply(qd_cmatd x, qd_cmatd matrix, qd_matd out)
{
    qd_gemm_f64(QD_PLAIN, QD_PLAIN, 1.0, x, matrix, 0.0, out);
}

double qd_panel_dot(const double *x, const double *y, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++)
        sum += x[i] * y[i];
    return sum;
}

qd_cmatd qd_panel_residual(qd_matd all, const qd_panel *at)
{
    return qd_matd_const(qd_matd_block(all, at->start, 0, at->count, all.cols));
}

const qd_residual *qd_panels_residual(const qd_panels *p)
{
    const qd_residual *residual = &p->input->mismatch->residual;
    return residual->outputs == 0 ? NULL : residual;
}

void qd_panel_add(qd_cmatd from, qd_matd to)
{
    for (size_t i = 0; i < from.rows; i++)
        for (size_t j = 0; j < from.cols; j++)
            qd_matd_row(to, i)[j] += qd_cmatd_row(from, i)[j];
}

double qd_panels_sum(const double *values, size_t count)
{
    double total = 0.0;
    for (size_t i = 0; i < count; i++)
        total += values[i];
    return total;
}
