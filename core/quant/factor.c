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
    (void)err;
    size_t end = qd_min_size((index + 1) * ROWS_PER_TASK, g->to.rows);
    for (size_t i = index * ROWS_PER_TASK; i < end; i++) {
        const double *from = qd_cmatd_row(g->from, g->permutation[i]);
        double *to = qd_matd_row(g->to, i);
        for (size_t j = 0; j < g->to.cols; j++)
            to[j] = from[g->permutation[j]];
    }
    return QD_OK;
}

qd_code qd_factor_gather(qd_cmatd from, const uint32_t *permutation, qd_pool *pool, qd_matd to, qd_error *err)
{
    gathering g = { from, to, permutation };
    return qd_pool_for(pool, (to.rows - 1) / ROWS_PER_TASK + 1, gather_rows, &g, err);
}

double qd_pivot_least(qd_cmatd hessian, double lambda)
{
    double largest = 0.0;
    for (size_t t = 0; t < hessian.rows; t++)
        largest = fmax(largest, qd_cmatd_row(hessian, t)[t] + lambda);
    return (double)hessian.rows * 0x1p-52 * largest;
}

/* Lost pivots are failures: C would be noise there, and 1 / C_jj the feedback. */
qd_code qd_pivots(qd_cmatd hessian, double lambda, qd_matd c, qd_error *err)
{
    qd_code code = qd_chol_reversed(hessian, lambda, c, err);
    double least = qd_pivot_least(hessian, lambda);
    for (size_t t = 0; code == QD_OK && t < c.rows; t++) {
        double pivot = qd_matd_row(c, t)[t];
        if (pivot * pivot <= least)
            code = qd_fail(err, QD_ENUMERIC, "squared pivot %zu of %zu, %g, is lost in rounding", t, c.rows,
                           pivot * pivot);
    }
    return code;
}

/* What every rung of the ladder starts from. */
typedef struct ladder {
    qd_cmatd hessian; /* undamped, original order */
    const qd_order *order;
    double mean;
    const qd_guard *guard; /* or NULL */
    qd_pool *pool;
} ladder;

/* One rung. The order is taken anew: it may depend on lambda. */
static qd_code attempt(const ladder *l, double lambda, qd_factor *factor, qd_error *err)
{
    bool guarded = l->guard != NULL && l->order->permute_guarded != NULL;
    qd_code code =
        guarded ? l->order->permute_guarded(l->hessian, lambda, l->guard, factor->permutation, &factor->order, err)
                : l->order->permute(l->hessian, lambda, factor->permutation, &factor->order, err);
    if (code != QD_OK)
        return qd_within(err, code, "order '%s'", l->order->name);
    code = qd_factor_gather(l->hessian, factor->permutation, l->pool, factor->hessian.view, err);
    return code == QD_OK ? qd_pivots(qd_matd_const(factor->hessian.view), lambda, factor->c.view, err) : code;
}

/* algorithms.md §5 and factor.h: lambda, then 10 lambda, ... each try from the undamped H. */
static qd_code escalate(const ladder *l, double lambda, qd_factor *factor, qd_error *err)
{
    qd_error last = { 0 };
    for (unsigned step = 0; step <= QD_LADDER_STEPS; step++) {
        qd_code code = attempt(l, lambda, factor, &last);
        if (code == QD_OK) {
            factor->lambda = lambda;
            factor->lambda_relative = lambda / l->mean;
            factor->escalations = step;
            return QD_OK;
        }
        if (code != QD_ENUMERIC) {
            if (err != NULL)
                *err = last;
            return code;
        }
        if (step < QD_LADDER_STEPS)
            lambda = fmax(10.0 * lambda, FIRST_RESORT * l->mean);
    }
    return qd_fail(err, QD_ENUMERIC,
                   "hessian: not positive definite even with lambda = %g (%g of its mean diagonal): %s", lambda,
                   lambda / l->mean, last.text);
}

static qd_code check_finite(qd_cmatd hessian, qd_error *err)
{
    for (size_t i = 0; i < hessian.rows; i++)
        for (size_t j = 0; j < hessian.cols; j++)
            if (!isfinite(qd_cmatd_row(hessian, i)[j]))
                return qd_fail(err, QD_ENUMERIC, "hessian: entry (%zu, %zu) is not finite", i, j);
    return QD_OK;
}

static qd_code fill(const ladder *l, double value, qd_factor *factor, qd_error *err)
{
    double lambda = 0.0;
    qd_code code = check_finite(l->hessian, err);
    if (code == QD_OK)
        code = factor->regularizer->lambda(l->hessian, value, &lambda, err);
    if (code != QD_OK)
        return code;
    for (size_t j = 0; j < l->hessian.rows; j++) {
        double diagonal = qd_cmatd_row(l->hessian, j)[j];
        factor->dead_columns += diagonal == 0.0;
        factor->trace += diagonal;
    }
    return escalate(l, lambda, factor, err);
}

qd_code qd_factor_create(qd_cmatd hessian, const qd_order *order, const qd_regularizer *regularizer, double value,
                         qd_pool *pool, qd_factor **out, qd_error *err)
{
    return qd_factor_create_guarded(hessian, order, regularizer, value, NULL, pool, out, err);
}

qd_code qd_factor_create_guarded(qd_cmatd hessian, const qd_order *order, const qd_regularizer *regularizer,
                                 double value, const qd_guard *guard, qd_pool *pool, qd_factor **out, qd_error *err)
{
    size_t n = hessian.rows;
    if (hessian.cols != n || n == 0 || n > UINT32_MAX)
        return qd_fail(err, QD_ESHAPE, "hessian: %zu x %zu is not square", n, hessian.cols);
    QD_AUTO(destroy_pointer) qd_factor *factor = NULL;
    qd_code code = qd_alloc(1, sizeof *factor, (void **)&factor, err);
    if (code != QD_OK)
        return code;
    factor->features = n;
    factor->regularizer = regularizer;
    code = qd_alloc(n, sizeof *factor->permutation, (void **)&factor->permutation, err);
    if (code == QD_OK)
        code = qd_matd_buf_init(&factor->hessian, n, n, err);
    if (code == QD_OK)
        code = qd_matd_buf_init(&factor->c, n, n, err);
    if (code == QD_OK)
        code = fill(&(ladder){ hessian, order, qd_mean_diagonal(hessian), guard, pool }, value, factor, err);
    if (code != QD_OK)
        return code;
    *out = factor;
    factor = NULL;
    return QD_OK;
}
