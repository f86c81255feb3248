/* refine_descent.c: coordinate descent on (target - q) H_lambda (target - q)^T: each code in turn goes to the best one beside the others.
 * Source: algorithms.md §13.3: t_j = q_j + [(target - q) H_lambda]_j / H_lambda,jj, q_j = nearest(t_j). */
#include "linalg/gemm.h"
#include "quant/refine_rows.h"

/* error_t grows by `step`, and the gradient by step times row t of H_lambda. */
static void move(const qd_refine_rows *rows, size_t row, size_t t, double step)
{
    double *gradient = qd_matd_row(rows->gradient, row);
    qd_matd_row(rows->error, row)[t] += step;
    qd_axpy_f64(step, qd_matd_row(rows->input->factor->hessian.view, t), gradient, rows->steps->count);
    gradient[t] += step * rows->steps->damping;
}

static size_t descend_row(const qd_refine_rows *rows, size_t row)
{
    size_t changed = 0;
    uint8_t *codes = rows->codes + row * rows->steps->count;
    const double *gradient = qd_matd_row(rows->gradient, row);
    double least = QD_REFINE_GAIN * rows->energy[row];
    for (size_t t = 0; t < rows->steps->count; t++) {
        double diagonal = qd_matd_row(rows->input->factor->hessian.view, t)[t] + rows->steps->damping;
        if (!(diagonal > 0.0))
            continue;
        double q = qd_refine_value(rows, row, t, codes[t]);
        uint8_t code = qd_refine_nearest(rows, row, t, q + gradient[t] / diagonal);
        double step = q - qd_refine_value(rows, row, t, code);
        if (code == codes[t] || !(-step * (2.0 * gradient[t] + step * diagonal) > least))
            continue;
        codes[t] = code;
        move(rows, row, t, step);
        changed++;
    }
    return changed;
}

size_t qd_descend(const qd_refine_rows *rows)
{
    size_t changed = 0;
    for (size_t i = 0; i < rows->count; i++)
        changed += descend_row(rows, i);
    return changed;
}
