/* hadamard.c: see hadamard.h. */
#include "quant/hadamard.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "linalg/gemm.h"
#include "quant/hadamard_paley.h"

enum { ROWS_PER_TASK = 16, TILE = 32 };

void qd_hadamard_destroy(qd_hadamard *h)
{
    if (h == NULL)
        return;
    qd_matd_buf_fini(&h->mix);
    free(h->signs);
    free(h);
}

static qd_code draw_signs(qd_hadamard *h, uint64_t key, qd_error *err)
{
    qd_code code = qd_alloc(h->features, sizeof *h->signs, (void **)&h->signs, err);
    for (size_t j = 0; code == QD_OK && j < h->features; j++)
        h->signs[j] = qd_rng_bits(key, j) >> 63 ? -1.0 : 1.0;
    return code;
}

static qd_code make_mix(qd_hadamard *h, qd_error *err)
{
    qd_paley paley;
    if (h->order == 1 || !qd_paley_find(h->features, &paley))
        return QD_OK;
    h->order = paley.order;
    h->run = h->features / paley.order;
    qd_code code = qd_matd_buf_init(&h->mix, paley.order, paley.order, err);
    return code == QD_OK ? qd_paley_fill(&paley, h->mix.view, err) : code;
}

qd_code qd_hadamard_create(size_t features, qd_signs signs, uint64_t key, qd_hadamard **out, qd_error *err)
{
    qd_hadamard *h = NULL;
    if (features == 0)
        return qd_fail(err, QD_ESHAPE, "a Hadamard matrix of no features");
    qd_code code = qd_alloc(1, sizeof *h, (void **)&h, err);
    if (code != QD_OK)
        return code;
    h->features = features;
    h->run = features & -features;
    h->order = features / h->run;
    code = make_mix(h, err);
    h->scale = 1.0 / sqrt((double)(h->mix.view.rows > 0 ? features : h->run));
    if (code == QD_OK && signs == QD_SIGNS_RANDOM)
        code = draw_signs(h, key, err);
    if (code != QD_OK) {
        qd_hadamard_destroy(h);
        return code;
    }
    *out = h;
    return QD_OK;
}

/* x = S x for every segment of 2^p values. */
static void butterflies(const qd_hadamard *h, double *x)
{
    for (size_t stride = 1; stride < h->run; stride *= 2)
        for (size_t start = 0; start < h->features; start += 2 * stride)
            for (size_t j = start; j < start + stride; j++) {
                double a = x[j], b = x[j + stride];
                x[j] = a + b;
                x[j + stride] = a - b;
            }
}

static void mix(const qd_hadamard *h, qd_transpose transpose, double *x, double *scratch)
{
    if (h->mix.view.rows == 0)
        return;
    memcpy(scratch, x, h->features * sizeof *x);
    const qd_cmatd segments = { h->order, h->run, h->run, scratch };
    qd_gemm_f64(transpose, QD_PLAIN, 1.0, qd_matd_const(h->mix.view), segments, 0.0,
                (qd_matd){ h->order, h->run, h->run, x });
}

void qd_hadamard_row(const qd_hadamard *h, qd_turn turn, double *x, double *scratch)
{
    bool signs = h->signs != NULL;
    for (size_t j = 0; signs && turn == QD_TURN && j < h->features; j++)
        x[j] *= h->signs[j];
    if (turn == QD_TURN_BACK)
        mix(h, QD_TRANSPOSED, x, scratch);
    butterflies(h, x);
    if (turn == QD_TURN)
        mix(h, QD_PLAIN, x, scratch);
    for (size_t j = 0; j < h->features; j++)
        x[j] *= signs && turn == QD_TURN_BACK ? h->signs[j] * h->scale : h->scale;
}

/* Panels of rows: of `x` in place, or from floats to floats. */
typedef struct turning {
    const qd_hadamard *hadamard;
    qd_turn turn;
    qd_matd x;
    qd_cmatf from;
    qd_matf to;
} turning;

