/* factor.c: see factor.h. */
#include "quant/factor.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "linalg/chol.h"
#include "quant/factor_rows.h"

/* The least a failed lambda is raised to, as a fraction of the mean diagonal: 0 and tiny ones would never get there. */
#define FIRST_RESORT 1e-8

enum { ROWS_PER_TASK = 64 };

void qd_factor_destroy(qd_factor *factor)
{
    if (factor == NULL)
        return;
    free(factor->permutation);
    qd_matd_buf_fini(&factor->c);
    qd_matd_buf_fini(&factor->hessian);
    free(factor);
}

static void destroy_pointer(qd_factor **factor)
{
    qd_factor_destroy(*factor);
}

typedef struct gathering {
    qd_cmatd from;
    qd_matd to;
    const uint32_t *permutation;
} gathering;

static qd_code gather_rows(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const gathering *g = ctx;
    (void)worker;
    size_t end = qd_min_size((index + 1) * ROWS_PER_TASK, g->to.rows);
    for (size_t i = index * ROWS_PER_TASK; i < end; i++) {
        const double *from = qd_cmatd_row(g->from, g->permutation[i]);
        double *to = qd_matd_row(g->to, i);
        for (size_t j = 0; j < g->to.cols; j++) {
            to[j] = from[g->permutation[j]];
            if (!isfinite(to[j]))
                return qd_fail(err, QD_ENUMERIC, "hessian: entry (%u, %u) is not finite", g->permutation[i],
                               g->permutation[j]);
        }
    }
    return QD_OK;
}

/* A squared pivot below I eps max H_jj is what rounding left of zero: C would be noise there, and 1 / C_jj the
 * feedback. */
static qd_code check_pivots(const qd_factor *factor, double lambda, qd_error *err)
{
    double largest = 0.0;
    for (size_t t = 0; t < factor->features; t++)
        largest = fmax(largest, qd_matd_row(factor->hessian.view, t)[t] + lambda);
    double least = (double)factor->features * 0x1p-52 * largest;
    for (size_t t = 0; t < factor->features; t++) {
        double pivot = qd_matd_row(factor->c.view, t)[t];
        if (pivot * pivot <= least)
            return qd_fail(err, QD_ENUMERIC, "squared pivot %zu of %zu, %g, is lost in rounding", t, factor->features,
                           pivot * pivot);
    }
    return QD_OK;
}

/* algorithms.md §5 and factor.h: lambda, then 10 lambda, ... each try from the undamped H. */
static qd_code escalate(qd_factor *factor, double lambda, double mean, qd_error *err)
{
    qd_cmatd h = qd_matd_const(factor->hessian.view);
    qd_error last = { 0 };
    for (unsigned step = 0; step <= QD_LADDER_STEPS; step++) {
        qd_code code = qd_chol_reversed(h, lambda, factor->c.view, &last);
        if (code == QD_OK)
            code = check_pivots(factor, lambda, &last);
        if (code == QD_OK) {
            factor->lambda = lambda;
            factor->lambda_relative = lambda / mean;
            factor->escalations = step;
            return QD_OK;
        }
        if (code != QD_ENUMERIC) {
            if (err != NULL)
                *err = last;
            return code;
        }
        if (step < QD_LADDER_STEPS)
            lambda = fmax(10.0 * lambda, FIRST_RESORT * mean);
    }
    return qd_fail(err, QD_ENUMERIC,
                   "hessian: not positive definite even with lambda = %g (%g of its mean diagonal): %s", lambda,
                   lambda / mean, last.text);
}

static qd_code fill(qd_factor *factor, qd_cmatd hessian, double value, qd_pool *pool, qd_error *err)
{
    size_t n = hessian.rows;
    for (size_t j = 0; j < n; j++) {
        double diagonal = qd_cmatd_row(hessian, j)[j];
        if (!isfinite(diagonal))
            return qd_fail(err, QD_ENUMERIC, "hessian: entry (%zu, %zu) is not finite", j, j);
        factor->dead_columns += diagonal == 0.0;
        factor->trace += diagonal;
    }
    qd_code code = factor->order->permute(hessian, factor->permutation, err);
    if (code != QD_OK)
        return qd_within(err, code, "order '%s'", factor->order->name);
    gathering g = { hessian, factor->hessian.view, factor->permutation };
    code = qd_pool_for(pool, (n - 1) / ROWS_PER_TASK + 1, gather_rows, &g, err);
    double lambda = 0.0;
    if (code == QD_OK)
        code = factor->regularizer->lambda(hessian, value, &lambda, err);
    if (code != QD_OK)
        return code;
    return escalate(factor, lambda, qd_mean_diagonal(hessian), err);
}

qd_code qd_factor_create(qd_cmatd hessian, const qd_order *order, const qd_regularizer *regularizer, double value,
                         qd_pool *pool, qd_factor **out, qd_error *err)
{
    size_t n = hessian.rows;
    if (hessian.cols != n || n == 0 || n > UINT32_MAX)
        return qd_fail(err, QD_ESHAPE, "hessian: %zu x %zu is not square", n, hessian.cols);
    QD_AUTO(destroy_pointer) qd_factor *factor = NULL;
    qd_code code = qd_alloc(1, sizeof *factor, (void **)&factor, err);
    if (code != QD_OK)
        return code;
    factor->features = n;
    factor->order = order;
    factor->regularizer = regularizer;
    code = qd_alloc(n, sizeof *factor->permutation, (void **)&factor->permutation, err);
    if (code == QD_OK)
        code = qd_matd_buf_init(&factor->hessian, n, n, err);
    if (code == QD_OK)
        code = qd_matd_buf_init(&factor->c, n, n, err);
    if (code == QD_OK)
        code = fill(factor, hessian, value, pool, err);
    if (code != QD_OK)
        return code;
    *out = factor;
    factor = NULL;
    return QD_OK;
}
