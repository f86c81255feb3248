/* factor.c: see factor.h. */
#include "quant/factor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    free(factor->pivot);
    free(factor->diagonal);
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
static qd_code check_pivots(qd_matd c, double least, qd_error *err)
{
    for (size_t t = 0; t < c.rows; t++) {
        double pivot = qd_matd_row(c, t)[t];
        if (pivot * pivot <= least)
            return qd_fail(err, QD_ENUMERIC, "squared pivot %zu of %zu, %g, is lost in rounding", t, c.rows,
                           pivot * pivot);
    }
    return QD_OK;
}

qd_code qd_pivots(qd_cmatd hessian, double lambda, qd_pool *pool, qd_matd c, qd_error *err)
{
    qd_code code = qd_chol_reversed(hessian, lambda, pool, c, err);
    return code == QD_OK ? check_pivots(c, qd_pivot_least(hessian, lambda), err) : code;
}

typedef struct leaving {
    const qd_matd_buf *from;
    qd_matd to;
} leaving;

/* The upper half of some rows, which are given back. */
static qd_code leave_rows(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const leaving *l = ctx;
    size_t n = l->to.cols, start = index * ROWS_PER_TASK, end = qd_min_size(start + ROWS_PER_TASK, n);
    (void)worker;
    (void)err;
    for (size_t i = start; i < end; i++)
        memcpy(qd_matd_row(l->to, i) + i, qd_matd_row(l->from->view, i) + i, (n - i) * sizeof(double));
    qd_matd_buf_release_rows(l->from, start, end - start);
    return QD_OK;
}

/* As qd_pivots; where H lies on disk the two are not resident at once. */
static qd_code pivots_away(const qd_matd_buf *hessian, double lambda, qd_pool *pool, qd_matd c, qd_error *err)
{
    double least = qd_pivot_least(qd_matd_const(hessian->view), lambda);
    leaving l = { hessian, c };
    qd_code code = qd_pool_for(pool, (c.rows - 1) / ROWS_PER_TASK + 1, leave_rows, &l, err);
    if (code == QD_OK)
        code = qd_chol_reversed_in_place(lambda, pool, c, err);
    return code == QD_OK ? check_pivots(c, least, err) : code;
}

/* ---- in place ---- */

/* to[i] = from[p[i]], of the rows of a square matrix: cycle by cycle, by way of one row. */
static void order_rows(qd_matd m, const uint32_t *p, unsigned char *done, double *row)
{
    size_t bytes = m.cols * sizeof(double);
    memset(done, 0, m.rows);
    for (size_t first = 0; first < m.rows; first++) {
        if (done[first])
            continue;
        memcpy(row, qd_matd_row(m, first), bytes);
        size_t at = first;
        for (; p[at] != first; at = p[at]) {
            memcpy(qd_matd_row(m, at), qd_matd_row(m, p[at]), bytes);
            done[at] = 1;
        }
        memcpy(qd_matd_row(m, at), row, bytes);
        done[at] = 1;
    }
}

typedef struct columns {
    qd_matd m;
    const uint32_t *p;
    double *rows; /* one a worker */
} columns;

static qd_code order_columns(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const columns *c = ctx;
    double *row = c->rows + worker * c->m.cols;
    (void)err;
    for (size_t i = index * ROWS_PER_TASK; i < qd_min_size((index + 1) * ROWS_PER_TASK, c->m.rows); i++) {
        for (size_t j = 0; j < c->m.cols; j++)
            row[j] = qd_matd_row(c->m, i)[c->p[j]];
        memcpy(qd_matd_row(c->m, i), row, c->m.cols * sizeof(double));
    }
    return QD_OK;
}

/* As qd_factor_gather, where the matrix lies. */
static qd_code gather_in_place(qd_matd m, const uint32_t *permutation, qd_pool *pool, qd_error *err)
{
    QD_AUTO(qd_free_pointer) void *rows = NULL, *done = NULL;
    qd_code code = qd_alloc(qd_pool_threads(pool) * m.cols, sizeof(double), &rows, err);
    if (code == QD_OK)
        code = qd_alloc(m.rows, 1, &done, err);
    if (code != QD_OK)
        return code;
    order_rows(m, permutation, done, rows);
    columns c = { m, permutation, rows };
    return qd_pool_for(pool, (m.rows - 1) / ROWS_PER_TASK + 1, order_columns, &c, err);
}

