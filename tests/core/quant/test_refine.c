/* test_refine.c: beam search, coordinate descent and fitted scales against plain twins of themselves; what is claimed of all three. */
#include "problem.h"

#include "base/pool.h"
#include "quant/refine.h"

/* A layer refined: its codes on `grid`. */
typedef struct result {
    uint8_t *codes;
    qd_grid grid;
    qd_certificate certificate;
} result;

static void result_free(result *r)
{
    free(r->codes);
    qd_grid_fini(&r->grid);
}

static result refine_with(const pair *p, const char *algorithm, qd_refine refine, qd_pool *pool)
{
    qd_error err = { 0 };
    result r = { 0 };
    qd_layer_input input = layer_input(&p->layer);
    input.mismatch = &p->mismatch;
    input.use = p->use;
    input.refine = refine;
    input.fitted = &r.grid;
    input.pool = pool;
    check_ok(qd_alloc(p->layer.rows, p->layer.cols, (void **)&r.codes, &err));
    check_ok(qd_layer_round(qd_algorithm_find(algorithm), &input, r.codes, &r.certificate, &err));
    return r;
}

static const char *const algorithms[] = { "optq", "qronos" };

/* Shapes at the ends of what there is: one row, one column, panels and blocks that are not full, groups, dead columns, every zero. */
static const layer_spec specs[] = {
    { .rows = 1, .cols = 1, .bits = 2, .seed = 1 },
    { .rows = 1, .cols = 70, .bits = 3, .alphabet = "int-asymmetric", .zero = QD_ZERO_FLOAT, .seed = 2 },
    { .rows = 37, .cols = 1, .bits = 3, .alphabet = "int-asymmetric", .seed = 3 },
    { .rows = 33, .cols = 150, .bits = 2, .group_size = 32, .rule = "mse", .seed = 4 },
    { .rows = 40, .cols = 48, .bits = 3, .alphabet = "int-asymmetric", .group_size = 20, .dead = 5, .seed = 5 },
    { .rows = 5,
      .cols = 24,
      .bits = 4,
      .group_size = 1000,
      .scale_type = "f16",
      .order = "norm-descending",
      .seed = 6 },
    { .rows = 6, .cols = 40, .bits = 8, .alphabet = "int-asymmetric", .zero = QD_ZERO_FLOAT, .rank = 5, .seed = 7 },
    { .rows = 9, .cols = 129, .bits = 2, .narrow = true, .duplicate = 3, .scale_type = "bf16", .seed = 8 },
};

static const qd_refine refinements[] = {
    { .beam = 8 },
    { .beam = 64 },
    { .beam = 3, .rounds = 1 },
    { .rounds = 5 },
    { .rounds = 4, .refit = true },
    { .beam = 2, .rounds = 3, .refit = true },
};

/* Of a certificate: the chain of energies, and the last of them by the normal equations. */
static void check_certificate(const problem *o, const result *r, const result *swept)
{
    const qd_certificate *c = &r->certificate;
    const qd_grid *grid = r->grid.groups == 0 ? &o->pair->layer.grid : &r->grid;
    double energy = energy_of_all(o, grid, r->codes), size = fmax(energy, 1e-9 * c->output_sq);
    assert_true(c->refined);
    check_near(c->energy_sq, energy, 1e-7 * size);
    assert_true(c->energy_sq <= c->searched_sq && c->searched_sq <= c->swept_sq);
    check_near(c->swept_sq, swept->certificate.energy_sq, 1e-9 * swept->certificate.output_sq + 1e-300);
    assert_true(c->swept_sq <= c->overload_bound_sq * (1 + 1e-9));
    assert_true(c->bound_sq == swept->certificate.bound_sq && c->clip_count == swept->certificate.clip_count);
    assert_true(c->overload_bound_sq == swept->certificate.overload_bound_sq);
    assert_true(c->status == swept->certificate.status);
    size_t changed = 0;
    for (size_t i = 0; i < o->pair->layer.rows * o->pair->layer.cols; i++)
        changed += r->codes[i] != swept->codes[i];
    assert_int_equal(c->codes_changed, changed);
}