static qd_code rows_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const turning *t = ctx;
    QD_AUTO(qd_free_pointer) void *scratch = NULL;
    (void)worker;
    qd_code code = qd_alloc(t->hadamard->features, sizeof(double), &scratch, err);
    size_t end = qd_min_size((index + 1) * ROWS_PER_TASK, t->x.rows);
    for (size_t i = index * ROWS_PER_TASK; code == QD_OK && i < end; i++)
        qd_hadamard_row(t->hadamard, t->turn, qd_matd_row(t->x, i), scratch);
    return code;
}

static qd_code weights_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const turning *t = ctx;
    QD_AUTO(qd_free_pointer) void *memory = NULL;
    size_t features = t->hadamard->features, end = qd_min_size((index + 1) * ROWS_PER_TASK, t->from.rows);
    (void)worker;
    qd_code code = qd_alloc(2 * features, sizeof(double), &memory, err);
    double *row = memory;
    for (size_t i = index * ROWS_PER_TASK; code == QD_OK && i < end; i++) {
        for (size_t j = 0; j < features; j++)
            row[j] = (double)qd_cmatf_row(t->from, i)[j];
        qd_hadamard_row(t->hadamard, t->turn, row, row + features);
        for (size_t j = 0; j < features; j++)
            qd_matf_row(t->to, i)[j] = (float)row[j];
    }
    return code;
}

static size_t tasks_for(size_t rows)
{
    return (rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK;
}

qd_code qd_hadamard_rows(const qd_hadamard *hadamard, qd_turn turn, qd_matd x, qd_pool *pool, qd_error *err)
{
    assert(x.cols == hadamard->features);
    turning t = { .hadamard = hadamard, .turn = turn, .x = x };
    return qd_pool_for(pool, tasks_for(x.rows), rows_task, &t, err);
}

qd_code qd_hadamard_weights(const qd_hadamard *hadamard, qd_turn turn, qd_cmatf from, qd_matf to, qd_pool *pool,
                            qd_error *err)
{
    assert(from.cols == hadamard->features && to.cols == from.cols && to.rows == from.rows);
    turning t = { .hadamard = hadamard, .turn = turn, .from = from, .to = to };
    return qd_pool_for(pool, tasks_for(from.rows), weights_task, &t, err);
}

static void swap_tile(qd_matd m, size_t first_row, size_t first_column)
{
    for (size_t i = first_row; i < qd_min_size(first_row + TILE, m.rows); i++)
        for (size_t j = qd_max_size(first_column, i + 1); j < qd_min_size(first_column + TILE, m.rows); j++) {
            double kept = qd_matd_row(m, i)[j];
            qd_matd_row(m, i)[j] = qd_matd_row(m, j)[i];
            qd_matd_row(m, j)[i] = kept;
        }
}

static void transpose_square(qd_matd m)
{
    for (size_t i = 0; i < m.rows; i += TILE)
        for (size_t j = i; j < m.rows; j += TILE)
            swap_tile(m, i, j);
}

/* Leaves M m^T M^T. */
static qd_code turn_both_sides(const qd_hadamard *hadamard, qd_matd m, qd_pool *pool, qd_error *err)
{
    assert(m.rows == m.cols);
    qd_code code = qd_hadamard_rows(hadamard, QD_TURN, m, pool, err);
    if (code == QD_OK)
        transpose_square(m);
    return code == QD_OK ? qd_hadamard_rows(hadamard, QD_TURN, m, pool, err) : code;
}

qd_code qd_hadamard_moment(const qd_hadamard *hadamard, qd_matd m, qd_pool *pool, qd_error *err)
{
    qd_code code = turn_both_sides(hadamard, m, pool, err);
    if (code == QD_OK)
        transpose_square(m);
    return code;
}

qd_code qd_hadamard_gram(const qd_hadamard *hadamard, qd_matd m, qd_pool *pool, qd_error *err)
{
    qd_code code = turn_both_sides(hadamard, m, pool, err);
    for (size_t i = 0; code == QD_OK && i < m.rows; i++)
        for (size_t j = i + 1; j < m.rows; j++)
            qd_matd_row(m, j)[i] = qd_matd_row(m, i)[j];
    return code;
}