static qd_code gather_back(qd_matd m, const uint32_t *permutation, qd_pool *pool, qd_error *err)
{
    QD_AUTO(qd_free_pointer) void *memory = NULL;
    qd_code code = qd_alloc(m.rows, sizeof(uint32_t), &memory, err);
    uint32_t *inverse = memory;
    for (size_t t = 0; code == QD_OK && t < m.rows; t++)
        inverse[permutation[t]] = (uint32_t)t;
    return code == QD_OK ? gather_in_place(m, inverse, pool, err) : code;
}

/* ---- the ladder ---- */

/* What every rung of the ladder starts from. */
typedef struct ladder {
    qd_cmatd hessian; /* undamped, original order; of one that is taken over the factor's own */
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
    bool own = l->hessian.data == factor->hessian.view.data;
    code = own ? gather_in_place(factor->hessian.view, factor->permutation, l->pool, err)
               : qd_factor_gather(l->hessian, factor->permutation, l->pool, factor->hessian.view, err);
    if (code == QD_OK)
        code = pivots_away(&factor->hessian, lambda, l->pool, factor->c.view, err);
    if (code == QD_OK || !own)
        return code;
    qd_code back = gather_back(factor->hessian.view, factor->permutation, l->pool, err);
    return back == QD_OK ? code : back;
}

static void keep_diagonals(qd_factor *factor)
{
    for (size_t t = 0; t < factor->features; t++)
        factor->pivot[t] = qd_matd_row(factor->c.view, t)[t];
    qd_matd_buf_release(&factor->c);
    for (size_t t = 0; t < factor->features; t++)
        factor->diagonal[t] = qd_matd_row(factor->hessian.view, t)[t];
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
            keep_diagonals(factor);
            qd_factor_release(factor);
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
    return qd_factor_create_in(hessian, order, regularizer, value, guard, pool, NULL, out, err);
}

/* All but its H, with room for C. */
static qd_code make_room(qd_cmatd hessian, const qd_regularizer *regularizer, const char *folder, qd_factor **out,
                         qd_error *err)
{
    size_t n = hessian.rows;
    if (hessian.cols != n || n == 0 || n > UINT32_MAX)
        return qd_fail(err, QD_ESHAPE, "hessian: %zu x %zu is not square", n, hessian.cols);
    qd_code code = qd_alloc(1, sizeof **out, (void **)out, err);
    if (code != QD_OK)
        return code;
    (*out)->features = n;
    (*out)->regularizer = regularizer;
    code = qd_alloc(n, sizeof *(*out)->permutation, (void **)&(*out)->permutation, err);
    if (code == QD_OK)
        code = qd_alloc(n, sizeof *(*out)->pivot, (void **)&(*out)->pivot, err);
    if (code == QD_OK)
        code = qd_alloc(n, sizeof *(*out)->diagonal, (void **)&(*out)->diagonal, err);
    return code == QD_OK ? qd_matd_buf_init_in(&(*out)->c, n, n, folder, err) : code;
}

qd_code qd_factor_create_in(qd_cmatd hessian, const qd_order *order, const qd_regularizer *regularizer, double value,
                            const qd_guard *guard, qd_pool *pool, const char *folder, qd_factor **out, qd_error *err)
{
    QD_AUTO(destroy_pointer) qd_factor *factor = NULL;
    qd_code code = make_room(hessian, regularizer, folder, &factor, err);
    if (code == QD_OK)
        code = qd_matd_buf_init_in(&factor->hessian, hessian.rows, hessian.rows, folder, err);
    if (code == QD_OK)
        code = fill(&(ladder){ hessian, order, qd_mean_diagonal(hessian), guard, pool }, value, factor, err);
    if (code != QD_OK)
        return code;
    *out = factor;
    factor = NULL;
    return QD_OK;
}

qd_code qd_factor_take(qd_matd_buf *hessian, const qd_order *order, const qd_regularizer *regularizer, double value,
                       const qd_guard *guard, qd_pool *pool, qd_factor **out, qd_error *err)
{
    QD_AUTO(destroy_pointer) qd_factor *factor = NULL;
    qd_cmatd h = qd_matd_const(hessian->view);
    qd_code code = make_room(h, regularizer, hessian->file.folder, &factor, err);
    if (code != QD_OK)
        return code;
    factor->hessian = *hessian;
    code = fill(&(ladder){ h, order, qd_mean_diagonal(h), guard, pool }, value, factor, err);
    if (code != QD_OK) {
        factor->hessian = (qd_matd_buf){ 0 };
        return code;
    }
    *hessian = (qd_matd_buf){ 0 };
    *out = factor;
    factor = NULL;
    return QD_OK;
}

void qd_factor_release(const qd_factor *factor)
{
    qd_matd_buf_release(&factor->hessian);
    qd_matd_buf_release(&factor->c);
}