/* No row's energy rises, whatever is asked for: against the sweep, and with more rounds against fewer. */
static void no_row_is_ever_worse(void **state)
{
    (void)state;
    for (size_t s = 0; s < QD_LENGTH(specs); s++)
        for (size_t a = 0; a < QD_LENGTH(algorithms); a++) {
            pair p = pair_make(specs[s], 0.2);
            problem o = problem_of(&p, algorithms[a]);
            result swept = refine_with(&p, algorithms[a], (qd_refine){ 0 }, NULL);
            assert_false(swept.certificate.refined);
            for (size_t k = 0; k < QD_LENGTH(refinements); k++) {
                qd_refine refine = refinements[k];
                refine.scale_type = grid_spec_of(&specs[s]).scale_type;
                result r = refine_with(&p, algorithms[a], refine, NULL);
                const qd_grid *grid = refine.refit ? &r.grid : &p.layer.grid;
                for (size_t i = 0; i < p.layer.rows; i++) {
                    double before = energy_of(&o, &p.layer.grid, swept.codes, i);
                    assert_true(energy_of(&o, grid, r.codes, i) <= before * (1 + 1e-9) + 1e-12);
                }
                check_certificate(&o, &r, &swept);
                for (size_t i = 0; refine.refit && i < p.layer.rows * grid->groups; i++) {
                    float scale = grid->scale.view.data[i], zero = grid->zero.view.data[i];
                    assert_true(scale > 0 && scale == refine.scale_type->round(scale) && isfinite(zero));
                    if (grid->zero_kind == QD_ZERO_NONE)
                        assert_true(zero == 0);
                    if (grid->zero_kind == QD_ZERO_INTEGER)
                        assert_true(zero == rintf(zero) && zero >= (float)grid->low && zero <= (float)grid->high);
                }
                result_free(&r);
            }
            result_free(&swept);
            problem_free(&o);
            pair_free(&p);
        }
}

/* The best of all roundings of a row, by trying them. */
static double exhaust(const problem *o, size_t row, int codes)
{
    size_t n = o->m.n, total = 1;
    uint8_t *all = calloc(o->pair->layer.rows, n);
    double best = INFINITY;
    for (size_t t = 0; t < n; t++)
        total *= (size_t)codes;
    for (size_t k = 0; k < total; k++) {
        size_t left = k;
        for (size_t t = 0; t < n; t++, left /= (size_t)codes)
            all[row * n + t] = (uint8_t)(left % (size_t)codes);
        best = fmin(best, energy_of(o, &o->pair->layer.grid, all, row));
    }
    free(all);
    return best;
}

/* Two codes: nearest and second nearest are all there is, and 64 partial roundings are all of the first six columns. */
static void a_beam_that_holds_everything_finds_the_best_there_is(void **state)
{
    (void)state;
    size_t better = 0;
    for (uint64_t seed = 0; seed < 6; seed++) {
        pair p = pair_make((layer_spec){ .rows = 8, .cols = 7, .bits = 2, .narrow = true, .seed = 20 + seed }, 0.5);
        p.layer.grid.high = p.layer.grid.low + 1;
        problem o = problem_of(&p, "qronos");
        result swept = refine_with(&p, "qronos", (qd_refine){ 0 }, NULL);
        result r = refine_with(&p, "qronos", (qd_refine){ .beam = 64 }, NULL);
        for (size_t i = 0; i < p.layer.rows; i++) {
            double best = exhaust(&o, i, 2), got = energy_of(&o, &p.layer.grid, r.codes, i);
            check_near(got, best, 1e-9 * best);
            better += got < energy_of(&o, &p.layer.grid, swept.codes, i) * (1 - 1e-6);
        }
        result_free(&r);
        result_free(&swept);
        problem_free(&o);
        pair_free(&p);
    }
    assert_true(better > 0); /* or nothing was tested */
}

/* ---- the beam search, plainly ---- */

typedef struct node {
    double cost, d[160];
    uint8_t codes[160]; /* processing order */
} node;

static void grow(const problem *o, const oracle *f, size_t row, size_t t, const node *from, node out[2])
{
    const layer *l = &o->pair->layer;
    size_t n = o->m.n, column = l->factor->permutation[t];
    double target = o->target[row * n + t], product = 0.0;
    for (size_t k = 0; k < t; k++)
        product += from->d[k] * f->c[k * n + t];
    double argument = target + product / f->c[t * n + t];
    int last = l->grid.high - l->grid.low, code = qd_grid_nearest(&l->grid, row, column, argument) - l->grid.low;
    int up = value_on(&l->grid, row, column, (uint8_t)code) < argument ? 1 : -1;
    int codes[2] = { code, code + up < 0 || code + up > last ? code - up : code + up };
    for (size_t k = 0; k < 2; k++) {
        out[k] = *from;
        out[k].codes[t] = (uint8_t)codes[k];
        out[k].d[t] = target - value_on(&l->grid, row, column, (uint8_t)codes[k]);
        double part = out[k].d[t] * f->c[t * n + t] + product;
        out[k].cost += part * part;
    }
}

