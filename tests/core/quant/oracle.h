/* oracle.h: slow float64 twins of what quant does fast, written from the definitions in algorithms.md §6.2 and
 * theory.md §1.
 * Room: tests. May use: layer.h.
 * Threads: none. */
#ifndef QD_TESTS_QUANT_ORACLE_H
#define QD_TESTS_QUANT_ORACLE_H

#include "layer.h"

/* Dense n x n matrices, row-major, in processing order. */
typedef struct oracle {
    size_t n;
    double *h; /* H + lambda I */
    double *c; /* upper, H_lambda = C C^T */
    double *r; /* C^-1 */
} oracle;

static inline double *oracle_matrix(size_t n)
{
    double *m = calloc(n * n, sizeof *m);
    assert_non_null(m);
    return m;
}

/* From the last column to the first: C_jj^2 = H_jj - sum_{k>j} C_jk^2. */
static inline void oracle_cholesky(const double *h, size_t n, double *c)
{
    for (size_t j = n; j-- > 0;)
        for (size_t i = j + 1; i-- > 0;) {
            double sum = h[i * n + j];
            for (size_t k = j + 1; k < n; k++)
                sum -= c[i * n + k] * c[j * n + k];
            c[i * n + j] = i == j ? sqrt(sum) : sum / c[j * n + j];
        }
}

static inline void oracle_inverse(const double *c, size_t n, double *r)
{
    for (size_t j = 0; j < n; j++)
        for (size_t i = j + 1; i-- > 0;) {
            double sum = i == j ? 1.0 : 0.0;
            for (size_t k = i + 1; k <= j; k++)
                sum -= c[i * n + k] * r[k * n + j];
            r[i * n + j] = sum / c[i * n + i];
        }
}

static inline oracle oracle_of(const layer *l)
{
    size_t n = l->cols;
    oracle o = { n, oracle_matrix(n), oracle_matrix(n), oracle_matrix(n) };
    const uint32_t *p = l->factor->permutation;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            o.h[i * n + j] = qd_matd_row(l->gram.sum.view, p[i])[p[j]] + (i == j ? l->factor->lambda : 0.0);
    oracle_cholesky(o.h, n, o.c);
    oracle_inverse(o.c, n, o.r);
    return o;
}

static inline void oracle_free(oracle *o)
{
    free(o->h);
    free(o->c);
    free(o->r);
}

/* w of a row in processing order; dead columns are 0, as optq sees them. */
static inline double oracle_weight(const layer *l, size_t row, size_t step)
{
    size_t column = l->factor->permutation[step];
    return qd_matd_row(l->gram.sum.view, column)[column] == 0.0 ? 0.0 : (double)qd_matf_row(l->w.view, row)[column];
}

/* One row by the R form in blocks of `block`: codes in original order, z - q and w - q in processing order. */
static inline void oracle_optq(const layer *l, const oracle *o, size_t row, size_t block, uint8_t *codes, double *eps,
                               double *error)
{
    size_t n = o->n;
    double *v = calloc(n, sizeof *v);
    assert_non_null(v);
    for (size_t t = 0; t < n; t++)
        v[t] = oracle_weight(l, row, t);
    for (size_t a = 0; a < n; a += block) {
        size_t b = a + block < n ? a + block : n;
        for (size_t j = a; j < b; j++) {
            size_t column = l->factor->permutation[j];
            codes[column] = (uint8_t)(qd_grid_nearest(&l->grid, row, column, v[j]) - l->grid.low);
            double q = value_at(l, row, column, codes[column]);
            eps[j] = v[j] - q;
            error[j] = oracle_weight(l, row, j) - q;
            for (size_t k = j + 1; k < b; k++)
                v[k] -= eps[j] / o->r[j * n + j] * o->r[j * n + k];
        }
        for (size_t k = b; k < n; k++)
            for (size_t j = a; j < b; j++)
                v[k] -= eps[j] / o->r[j * n + j] * o->r[j * n + k];
    }
    free(v);
}

/* x H_lambda x^T. */
static inline double oracle_form(const oracle *o, const double *x)
{
    double sum = 0.0;
    for (size_t i = 0; i < o->n; i++)
        for (size_t j = 0; j < o->n; j++)
            sum += x[i] * o->h[i * o->n + j] * x[j];
    return sum;
}

/* Differing codes of two runs. */
static inline size_t codes_differing(const uint8_t *a, const uint8_t *b, size_t count)
{
    size_t differing = 0;
    for (size_t i = 0; i < count; i++)
        differing += a[i] != b[i];
    return differing;
}

#endif
