/* test_refine_kernels.c: the loops of a refinement, for every instruction set this processor has, against plain ones. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "check.h"
#include "quant/algorithm.h"
#include "quant/refine_kernels.h"

enum { COLUMNS = 61, SLOTS = QD_BEAM_MAX, LD = 64 };

/* One row: everything the kernels read. */
typedef struct row {
    _Alignas(64) double target[COLUMNS], scale[COLUMNS], zero[COLUMNS], c[COLUMNS * LD], diagonal[COLUMNS],
        gradient[COLUMNS], value[COLUMNS], product[COLUMNS * SLOTS];
    uint8_t codes[COLUMNS];
    qd_grid grid;
} row;

static double draw(uint64_t key, uint64_t index)
{
    return qd_rng_uniform(key, index) - 0.5;
}

static row *row_make(uint64_t seed, const char *levels)
{
    row *r = aligned_alloc(64, (sizeof *r + 63) / 64 * 64);
    uint64_t key = qd_rng_key(seed, 0, 0);
    assert_non_null(r);
    memset(r, 0, sizeof *r);
    r->grid.low = -4;
    r->grid.high = 3;
    if (levels != NULL) {
        r->grid.levels = *qd_alphabet_find(levels)->levels;
        r->grid.low = 0;
        r->grid.high = (int32_t)r->grid.levels.count - 1;
    }
    for (size_t t = 0; t < COLUMNS; t++) {
        r->scale[t] = 0.1 + 0.05 * draw(key, 10 * t);
        r->zero[t] = levels == NULL ? (double)(t % 3) - 1 : 0.0;
        r->target[t] = draw(key, 10 * t + 1);
        r->diagonal[t] = t % 17 == 5 ? 0.0 : 0.5 + draw(key, 10 * t + 2) * 0.5;
        r->gradient[t] = 0.05 * draw(key, 10 * t + 3);
        r->codes[t] = (uint8_t)((qd_rng_uniform(key, 10 * t + 4)) * (r->grid.high - r->grid.low + 1));
        r->value[t] = (qd_grid_level(&r->grid, r->codes[t]) - r->zero[t]) * r->scale[t];
        for (size_t j = t; j < COLUMNS; j++)
            r->c[t * LD + j] = j == t ? 1.0 + draw(key, 5000 + t) : 0.4 * draw(key, 9000 + t * COLUMNS + j);
        double product = 0.1 * draw(key, 10 * t + 5);
        for (size_t m = 0; m < SLOTS; m++)
            r->product[t * SLOTS + m] = product;
    }
    return r;
}

/* ---- the beam, plainly ---- */

typedef struct node {
    double cost, d[COLUMNS];
    uint8_t codes[COLUMNS];
} node;

static int code_near(const row *r, size_t t, double value)
{
    double argument = value / r->scale[t] + r->zero[t], code = qd_grid_code(argument);
    if (r->grid.levels.count > 0)
        return (int)qd_levels_nearest(&r->grid.levels, argument);
    return (int)fmin(r->grid.high, fmax(r->grid.low, code)) - r->grid.low;
}

static void grow(const row *r, size_t t, const node *from, node out[2])
{
    double product = r->product[t * SLOTS];
    for (size_t k = 0; k < t; k++)
        product += from->d[k] * r->c[k * LD + t];
    double argument = r->target[t] + product / r->c[t * LD + t];
    int last = r->grid.high - r->grid.low, code = code_near(r, t, argument);
    int up = (qd_grid_level(&r->grid, (uint8_t)code) - r->zero[t]) * r->scale[t] < argument ? 1 : -1;
    int codes[2] = { code, code + up < 0 || code + up > last ? code - up : code + up };
    for (size_t k = 0; k < 2; k++) {
        out[k] = *from;
        out[k].codes[t] = (uint8_t)codes[k];
        out[k].d[t] = r->target[t] - (qd_grid_level(&r->grid, (uint8_t)codes[k]) - r->zero[t]) * r->scale[t];
        double part = out[k].d[t] * r->c[t * LD + t] + product;
        out[k].cost += part * part;
    }
}

static int by_cost(const void *a, const void *b)
{
    const node *x = a, *y = b;
    return (x->cost > y->cost) - (x->cost < y->cost);
}

/* Nodes in ascending order of cost. */
static void plain_beam(const row *r, size_t width, node *now)
{
    size_t alive = 1;
    node *next = calloc(2 * width, sizeof *next);
    memset(now, 0, width * sizeof *now);
    for (size_t t = 0; t < COLUMNS; t++) {
        for (size_t m = 0; m < alive; m++)
            grow(r, t, &now[m], next + 2 * m);
        qsort(next, 2 * alive, sizeof *next, by_cost);
        alive = qd_min_size(2 * alive, width);
        memcpy(now, next, alive * sizeof *now);
    }
    free(next);
}

/* ---- the beam of a kernel ---- */