static int by_cost(const void *a, const void *b)
{
    const node *x = a, *y = b;
    return (x->cost > y->cost) - (x->cost < y->cost);
}

static void plain_beam(const problem *o, const oracle *f, size_t row, size_t width, uint8_t *out)
{
    size_t n = o->m.n, alive = 1;
    node *now = calloc(width, sizeof *now), *next = calloc(2 * width, sizeof *next);
    for (size_t t = 0; t < n; t++) {
        for (size_t m = 0; m < alive; m++)
            grow(o, f, row, t, &now[m], next + 2 * m);
        qsort(next, 2 * alive, sizeof *next, by_cost);
        alive = qd_min_size(2 * alive, width);
        memcpy(now, next, alive * sizeof *now);
    }
    for (size_t t = 0; t < n; t++)
        out[o->pair->layer.factor->permutation[t]] = now[0].codes[t];
    free(now);
    free(next);
}

static double energy_of_row(const problem *o, const uint8_t *row_codes, size_t row)
{
    size_t n = o->m.n;
    uint8_t *codes = calloc(row + 1, n);
    memcpy(codes + row * n, row_codes, n);
    double energy = energy_of(o, &o->pair->layer.grid, codes, row);
    free(codes);
    return energy;
}

static void the_beam_search_is_its_plain_twin(void **state)
{
    (void)state;
    static const size_t widths[] = { 2, 5, 8, 33, 64 };
    for (size_t s = 1; s < QD_LENGTH(specs); s++) {
        pair p = pair_make(specs[s], 0.2);
        if (p.layer.cols == 1 || specs[s].rank > 0 || specs[s].duplicate > 0 || specs[s].dead > 0) {
            pair_free(&p); /* nodes with equal costs have no order of their own */
            continue;
        }
        problem o = problem_of(&p, "qronos");
        oracle f = oracle_of(&p.layer);
        result swept = refine_with(&p, "qronos", (qd_refine){ 0 }, NULL);
        for (size_t w = 0; w < QD_LENGTH(widths); w++) {
            result r = refine_with(&p, "qronos", (qd_refine){ .beam = widths[w] }, NULL);
            for (size_t i = 0; i < p.layer.rows; i++) {
                uint8_t want[160];
                plain_beam(&o, &f, i, widths[w], want);
                double cost = energy_of_row(&o, want, i);
                double swept_cost = energy_of(&o, &p.layer.grid, swept.codes, i);
                check_close(energy_of(&o, &p.layer.grid, r.codes, i), fmin(cost, swept_cost), 1e-7);
                if (cost < swept_cost * (1 - 1e-7))
                    assert_memory_equal(r.codes + i * p.layer.cols, want, p.layer.cols);
            }
            result_free(&r);
        }
        result_free(&swept);
        oracle_free(&f);
        problem_free(&o);
        pair_free(&p);
    }
}

/* The plain twin with one node is the sweep, and a job that asks for one node gets no search. */
static void a_beam_of_one_is_the_sweep(void **state)
{
    (void)state;
    for (size_t s = 0; s < QD_LENGTH(specs); s++) {
        if (specs[s].cols == 1 || specs[s].rank > 0)
            continue;
        pair p = pair_make(specs[s], 0.2);
        problem o = problem_of(&p, "optq");
        oracle f = oracle_of(&p.layer);
        result swept = refine_with(&p, "optq", (qd_refine){ .beam = 1 }, NULL);
        assert_false(swept.certificate.refined);
        for (size_t i = 0; i < p.layer.rows; i++) {
            uint8_t want[160];
            plain_beam(&o, &f, i, 1, want);
            assert_memory_equal(swept.codes + i * p.layer.cols, want, p.layer.cols);
        }
        result_free(&swept);
        oracle_free(&f);
        problem_free(&o);
        pair_free(&p);
    }
}

/* ---- coordinate descent and fitted scales, plainly ---- */

static double slope(const problem *o, const double *d, size_t t)
{
    double sum = 0.0;
    for (size_t k = 0; k < o->m.n; k++)
        sum += d[k] * o->m.h[k * o->m.n + t];
    return sum;
}

static size_t plain_descent(const problem *o, const qd_grid *grid, uint8_t *codes, size_t row)
{
    size_t n = o->m.n, changed = 0;
    double *d = calloc(n, sizeof *d);
    errors_of(o, grid, codes, row, d);
    for (size_t t = 0; t < n; t++) {
        size_t column = o->pair->layer.factor->permutation[t], at = row * n + column;
        double h = o->m.h[t * n + t], q = value_on(grid, row, column, codes[at]), g = slope(o, d, t);
        uint8_t code = (uint8_t)(qd_grid_nearest(grid, row, column, q + g / h) - grid->low);
        double step = q - value_on(grid, row, column, code);
        if (code == codes[at] || !(2 * g * step + h * step * step < 0))
            continue;
        codes[at] = code;
        d[t] += step;
        changed++;
    }
    free(d);
    return changed;
}

