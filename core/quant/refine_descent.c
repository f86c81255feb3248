/* refine_descent.c: coordinate descent on (target - q) H_lambda (target - q)^T: each code in turn goes to the best one beside the others.
 * Source: algorithms.md §13.3: t_j = q_j + [(target - q) H_lambda]_j / H_lambda,jj, q_j = nearest(t_j). Few codes move, so the kernel looks for
 * the next one that would, and what it does to the gradient is a row of H. */
#include "linalg/gemm.h"
#include "quant/refine_rows.h"

/* What a row is searched by: a column each. */
typedef struct descent {
    const qd_refine_rows *rows;
    double *value, *diagonal, *scale, *zero;
} descent;

size_t qd_descend_scratch(size_t features)
{
    return 4 * features;
}

/* error_t grows by `step`, and the gradient by step times row t of H_lambda. */
static void move(const qd_refine_rows *rows, size_t row, size_t t, double step)
{
    double *gradient = qd_matd_row(rows->gradient, row);
    qd_matd_row(rows->error, row)[t] += step;
    qd_axpy_f64(step, qd_matd_row(rows->input->factor->hessian.view, t), gradient, rows->steps->count);
    gradient[t] += step * rows->steps->damping;
}

/* Levels are looked up, a column at a time. */
static size_t next_level(const descent *d, size_t row, const uint8_t *codes, size_t start)
{
    const double *gradient = qd_matd_row(d->rows->gradient, row);
    for (size_t t = start; t < d->rows->steps->count; t++)
        if (d->diagonal[t] > 0.0 &&
            qd_refine_nearest(d->rows, row, t, d->value[t] + gradient[t] / d->diagonal[t]) != codes[t])
            return t;
    return d->rows->steps->count;
}

static size_t descend_row(const descent *d, size_t row)
{
    const qd_refine_rows *rows = d->rows;
    const qd_grid *grid = rows->grid;
    size_t features = rows->steps->count, changed = 0;
    uint8_t *codes = rows->codes + row * features;
    double least = QD_REFINE_GAIN * rows->energy[row], *gradient = qd_matd_row(rows->gradient, row);
    const qd_descent_row search = { features, d->value, gradient,          d->diagonal,       d->scale,
                                    d->zero,  codes,    (double)grid->low, (double)grid->high };
    bool levels = grid->levels.count > 0;
    qd_refine_spread_grid(rows, row, d->scale, d->zero);
    for (size_t t = 0; t < features; t++)
        d->value[t] = qd_refine_value(rows, row, t, codes[t]);
    for (size_t t = 0;; t++) {
        t = levels ? next_level(d, row, codes, t) : rows->kernel->next_move(&search, t);
        if (t == features)
            return changed;
        double diagonal = d->diagonal[t];
        uint8_t code = qd_refine_nearest(rows, row, t, d->value[t] + gradient[t] / diagonal);
        double step = d->value[t] - qd_refine_value(rows, row, t, code);
        if (code == codes[t] || !(-step * (2.0 * gradient[t] + step * diagonal) > least))
            continue;
        codes[t] = code;
        d->value[t] = qd_refine_value(rows, row, t, code);
        move(rows, row, t, step);
        changed++;
    }
}

void qd_descend(const qd_refine_rows *rows, qd_refine_some *some, double *scratch)
{
    size_t features = rows->steps->count;
    const descent d = { rows, scratch, scratch + features, scratch + 2 * features, scratch + 3 * features };
    for (size_t t = 0; t < features; t++)
        d.diagonal[t] = rows->input->factor->diagonal[t] + rows->steps->damping;
    for (size_t k = 0; k < some->count; k++)
        some->changed[k] += descend_row(&d, some->row[k]);
}
