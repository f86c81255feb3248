/* holdout.c: see holdout.h. */
#include "quant/holdout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "linalg/gemm.h"

enum { CANDIDATES = 6 }; /* 1, 0.1, ... 1e-5 of the mean diagonal */
/* Of nearly equal ones the larger lambda: T is an expectation over rows that were few (theory.md §8.3). */
#define TIE 1.01
/* A spread of squared pivots beyond this is no factor to round by (theory.md §8.3, float64). */
#define LARGEST_SPREAD 1e10

void qd_holdout_fini(qd_holdout *holdout)
{
    qd_matd_buf_fini(&holdout->hessian);
    free(holdout->column_t);
    *holdout = (qd_holdout){ 0 };
}

static void transpose(qd_matd m)
{
    for (size_t i = 0; i < m.rows; i++)
        for (size_t j = 0; j < i; j++) {
            double value = qd_matd_row(m, i)[j];
            qd_matd_row(m, i)[j] = qd_matd_row(m, j)[i];
            qd_matd_row(m, j)[i] = value;
        }
}

/* product: I x I in processing order, H_hold at first. */
static void expect(const qd_factor *factor, qd_matd product, double *out_columns, double *out_t)
{
    qd_cmatd c = qd_matd_const(factor->c.view);
    qd_solve_upper_f64(c, product); /* U H */
    transpose(product);
    qd_solve_upper_f64(c, product); /* U H U^T */
    *out_t = 0.0;
    for (size_t t = 0; t < factor->features; t++) {
        double pivot = qd_cmatd_row(c, t)[t], term = pivot * pivot * qd_matd_row(product, t)[t];
        out_columns[factor->permutation[t]] = term;
        *out_t += term;
    }
}

qd_code qd_holdout_expect(const qd_factor *factor, qd_cmatd held, qd_pool *pool, double *out_columns, double *out_t,
                          qd_error *err)
{
    QD_AUTO(qd_matd_buf_fini) qd_matd_buf product = { 0 };
    qd_code code = qd_matd_buf_init(&product, factor->features, factor->features, err);
    if (code == QD_OK)
        code = qd_factor_gather(held, factor->permutation, pool, product.view, err);
    if (code == QD_OK)
        expect(factor, product.view, out_columns, out_t);
    return code;
}

/* What every candidate is tried with. */
typedef struct search {
    const qd_matd_buf *fit, *held;
    const qd_order *order;
    const qd_guard *guard;
    qd_pool *pool;
} search;

/* theory.md §8.3: K > kappa_max, or no guarantee. columns: space for I numbers. */
static qd_code leaves_room(const search *s, const qd_factor *factor, double *columns, bool *out, qd_error *err)
{
    double kappa = 0.0;
    qd_code code = s->guard == NULL ? QD_OK
                                    : qd_guard_measure(s->guard, qd_matd_const(factor->hessian.view),
                                                       qd_matd_const(factor->c.view), columns, &kappa, err);
    *out = s->guard == NULL || kappa < s->guard->room;
    return code;
}

/* The factor's H is not asked for any more: its place is the product's. */
static qd_code expect_in_place(const search *s, qd_factor *factor, double *columns, double *out_t, qd_error *err)
{
    qd_matd_buf *product = &factor->hessian;
    qd_factor_release(factor);
    qd_code code = qd_factor_gather(qd_matd_const(s->held->view), factor->permutation, s->pool, product->view, err);
    qd_matd_buf_release(s->held);
    if (code == QD_OK)
        expect(factor, product->view, columns, out_t);
    return code;
}

/* Infinity where this lambda will not do. */
static qd_code try_value(const search *s, double value, double *columns, double *out_t, qd_error *err)
{
    qd_factor *factor = NULL;
    qd_error why = { 0 };
    bool room = false;
    *out_t = INFINITY;
    qd_code code = qd_factor_create_in(qd_matd_const(s->fit->view), s->order, qd_regularizer_find("mean_diagonal"),
                                       value, s->guard, s->pool, s->held->file.folder, &factor, &why);
    qd_matd_buf_release(s->fit);
    if (code != QD_OK)
        return code == QD_ENUMERIC ? QD_OK : qd_fail(err, code, "%s", why.text);
    double largest = 0.0, smallest = INFINITY;
    for (size_t t = 0; t < factor->features; t++) {
        double pivot = factor->pivot[t];
        largest = fmax(largest, pivot * pivot);
        smallest = fmin(smallest, pivot * pivot);
    }
    code = leaves_room(s, factor, columns, &room, err);
    if (code == QD_OK && room && factor->escalations == 0 && largest <= LARGEST_SPREAD * smallest)
        code = expect_in_place(s, factor, columns, out_t, err);
    qd_factor_destroy(factor);
    return code;
}

/* The largest lambda within the tie of the least T: candidates descend. */
static size_t choose(const double *t)
{
    double least = INFINITY;
    for (size_t k = 0; k < CANDIDATES; k++)
        least = fmin(least, t[k]);
    for (size_t k = 0; isfinite(least) && k < CANDIDATES; k++)
        if (t[k] <= TIE * least)
            return k;
    return CANDIDATES;
}

static const double values[CANDIDATES] = { 1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5 };

static void take_chosen(size_t chosen, const double *t, const double *columns, size_t features, qd_holdout *out)
{
    bool found = chosen < CANDIDATES;
    out->value = found ? values[chosen] : QD_DAMPING_FALLBACK;
    out->t = found ? t[chosen] : NAN;
    for (size_t j = 0; j < features; j++)
        out->column_t[j] = found ? columns[chosen * features + j] : NAN;
}

qd_code qd_holdout_search(qd_cmatd fit, qd_gram *held, const qd_order *order, const qd_guard *guard, qd_pool *pool,
                          qd_holdout *out, qd_error *err)
{
    const qd_matd_buf borrowed = { .view = { fit.rows, fit.cols, fit.ld, (double *)(uintptr_t)fit.data } };
    return qd_holdout_search_in(&borrowed, held, order, guard, pool, out, err);
}

qd_code qd_holdout_search_in(const qd_matd_buf *fit, qd_gram *held, const qd_order *order, const qd_guard *guard,
                             qd_pool *pool, qd_holdout *out, qd_error *err)
{
    size_t n = fit->view.rows;
    double t[CANDIDATES];
    QD_AUTO(qd_holdout_fini) qd_holdout found = { .tokens = held->tokens };
    QD_AUTO(qd_free_pointer) double *columns = NULL;
    if (held->sum.view.rows != n || fit->view.cols != n)
        return qd_fail(err, QD_ESHAPE, "hold-out: %zu features, %zu were wanted", held->sum.view.rows, n);
    qd_code code = qd_alloc(CANDIDATES * n, sizeof *columns, (void **)&columns, err);
    if (code == QD_OK)
        code = qd_alloc(n, sizeof *found.column_t, (void **)&found.column_t, err);
    const search s = { fit, &held->sum, order, guard, pool };
    for (size_t k = 0; code == QD_OK && k < CANDIDATES; k++)
        code = try_value(&s, values[k], columns + k * n, &t[k], err);
    if (code != QD_OK)
        return code;
    take_chosen(choose(t), t, columns, n, &found);
    found.hessian = held->sum;
    held->sum = (qd_matd_buf){ 0 };
    *out = found;
    found = (qd_holdout){ 0 };
    return QD_OK;
}