static void coordinate_descent_is_its_plain_twin_and_ends_where_no_code_can_move(void **state)
{
    (void)state;
    for (size_t s = 0; s < 7; s++)
        for (size_t rounds = 1; rounds <= 64; rounds = rounds == 1 ? 3 : rounds == 3 ? 64 : 65) {
            pair p = pair_make(specs[s], 0.2);
            problem o = problem_of(&p, "qronos");
            result want = refine_with(&p, "qronos", (qd_refine){ 0 }, NULL);
            result r = refine_with(&p, "qronos", (qd_refine){ .rounds = rounds }, NULL);
            for (size_t i = 0; i < p.layer.rows; i++)
                for (size_t k = 0; k < rounds && plain_descent(&o, &p.layer.grid, want.codes, i) > 0; k++)
                    continue;
            if (specs[s].rank == 0)
                assert_memory_equal(r.codes, want.codes, p.layer.rows * p.layer.cols);
            for (size_t i = 0; rounds == 64 && specs[s].rank == 0 && i < p.layer.rows; i++)
                assert_int_equal(plain_descent(&o, &p.layer.grid, r.codes, i), 0);
            assert_true(r.certificate.refine_rounds <= rounds);
            result_free(&r);
            result_free(&want);
            problem_free(&o);
            pair_free(&p);
        }
}

/* With one group, float scale and float zero and the codes as they end: the normal equations of the row hold, so no scale or zero is better. */
static void a_fitted_scale_and_zero_solve_the_normal_equations(void **state)
{
    (void)state;
    pair p = pair_make(
        (layer_spec){
            .rows = 20, .cols = 50, .bits = 3, .alphabet = "int-asymmetric", .zero = QD_ZERO_FLOAT, .seed = 77 },
        0.2);
    problem o = problem_of(&p, "qronos");
    result r = refine_with(&p, "qronos", (qd_refine){ .rounds = 64, .refit = true }, NULL);
    assert_true(r.certificate.refine_rounds < 64 && r.certificate.scales_fitted == p.layer.rows);
    for (size_t i = 0; i < p.layer.rows; i++) {
        double d[50], along = 0.0, across = 0.0, size = 0.0;
        errors_of(&o, &r.grid, r.codes, i, d);
        for (size_t t = 0; t < 50; t++) {
            uint8_t code = r.codes[i * 50 + p.layer.factor->permutation[t]];
            double g = slope(&o, d, t);
            along += g * qd_grid_level(&r.grid, code);
            across += g;
            size += fabs(g) * 7;
        }
        check_near(along, 0.0, 1e-5 * size); /* a zero in float32 */
        check_near(across, 0.0, 1e-5 * size);
    }
    result_free(&r);
    problem_free(&o);
    pair_free(&p);
}

/* Any one group alone: its stored scale (and zero) is no worse than its neighbours among what can be stored. */
static void no_neighbouring_scale_or_zero_is_better(void **state)
{
    (void)state;
    static const layer_spec grouped[] = {
        { .rows = 6, .cols = 60, .bits = 3, .group_size = 16, .seed = 81 },
        { .rows = 6, .cols = 60, .bits = 3, .alphabet = "int-asymmetric", .group_size = 60, .seed = 82 },
        { .rows = 6,
          .cols = 60,
          .bits = 2,
          .alphabet = "int-asymmetric",
          .zero = QD_ZERO_FLOAT,
          .group_size = 30,
          .seed = 83 },
    };
    for (size_t s = 0; s < QD_LENGTH(grouped); s++) {
        pair p = pair_make(grouped[s], 0.2);
        problem o = problem_of(&p, "qronos");
        result r = refine_with(&p, "qronos", (qd_refine){ .rounds = 64, .refit = true }, NULL);
        double before = energy_of_all(&o, &r.grid, r.codes);
        for (size_t k = 0; k < p.layer.rows * r.grid.groups; k++)
            for (int way = -1; way <= 1; way += 2) {
                float *scale = &r.grid.scale.view.data[k], *zero = &r.grid.zero.view.data[k], s0 = *scale, z0 = *zero;
                *scale = s0 * (1.0F + 1e-3F * (float)way);
                assert_true(energy_of_all(&o, &r.grid, r.codes) > before * (1 - 1e-9));
                *scale = s0;
                if (r.grid.zero_kind != QD_ZERO_NONE) {
                    *zero = z0 + (r.grid.zero_kind == QD_ZERO_INTEGER ? 1.0F : 1e-3F) * (float)way;
                    if (*zero >= 0)
                        assert_true(energy_of_all(&o, &r.grid, r.codes) > before * (1 - 1e-9));
                }
                *zero = z0;
            }
        result_free(&r);
        problem_free(&o);
        pair_free(&p);
    }
}

