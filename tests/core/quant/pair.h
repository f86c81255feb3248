/* pair.h: random layers with two streams, for the tests of the algorithms that know both.
 * Room: tests. May use: layer.h.
 * Threads: none. */
#ifndef QD_TESTS_QUANT_PAIR_H
#define QD_TESTS_QUANT_PAIR_H

#include "oracle.h"
#include "quant/target.h"

/* A layer whose float stream is its inputs with noise: X = X~ + D. */
typedef struct pair {
    layer layer;
    qd_matf_buf x; /* the float stream */
    qd_matf_buf e; /* error of the residual stream, T x O; not there without one */
    qd_mismatch mismatch;
    qd_mismatch_use use;
} pair;

enum { SEQUENCES = 10 };

static inline void split(pair *p, double damping)
{
    qd_error err = { 0 };
    const qd_regularizer *regularizer = qd_regularizer_find("mean_diagonal");
    check_ok(qd_mismatch_split(&p->mismatch, qd_order_find("natural"), regularizer, damping, NULL, &err));
}

/* The residual stream is off by something that its input explains in part: `residual` times noise and a few features of X~. */
static inline void fill_residual(pair *p, uint64_t seed, double residual)
{
    const layer *l = &p->layer;
    qd_error err = { 0 };
    check_ok(qd_matf_buf_init(&p->e, l->tokens, l->rows, &err));
    for (size_t t = 0; t < l->tokens; t++)
        for (size_t i = 0; i < l->rows; i++) {
            const float *x = qd_matf_row(l->x.view, t);
            double seen = (double)x[i % l->cols] + 0.5 * (double)x[(5 * i + 2) % l->cols];
            qd_matf_row(p->e.view, t)[i] = (float)(residual * (normal(seed + 77, t * l->rows + i) + seen));
        }
}

static inline pair pair_make_residual(layer_spec spec, double noise, double residual)
{
    qd_error err = { 0 };
    pair p = { .layer = layer_make(spec), .use = { QD_SHRINK_FIXED, 1.0, QD_START_PROJECTED } };
    layer *l = &p.layer;
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf difference = { 0 };
    check_ok(qd_matf_buf_init(&p.x, l->tokens, l->cols, &err));
    check_ok(qd_matf_buf_init(&difference, l->tokens, l->cols, &err));
    if (residual != 0.0)
        fill_residual(&p, spec.seed, residual);
    check_ok(qd_mismatch_init(&p.mismatch, l->cols, p.e.view.cols, &err));
    for (size_t i = 0; i < l->tokens * l->cols; i++) {
        float x = l->x.view.data[i], d = (float)(noise * (normal(spec.seed + 99, i) + 0.3 * (double)x));
        difference.view.data[i] = d;
        p.x.view.data[i] = x + d;
    }
    for (size_t s = 0; s < SEQUENCES; s++) {
        size_t from = s * l->tokens / SEQUENCES, count = (s + 1) * l->tokens / SEQUENCES - from;
        qd_pairs pairs = { .difference = qd_cmatf_block(qd_matf_const(difference.view), from, 0, count, l->cols),
                           .x = qd_cmatf_block(qd_matf_const(l->x.view), from, 0, count, l->cols) };
        if (residual != 0.0)
            pairs.residual = qd_cmatf_block(qd_matf_const(p.e.view), from, 0, count, l->rows);
        check_ok(qd_mismatch_add(&p.mismatch, qd_part_of(s, SEQUENCES), &pairs, NULL, &err));
    }
    check_ok(qd_mismatch_finish(&p.mismatch, &err));
    qd_factor_destroy(l->factor);
    check_ok(qd_factor_create(
        qd_matd_const(p.mismatch.hessian.view), qd_order_find(spec.order == NULL ? "natural" : spec.order),
        qd_regularizer_find("mean_diagonal"), spec.damping == 0 ? 0.01 : spec.damping, NULL, &l->factor, &err));
    return p;
}

static inline pair pair_make(layer_spec spec, double noise)
{
    return pair_make_residual(spec, noise, 0.0);
}

static inline void pair_free(pair *p)
{
    qd_matf_buf_fini(&p->e);
    qd_matf_buf_fini(&p->x);
    qd_mismatch_fini(&p->mismatch);
    layer_free(&p->layer);
}

static inline void pair_round(pair *p, const char *algorithm)
{
    qd_error err = { 0 };
    qd_layer_input input = layer_input(&p->layer);
    input.mismatch = &p->mismatch;
    input.use = p->use;
    check_ok(qd_layer_round(qd_algorithm_find(algorithm), &input, p->layer.codes, &p->layer.certificate, &err));
}

static inline double x_at(const pair *p, size_t token, size_t column)
{
    return (double)qd_matf_row(p->x.view, token)[column];
}

static inline double quantized_at(const pair *p, size_t token, size_t column)
{
    return (double)qd_matf_row(p->layer.x.view, token)[column];
}

static inline double residual_at(const pair *p, size_t token, size_t row)
{
    return p->e.view.cols == 0 ? 0.0 : (double)qd_matf_row(p->e.view, token)[row];
}

static inline double weight_at(const pair *p, size_t row, size_t column)
{
    return (double)qd_matf_row(p->layer.w.view, row)[column];
}

/* Moments in processing order, from H and K as the layer has them: h = H + lambda I, g = G + lambda I. */
typedef struct moments {
    size_t n;
    double *h, *g;
} moments;

static inline moments moments_of(const pair *p, double share, double lambda)
{
    size_t n = p->layer.cols;
    const uint32_t *column = p->layer.factor->permutation;
    moments m = { n, oracle_matrix(n), oracle_matrix(n) };
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double h = qd_matd_row(p->mismatch.hessian.view, column[i])[column[j]] + (i == j ? lambda : 0.0);
            m.h[i * n + j] = h;
            m.g[i * n + j] = h + share * qd_matd_row(p->mismatch.cross.view, column[i])[column[j]];
        }
    return m;
}

static inline void moments_free(moments *m)
{
    free(m->h);
    free(m->g);
}

/* y (h_[from:, from:]) = b, by Gaussian elimination. */
static inline void solve_tail(const moments *m, size_t from, double *b)
{
    size_t n = m->n - from;
    double *a = oracle_matrix(n);
    for (size_t i = 0; i < n; i++)
        memcpy(a + i * n, m->h + (from + i) * m->n + from, n * sizeof *a);
    for (size_t p = 0; p < n; p++)
        for (size_t i = p + 1; i < n; i++) {
            double f = a[i * n + p] / a[p * n + p];
            for (size_t k = p; k < n; k++)
                a[i * n + k] -= f * a[p * n + k];
            b[i] -= f * b[p];
        }
    for (size_t p = n; p-- > 0;) {
        for (size_t k = p + 1; k < n; k++)
            b[p] -= a[p * n + k] * b[k];
        b[p] /= a[p * n + p];
    }
    free(a);
}

#endif
