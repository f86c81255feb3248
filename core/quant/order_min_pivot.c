/* order_min_pivot.c: from the last place to the first, the column with the smallest pivot that is left.
 * Source: theory.md §4 (the greedy refinement of descending norms): what is placed last keeps its whole norm, so it should be the
 * smallest; the columns before it lose their share in it (Schur complement), and the same holds for them.
 * Panels as in a blocked pivoted Cholesky factorization: a column of the current complement is made when it is chosen, the rest once a
 * panel by one product. */
#include <math.h>

#include "base/mem.h"
#include "linalg/gemm.h"
#include "quant/factor_rows.h"

enum { PANEL = 64 }; /* fixed: sums do not depend on anything but H */

/* Columns that are not placed yet, in ascending order. */
typedef struct unplaced {
    qd_matd complement; /* of the columns placed in earlier panels: count x count, within an I x I buffer */
    qd_matd panel;      /* row k: column of the factor for the k-th column placed in this panel */
    double *diagonal;   /* of the complement of all columns placed so far; NaN = placed in this panel */
    uint32_t *column;   /* original index */
    size_t count;
} unplaced;

/* The smallest; of equals the last, since places are given from the end. */
static size_t smallest(const unplaced *r)
{
    size_t found = r->count;
    for (size_t i = 0; i < r->count; i++)
        if (!isnan(r->diagonal[i]) && (found == r->count || r->diagonal[i] <= r->diagonal[found]))
            found = i;
    return found;
}

/* Row k of the panel from the chosen column; what is left of the other columns. */
static void eliminate(unplaced *r, size_t k, size_t chosen)
{
    double pivot = sqrt(r->diagonal[chosen]);
    double *row = qd_matd_row(r->panel, k);
    const double *from = qd_matd_row(r->complement, chosen);
    for (size_t i = 0; i < r->count; i++)
        row[i] = from[i];
    for (size_t q = 0; q < k; q++) {
        const double *earlier = qd_matd_row(r->panel, q);
        double factor = earlier[chosen];
        for (size_t i = 0; i < r->count; i++)
            row[i] -= factor * earlier[i];
    }
    for (size_t i = 0; i < r->count; i++) {
        row[i] /= pivot;
        r->diagonal[i] -= row[i] * row[i];
    }
    r->diagonal[chosen] = NAN;
}

/* Drops the placed columns and takes their share out of the others. Everything moves to lower addresses. */
static void close_panel(unplaced *r, size_t placed)
{
    size_t left = 0;
    for (size_t i = 0; i < r->count; i++) {
        if (isnan(r->diagonal[i]))
            continue;
        const double *from = qd_matd_row(r->complement, i);
        double *to = qd_matd_row(r->complement, left);
        for (size_t j = 0, at = 0; j < r->count; j++)
            if (!isnan(r->diagonal[j]))
                to[at++] = from[j];
        for (size_t k = 0; k < placed; k++)
            qd_matd_row(r->panel, k)[left] = qd_matd_row(r->panel, k)[i];
        r->column[left++] = r->column[i];
    }
    r->count = left;
    if (left == 0)
        return;
    qd_cmatd panel = qd_matd_const(qd_matd_block(r->panel, 0, 0, placed, left));
    qd_gemm_f64(QD_TRANSPOSED, QD_PLAIN, -1.0, panel, panel, 1.0, qd_matd_block(r->complement, 0, 0, left, left));
}

static qd_code place_all(unplaced *r, double least, uint32_t *out_permutation, qd_error *err)
{
    while (r->count > 0) {
        size_t placed = 0, width = qd_min_size(PANEL, r->count), end = r->count;
        for (size_t i = 0; i < r->count; i++)
            r->diagonal[i] = qd_matd_row(r->complement, i)[i];
        for (; placed < width; placed++) {
            size_t chosen = smallest(r);
            if (chosen == r->count || !(r->diagonal[chosen] > least))
                return qd_fail(err, QD_ENUMERIC, "squared pivot of place %zu is not positive or lost in rounding",
                               end - 1 - placed);
            out_permutation[end - 1 - placed] = r->column[chosen];
            eliminate(r, placed, chosen);
        }
        close_panel(r, placed);
    }
    return QD_OK;
}

static void start(unplaced *r, qd_cmatd hessian, double lambda)
{
    r->count = hessian.rows;
    for (size_t i = 0; i < r->count; i++) {
        double *to = qd_matd_row(r->complement, i);
        for (size_t j = 0; j < r->count; j++)
            to[j] = qd_cmatd_row(hessian, i)[j];
        to[i] += lambda;
        r->column[i] = (uint32_t)i;
    }
}

static qd_code permute(qd_cmatd hessian, double lambda, uint32_t *out_permutation, const qd_order **out_chosen,
                       qd_error *err)
{
    QD_AUTO(qd_matd_buf_fini) qd_matd_buf complement = { 0 }, panel = { 0 };
    QD_AUTO(qd_free_pointer) void *diagonal = NULL;
    QD_AUTO(qd_free_pointer) void *column = NULL;
    size_t n = hessian.rows;
    qd_code code = qd_matd_buf_init(&complement, n, n, err);
    if (code == QD_OK)
        code = qd_matd_buf_init(&panel, PANEL, n, err);
    if (code == QD_OK)
        code = qd_alloc(n, sizeof(double), &diagonal, err);
    if (code == QD_OK)
        code = qd_alloc(n, sizeof(uint32_t), &column, err);
    if (code != QD_OK)
        return code;
    unplaced r = { .complement = complement.view, .panel = panel.view, .diagonal = diagonal, .column = column };
    start(&r, hessian, lambda);
    *out_chosen = &qd_order_min_pivot;
    return place_all(&r, qd_pivot_least(hessian, lambda), out_permutation, err);
}

static const qd_param params[] = { { .name = NULL } };

const qd_order qd_order_min_pivot = {
    .name = "min-pivot",
    .summary = "from the end, the column with the smallest pivot left: the greedy least sum of squared pivots",
    .params = params,
    .matrices = 1, /* the complement */
    .permute = permute,
};