static void threads_change_no_byte(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_pool *pool = NULL;
    const qd_refine refine = { .beam = 5, .rounds = 3, .refit = true };
    check_ok(qd_pool_create(3, &pool, &err));
    for (size_t s = 3; s < 6; s++) {
        pair p = pair_make(specs[s], 0.2);
        result one = refine_with(&p, "qronos", refine, NULL), three = refine_with(&p, "qronos", refine, pool);
        size_t scales = p.layer.rows * one.grid.groups * sizeof(float);
        assert_memory_equal(one.codes, three.codes, p.layer.rows * p.layer.cols);
        assert_memory_equal(one.grid.scale.view.data, three.grid.scale.view.data, scales);
        assert_memory_equal(one.grid.zero.view.data, three.grid.zero.view.data, scales);
        assert_true(one.certificate.energy_sq == three.certificate.energy_sq);
        result_free(&one);
        result_free(&three);
        pair_free(&p);
    }
    qd_pool_destroy(pool);
}

/* Dead columns weigh only the damping and aim at zero; a grid that has zero keeps them there. */
static void dead_columns_stay_zero(void **state)
{
    (void)state;
    pair p = pair_make((layer_spec){ .rows = 30, .cols = 40, .bits = 3, .dead = 7, .seed = 91 }, 0.2);
    static const qd_refine all = { .beam = 8, .rounds = 4, .refit = true };
    for (size_t a = 0; a < QD_LENGTH(algorithms); a++) {
        result r = refine_with(&p, algorithms[a], all, NULL);
        for (size_t i = 0; i < p.layer.rows; i++)
            assert_true(value_on(&r.grid, i, 7, r.codes[i * 40 + 7]) == 0);
        result_free(&r);
    }
    pair_free(&p);
}

/* algorithms.md §12: what each is worth beside Qronos, in the mean over layers, at 2 and 3 bits: refit > descent > sweep, and the beam > descent. */
static void the_oracle_table_ranks_as_published(void **state)
{
    (void)state;
    for (double bits = 2; bits <= 3; bits++) {
        double sweep = 0, beam = 0, descent = 0, refit = 0;
        for (uint64_t seed = 0; seed < 4; seed++) {
            pair p = pair_make((layer_spec){ .rows = 64,
                                             .cols = 96,
                                             .tokens = 800,
                                             .bits = bits,
                                             .alphabet = "int-asymmetric",
                                             .zero = QD_ZERO_FLOAT,
                                             .order = "norm-descending",
                                             .damping = 1e-4,
                                             .shrink = bits == 2 ? 0.8 : 1.0,
                                             .seed = 700 + seed },
                               0.1);
            const qd_refine each[] = { { 0 }, { .beam = 8 }, { .rounds = 6 }, { .rounds = 6, .refit = true } };
            double *const sums[] = { &sweep, &beam, &descent, &refit };
            for (size_t k = 0; k < QD_LENGTH(each); k++) {
                result r = refine_with(&p, "qronos", each[k], NULL);
                *sums[k] += r.certificate.relative_error * r.certificate.relative_error / 4;
                result_free(&r);
            }
            pair_free(&p);
        }
        print_message("%g bits: sweep %.4f, beam 8 %.4f, descent %.4f, with refit %.4f\n", bits, sweep, beam, descent,
                      refit);
        assert_true(beam < descent && descent < sweep && refit < descent);
        assert_true(beam < 0.97 * sweep && refit < 0.9 * sweep);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_row_is_ever_worse),
        cmocka_unit_test(a_beam_that_holds_everything_finds_the_best_there_is),
        cmocka_unit_test(the_beam_search_is_its_plain_twin),
        cmocka_unit_test(a_beam_of_one_is_the_sweep),
        cmocka_unit_test(coordinate_descent_is_its_plain_twin_and_ends_where_no_code_can_move),
        cmocka_unit_test(a_fitted_scale_and_zero_solve_the_normal_equations),
        cmocka_unit_test(no_neighbouring_scale_or_zero_is_better),
        cmocka_unit_test(threads_change_no_byte),
        cmocka_unit_test(dead_columns_stay_zero),
        cmocka_unit_test(the_oracle_table_ranks_as_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
