/* problem.h: what a layer's rows are to whoever refines them: integer least squares, from the normal equations.
 * Room: tests. May use: pair.h.
 * Threads: none. */
#ifndef QD_TESTS_QUANT_PROBLEM_H
#define QD_TESTS_QUANT_PROBLEM_H

#include "pair.h"

/* (target - q) H_lambda (target - q)^T of one row, its target from the normal equations; codes in original order. */
typedef struct problem {
    const pair *pair;
    moments m;
    double *target; /* rows x n, processing order */
} problem;

static inline problem problem_of(const pair *p, const char *algorithm)
{
    const layer *l = &p->layer;
    bool both = strcmp(algorithm, "qronos") == 0;
    problem o = { p, moments_of(p, both ? p->use.share : 0.0, l->factor->lambda),
                  calloc(l->rows * l->cols, sizeof(double)) };
    for (size_t i = 0; i < l->rows; i++) {
        double *target = o.target + i * l->cols;
        for (size_t t = 0; t < l->cols; t++)
            for (size_t k = 0; k < l->cols; k++)
                target[t] +=
                    oracle_weight(l, i, k) * o.m.h[k * l->cols + t] +
                    weight_at(p, i, l->factor->permutation[k]) * (o.m.g[k * l->cols + t] - o.m.h[k * l->cols + t]);
        solve_tail(&o.m, 0, target);
    }
    return o;
}

static inline void problem_free(problem *o)
{
    moments_free(&o->m);
    free(o->target);
}

static inline double value_on(const qd_grid *grid, size_t row, size_t column, uint8_t code)
{
    size_t g = column / grid->group_size;
    return (qd_grid_level(grid, code) - (double)qd_matf_row(grid->zero.view, row)[g]) *
           (double)qd_matf_row(grid->scale.view, row)[g];
}

static inline void errors_of(const problem *o, const qd_grid *grid, const uint8_t *codes, size_t row, double *d)
{
    size_t n = o->m.n;
    for (size_t t = 0; t < n; t++) {
        size_t column = o->pair->layer.factor->permutation[t];
        d[t] = o->target[row * n + t] - value_on(grid, row, column, codes[row * n + column]);
    }
}

static inline double energy_of(const problem *o, const qd_grid *grid, const uint8_t *codes, size_t row)
{
    size_t n = o->m.n;
    double *d = calloc(n, sizeof *d), sum = 0.0;
    errors_of(o, grid, codes, row, d);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            sum += d[i] * o->m.h[i * n + j] * d[j];
    free(d);
    return sum;
}

static inline double energy_of_all(const problem *o, const qd_grid *grid, const uint8_t *codes)
{
    double sum = 0.0;
    for (size_t i = 0; i < o->pair->layer.rows; i++)
        sum += energy_of(o, grid, codes, i);
    return sum;
}

#endif