static void kernel_beam(const qd_refine_kernel *kernel, const row *r, size_t width, node *out)
{
    size_t slots = (width + QD_BEAM_LANES - 1) / QD_BEAM_LANES * QD_BEAM_LANES;
    _Alignas(64) static double product[COLUMNS * SLOTS], cost[SLOTS];
    static uint8_t codes[COLUMNS * SLOTS], parent[COLUMNS * SLOTS];
    memset(cost, 0, sizeof cost);
    for (size_t i = 0; i < COLUMNS * slots; i++)
        product[i] = r->product[i / slots * SLOTS];
    qd_beam_row beam = { .grid = &r->grid,
                         .columns = COLUMNS,
                         .width = width,
                         .slots = slots,
                         .target = r->target,
                         .scale = r->scale,
                         .zero = r->zero,
                         .c = r->c,
                         .ld = LD,
                         .alive = 1,
                         .cost = cost,
                         .product = product,
                         .codes = codes,
                         .parent = parent };
    kernel->expand(&beam);
    assert_int_equal(beam.alive, width);
    for (size_t m = 0; m < width; m++) {
        size_t at = m;
        out[m].cost = cost[m];
        for (size_t t = COLUMNS; t-- > 0; at = parent[t * slots + at])
            out[m].codes[t] = codes[t * slots + at];
    }
    qsort(out, width, sizeof *out, by_cost);
}

static void the_beam_keeps_the_nodes_that_the_plain_one_keeps(void **state)
{
    (void)state;
    static const size_t widths[] = { 1, 2, 7, 8, 9, 32, 64 };
    static const char *const levels[] = { NULL, NULL, NULL, "e2m1" };
    node *want = calloc(SLOTS, sizeof *want), *got = calloc(SLOTS, sizeof *got);
    for (size_t s = 0; s < QD_LENGTH(levels); s++)
        for (size_t w = 0; w < QD_LENGTH(widths); w++) {
            row *r = row_make(40 + s, levels[s]);
            plain_beam(r, widths[w], want);
            for (size_t k = 0; qd_refine_kernel_at(k) != NULL; k++) {
                if (!qd_refine_kernel_at(k)->supported())
                    continue;
                kernel_beam(qd_refine_kernel_at(k), r, widths[w], got);
                for (size_t m = 0; m < widths[w]; m++) {
                    assert_memory_equal(got[m].codes, want[m].codes, COLUMNS);
                    assert_true(fabs(got[m].cost - want[m].cost) <= 1e-12 * want[m].cost);
                }
            }
            free(r);
        }
    free(want);
    free(got);
}

/* A grid of one code: no node has a second child. */
static void a_beam_of_one_code_has_one_node(void **state)
{
    (void)state;
    row *r = row_make(50, NULL);
    r->grid.high = r->grid.low;
    for (size_t k = 0; qd_refine_kernel_at(k) != NULL; k++) {
        _Alignas(64) double product[COLUMNS * QD_BEAM_LANES] = { 0 }, cost[QD_BEAM_LANES] = { 0 };
        uint8_t codes[COLUMNS * QD_BEAM_LANES], parent[COLUMNS * QD_BEAM_LANES];
        qd_beam_row beam = { &r->grid, COLUMNS, 8, QD_BEAM_LANES, r->target, r->scale, r->zero,
                             r->c,     LD,      1, cost,          product,   codes,    parent };
        if (!qd_refine_kernel_at(k)->supported())
            continue;
        qd_refine_kernel_at(k)->expand(&beam);
        assert_int_equal(beam.alive, 1);
        for (size_t t = 0; t < COLUMNS; t++)
            assert_int_equal(codes[t * QD_BEAM_LANES], 0);
    }
    free(r);
}

static void differences_are_added_to_every_product(void **state)
{
    (void)state;
    row *r = row_make(60, NULL);
    for (size_t k = 0; qd_refine_kernel_at(k) != NULL; k++) {
        _Alignas(64) double product[COLUMNS * 16], difference[16];
        if (!qd_refine_kernel_at(k)->supported())
            continue;
        for (size_t i = 0; i < COLUMNS * 16; i++)
            product[i] = (double)i;
        for (size_t m = 0; m < 16; m++)
            difference[m] = (double)m - 3;
        const qd_beam_row beam = { .columns = COLUMNS, .slots = 16, .product = product };
        qd_refine_kernel_at(k)->spread(&beam, difference, r->target);
        for (size_t i = 0; i < COLUMNS * 16; i++)
            assert_true(fabs(product[i] - ((double)i + ((double)(i % 16) - 3) * r->target[i / 16])) <= 1e-12 * 1e3);
    }
    free(r);
}

/* ---- descent ---- */

static void the_next_code_that_moves_is_the_one_a_plain_search_finds(void **state)
{
    (void)state;
    size_t found = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        row *r = row_make(70 + seed, NULL);
        for (size_t t = 0; t < COLUMNS; t++) /* most stay, some move */
            r->gradient[t] *= seed < 10 ? 0.5 : 4;
        const qd_descent_row search = { COLUMNS, r->value, r->gradient, r->diagonal, r->scale,
                                        r->zero, r->codes, r->grid.low, r->grid.high };
        for (size_t start = 0; start <= COLUMNS; start++) {
            size_t want = start;
            while (want < COLUMNS &&
                   (!(r->diagonal[want] > 0.0) ||
                    code_near(r, want, r->value[want] + r->gradient[want] / r->diagonal[want]) == r->codes[want]))
                want++;
            found += want < COLUMNS;
            for (size_t k = 0; qd_refine_kernel_at(k) != NULL; k++)
                if (qd_refine_kernel_at(k)->supported())
                    assert_int_equal(qd_refine_kernel_at(k)->next_move(&search, start), want);
        }
        free(r);
    }
    assert_true(found > 100); /* or nothing was tested */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_beam_keeps_the_nodes_that_the_plain_one_keeps),
        cmocka_unit_test(a_beam_of_one_code_has_one_node),
        cmocka_unit_test(differences_are_added_to_every_product),
        cmocka_unit_test(the_next_code_that_moves_is_the_one_a_plain_search_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
