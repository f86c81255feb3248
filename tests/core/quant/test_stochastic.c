/* test_stochastic.c: unbiased rounding: its mean, its energy, and what its certificate promises (algorithms.md §12 C, C2; theory.md §10
 * 12-14). Seeds are fixed: nothing here is left to chance twice. */
#include "pair.h"

/* Weights within a quarter of the range: nothing clips. */
static const layer_spec roomy = {
    .rows = 4, .cols = 16, .bits = 6, .shrink = 4, .order = "norm-descending", .seed = 500
};

/* The same on another alphabet; own: distances of 3/4 and 1 in turn. */
static layer_spec roomy_on(const char *alphabet, double own[33])
{
    layer_spec spec = roomy;
    for (int k = 0; k < 33; k++)
        own[k] = (double)(k - 16) - (double)((k - 16) / 2) / 4.0;
    spec.alphabet = alphabet;
    spec.levels = own;
    spec.level_count = 33;
    spec.shrink = strcmp(alphabet, "levels") == 0 ? 3.7 : spec.shrink; /* not the largest weight on a level */
    return spec;
}

static void pair_draw(pair *p, const char *algorithm, uint64_t seed)
{
    qd_error err = { 0 };
    qd_layer_input input = layer_input(&p->layer);
    input.mismatch = &p->mismatch;
    input.use = p->use;
    input.rounding = QD_ROUND_STOCHASTIC;
    input.seed = seed;
    check_ok(qd_layer_round(qd_algorithm_find(algorithm), &input, p->layer.codes, &p->layer.certificate, &err));
}

static double code_value(const pair *p, size_t row, size_t column)
{
    return value_at(&p->layer, row, column, p->layer.codes[row * p->layer.cols + column]);
}

/* Largest |mean - want| / (standard error) over all weights; want: O x I, original order. */
static double worst_score(pair *p, const char *algorithm, const double *want)
{
    enum { DRAWS = 3000 };
    size_t count = p->layer.rows * p->layer.cols;
    double *sum = calloc(count, sizeof *sum), *square = calloc(count, sizeof *square), worst = 0.0;
    for (uint64_t draw = 0; draw < DRAWS; draw++) {
        pair_draw(p, algorithm, draw);
        assert_int_equal(p->layer.certificate.clip_count, 0);
        for (size_t i = 0; i < count; i++) {
            double difference = code_value(p, i / p->layer.cols, i % p->layer.cols) - want[i];
            sum[i] += difference / DRAWS;
            square[i] += difference * difference / DRAWS;
        }
    }
    for (size_t i = 0; i < count; i++)
        worst = fmax(worst, fabs(sum[i]) / sqrt((square[i] + 1e-300) / DRAWS));
    free(sum);
    free(square);
    return worst;
}

static void weights_of(const pair *p, double *want)
{
    for (size_t i = 0; i < p->layer.rows * p->layer.cols; i++)
        want[i] = weight_at(p, i / p->layer.cols, i % p->layer.cols);
}

/* The target of Qronos; as first published the rest of it belongs to the first argument a_0. */
static void target_of(const pair *p, double *want)
{
    const layer *l = &p->layer;
    size_t n = l->cols;
    double lambda = l->factor->lambda;
    moments m = moments_of(p, p->use.share, lambda);
    for (size_t row = 0; row < l->rows; row++) {
        double wg[16] = { 0 }, y[16];
        for (size_t t = 0; t < n; t++)
            for (size_t k = 0; k < n; k++)
                wg[t] += weight_at(p, row, l->factor->permutation[k]) * m.g[k * n + t];
        size_t from = p->use.start == QD_START_ORIGINAL;
        double first = wg[0] - lambda * weight_at(p, row, l->factor->permutation[0]);
        for (size_t k = 1; k < n; k++)
            first -= weight_at(p, row, l->factor->permutation[k]) * m.h[k * n];
        first /= m.h[0] - lambda;
        for (size_t t = from; t < n; t++)
            y[t - from] = wg[t] - (from == 1 ? first * m.h[t] : 0.0);
        solve_tail(&m, from, y);
        for (size_t t = 0; t < n; t++)
            want[row * n + l->factor->permutation[t]] = t < from ? first : y[t - from];
    }
    moments_free(&m);
}

static void rounding_is_unbiased_for_every_algorithm(void **state)
{
    (void)state;
    static const struct {
        const char *algorithm;
        double noise;
        qd_start start;
        const char *alphabet;
    } cases[] = { { "rtn", 0.0, QD_START_PROJECTED, "int" },    { "optq", 0.0, QD_START_PROJECTED, "int" },
                  { "gpfq", 0.0, QD_START_PROJECTED, "int" },   { "qronos", 0.2, QD_START_PROJECTED, "int" },
                  { "qronos", 0.2, QD_START_ORIGINAL, "int" },  { "rtn", 0.0, QD_START_PROJECTED, "nf4" },
                  { "optq", 0.0, QD_START_PROJECTED, "e2m1" },  { "qronos", 0.2, QD_START_PROJECTED, "e2m1" },
                  { "optq", 0.0, QD_START_PROJECTED, "levels" } };
    for (size_t k = 0; k < QD_LENGTH(cases); k++) {
        double own[33];
        pair p = pair_make(roomy_on(cases[k].alphabet, own), cases[k].noise);
        p.use.start = cases[k].start;
        double want[4 * 16];
        if (strcmp(cases[k].algorithm, "qronos") == 0)
            target_of(&p, want);
        else
            weights_of(&p, want);
        double score = worst_score(&p, cases[k].algorithm, want);
        print_message("%s, %s: largest deviation of a mean %.2f standard errors\n", cases[k].algorithm,
                      cases[k].alphabet, score);
        assert_true(score > 0.5 && score < 4.5);
        pair_free(&p);
    }
}

static void draws_are_a_function_of_seed_row_and_original_column(void **state)
{
    (void)state;
    double sum = 0.0, square = 0.0;
    for (size_t i = 0; i < 40000; i++) {
        double u = qd_rounding_dither(7, i / 200, i % 200);
        assert_true(u > -0.5 && u < 0.5);
        assert_true(u == qd_rounding_dither(7, i / 200, i % 200));
        sum += u / 40000;
        square += u * u / 40000;
    }
    check_near(sum, 0.0, 0.006);
    check_near(square, 1.0 / 12.0, 0.002);
    assert_true(qd_rounding_dither(7, 1, 2) != qd_rounding_dither(7, 2, 1));
    assert_true(qd_rounding_dither(7, 1, 2) != qd_rounding_dither(8, 1, 2));
    /* a diagonal H feeds nothing: every algorithm is RTN with the same draws, whatever the order */
    pair p = pair_make((layer_spec){ .rows = 70, .cols = 30, .bits = 3, .seed = 510 }, 0.0);
    for (size_t i = 0; i < 30; i++)
        for (size_t j = 0; j < 30; j++)
            if (i != j)
                qd_matd_row(p.mismatch.hessian.view, i)[j] = 0.0;
    qd_error err = { 0 };
    qd_factor_destroy(p.layer.factor);
    check_ok(qd_factor_create(qd_matd_const(p.mismatch.hessian.view), qd_order_find("norm-descending"),
                              qd_regularizer_find("mean_diagonal"), 0.01, NULL, &p.layer.factor, &err));
    uint8_t want[70 * 30];
    pair_draw(&p, "rtn", 3);
    memcpy(want, p.layer.codes, sizeof want);
    static const char *const algorithms[] = { "optq", "gpfq", "qronos" };
    for (size_t a = 0; a < 3; a++) {
        pair_draw(&p, algorithms[a], 3);
        assert_memory_equal(p.layer.codes, want, sizeof want);
    }
    pair_draw(&p, "rtn", 4);
    assert_true(codes_differing(p.layer.codes, want, sizeof want) > 300);
    pair_free(&p);
}

static void values_on_a_code_stay_there(void **state)
{
    (void)state;
    pair p = pair_make((layer_spec){ .rows = 3, .cols = 32, .bits = 4, .seed = 520 }, 0.0);
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < 32; j++)
            qd_matf_row(p.layer.w.view, i)[j] =
                (float)((double)(int)((i + j) % 16 - 8) * (double)qd_matf_row(p.layer.grid.scale.view, i)[0]);
    static const char *const algorithms[] = { "rtn", "optq", "gpfq", "qronos" };
    for (size_t a = 0; a < 4; a++)
        for (uint64_t seed = 0; seed < 20; seed++) {
            pair_draw(&p, algorithms[a], seed);
            for (size_t i = 0; i < 3 * 32; i++)
                assert_int_equal(p.layer.codes[i], (i / 32 + i % 32) % 16);
        }
    pair_free(&p);
}

static void any_number_of_threads_draws_the_same(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_pool *pool = NULL;
    check_ok(qd_pool_create(3, &pool, &err));
    pair p = pair_make((layer_spec){ .rows = 130, .cols = 140, .bits = 3, .group_size = 32, .seed = 530 }, 0.1);
    static const char *const algorithms[] = { "rtn", "optq", "gpfq", "qronos" };
    for (size_t a = 0; a < 4; a++) {
        pair_draw(&p, algorithms[a], 11);
        qd_certificate together;
        uint8_t *codes = malloc(130 * 140);
        qd_layer_input input = layer_input(&p.layer);
        input.mismatch = &p.mismatch;
        input.use = p.use;
        input.rounding = QD_ROUND_STOCHASTIC;
        input.seed = 11;
        input.pool = pool;
        check_ok(qd_layer_round(qd_algorithm_find(algorithms[a]), &input, codes, &together, &err));
        assert_memory_equal(codes, p.layer.codes, 130 * 140);
        assert_true(together.energy_sq == p.layer.certificate.energy_sq);
        assert_true(together.chance.kappa_max == p.layer.certificate.chance.kappa_max);
        assert_true(together.chance.step_ratio == p.layer.certificate.chance.step_ratio);
        free(codes);
    }
    qd_pool_destroy(pool);
    pair_free(&p);
}

/* theory.md §6: two thirds of step^2 / 4 times S, twice what nearest rounding leaves. */
static void energy_is_what_is_expected_and_twice_that_of_nearest(void **state)
{
    (void)state;
    static const char *const algorithms[] = { "rtn", "optq", "gpfq", "qronos" };
    for (size_t a = 0; a < 4; a++) {
        pair p = pair_make(
            (layer_spec){ .rows = 64, .cols = 60, .bits = 6, .shrink = 4, .order = "norm-descending", .seed = 540 },
            0.1);
        pair_round(&p, algorithms[a]);
        double nearest = p.layer.certificate.energy_sq, mean = 0.0;
        assert_true(p.layer.certificate.chance.eta == 0.0);
        for (uint64_t seed = 0; seed < 40; seed++) {
            pair_draw(&p, algorithms[a], seed);
            const qd_certificate *c = &p.layer.certificate;
            assert_int_equal(c->status, QD_CERTIFIED);
            assert_string_equal(c->rounding, "stochastic");
            assert_true(c->energy_sq <= c->bound_sq);
            assert_true(c->identity_residual < 1e-10);
            mean += c->energy_sq / 40;
        }
        const qd_certificate *c = &p.layer.certificate;
        print_message("%s: mean energy %.3f of the bound on the mean, %.2f of nearest\n", algorithms[a],
                      mean / c->chance.mean_bound_sq, mean / nearest);
        assert_true(mean / c->chance.mean_bound_sq > 0.6 && mean / c->chance.mean_bound_sq < 0.73);
        check_close(c->expected_sq, mean, 0.05);
        assert_true(mean / nearest > 1.6 && mean / nearest < 2.5);
        pair_free(&p);
    }
}

/* Largest |X~ (target - q)| over tokens and neurons, and largest |z - target| in steps, both from codes alone. */
static void measure_draw(const pair *p, const double *target, const oracle *o, double *out_output, double *out_drift)
{
    const layer *l = &p->layer;
    *out_output = *out_drift = 0.0;
    for (size_t i = 0; i < l->rows; i++) {
        double e[16], step = (double)qd_matf_row(l->grid.scale.view, i)[0] * qd_grid_widest(&l->grid);
        for (size_t t = 0; t < l->cols; t++) {
            double drift = 0.0;
            e[t] = target[i * l->cols + l->factor->permutation[t]] - code_value(p, i, l->factor->permutation[t]);
            for (size_t k = 0; k < t; k++)
                drift += e[k] * o->c[k * o->n + t] / o->c[t * o->n + t];
            *out_drift = fmax(*out_drift, fabs(drift) / step);
        }
        for (size_t x = 0; x < l->tokens; x++) {
            double sum = 0.0;
            for (size_t t = 0; t < l->cols; t++)
                sum += e[t] * quantized_at(p, x, l->factor->permutation[t]);
            *out_output = fmax(*out_output, fabs(sum));
        }
    }
}

/* T6, T10 and the bound on the energy, with eta = 0.05 over 2000 seeds: at most the binomial 99.9 % limit of 131 may fail. */
static void promises_fail_no_more_often_than_promised(void **state)
{
    (void)state;
    static const char *const algorithms[] = { "optq", "qronos", "optq" };
    for (size_t a = 0; a < 3; a++) {
        double own[33];
        pair p = pair_make(roomy_on(a == 2 ? "levels" : "int", own), a == 1 ? 0.2 : 0.0);
        double target[4 * 16], worst_output = 0.0, worst_drift = 0.0;
        size_t energy = 0, output = 0, drift = 0;
        oracle o = oracle_of(&p.layer);
        if (a == 1)
            target_of(&p, target);
        else
            weights_of(&p, target);
        for (uint64_t seed = 0; seed < 2000; seed++) {
            double largest, deviation;
            pair_draw(&p, algorithms[a], seed);
            const qd_certificate *c = &p.layer.certificate;
            measure_draw(&p, target, &o, &largest, &deviation);
            energy += c->energy_sq > c->chance.probable_bound_sq;
            output += largest > c->chance.output_bound;
            drift += deviation > c->chance.kappa_max;
            assert_true(c->energy_sq <= c->bound_sq && c->chance.mean_bound_sq <= c->chance.probable_bound_sq);
            worst_output = fmax(worst_output, largest / c->chance.output_bound);
            worst_drift = fmax(worst_drift, deviation / c->chance.kappa_max);
        }
        print_message("%s: %zu, %zu, %zu of 2000 fail; largest output %.2f of its bound, drift %.2f\n", algorithms[a],
                      energy, output, drift, worst_output, worst_drift);
        assert_true(energy <= 131 && output <= 131 && drift <= 131);
        assert_true(worst_drift > 0.2); /* not by being empty */
        oracle_free(&o);
        pair_free(&p);
    }
}

static void kappa_is_the_column_norm_of_the_drift(void **state)
{
    (void)state;
    static const char *const orders[] = { "natural", "norm-descending" };
    for (size_t k = 0; k < 2; k++) {
        layer l = layer_make((layer_spec){ .rows = 3, .cols = 90, .bits = 4, .order = orders[k], .seed = 550 });
        oracle o = oracle_of(&l);
        qd_layer_input input = layer_input(&l);
        qd_error err = { 0 };
        input.rounding = QD_ROUND_STOCHASTIC;
        check_ok(qd_layer_round(qd_algorithm_find("optq"), &input, l.codes, &l.certificate, &err));
        double largest = 0.0;
        size_t at = 0;
        for (size_t t = 0; t < o.n; t++) {
            double sum = 0.0;
            for (size_t j = 0; j < t; j++)
                sum += o.r[j * o.n + t] * o.r[j * o.n + t] / (o.r[j * o.n + j] * o.r[j * o.n + j]);
            double kappa = sqrt(0.5 * log(2.0 * 90.0 * 3.0 / 0.05) * sum);
            at = kappa > largest ? l.factor->permutation[t] : at;
            largest = fmax(largest, kappa);
        }
        const qd_chance *c = &l.certificate.chance;
        check_close(c->kappa_max, largest, 1e-10);
        assert_int_equal(c->kappa_column, at);
        check_close(c->steps_required, floor(largest) + 1.0, 1e-15);
        assert_true(pow(2.0, c->bits_required - 1.0) - 1.0 > largest);
        assert_true(pow(2.0, c->bits_required - 2.0) - 1.0 <= largest);
        oracle_free(&o);
        layer_free(&l);
    }
}

static void a_guarantee_that_holds_sees_no_clip(void **state)
{
    (void)state;
    layer_spec spec = { .rows = 6, .cols = 24, .bits = 5, .damping = 0.1, .order = "norm-descending", .seed = 560 };
    pair p = pair_make(spec, 0.0);
    pair_draw(&p, "optq", 0);
    assert_int_equal(p.layer.certificate.chance.guarantee, QD_NOT_GUARANTEED); /* minmax leaves no headroom */
    double ratio = p.layer.certificate.chance.step_ratio;
    assert_true(ratio > 1.0 && isfinite(ratio));
    for (size_t i = 0; i < 6; i++)
        qd_matf_row(p.layer.grid.scale.view, i)[0] *= (float)(ratio * (1.0 + 1e-6));
    for (uint64_t seed = 0; seed < 200; seed++) {
        pair_draw(&p, "optq", seed);
        assert_int_equal(p.layer.certificate.chance.guarantee, QD_GUARANTEED);
        check_near(p.layer.certificate.chance.step_ratio, 1.0, 1e-5);
        assert_int_equal(p.layer.certificate.clip_count, 0);
    }
    pair_free(&p);
    spec.bits = 2;
    spec.damping = 1e-4;
    pair small = pair_make(spec, 0.0);
    pair_draw(&small, "optq", 0);
    const qd_chance *c = &small.layer.certificate.chance;
    assert_int_equal(c->guarantee, QD_ALPHABET_TOO_SMALL);
    assert_string_equal(qd_guarantee_name(c->guarantee), "alphabet too small for the guarantee");
    assert_true(c->bits_required > 2 && isinf(c->step_ratio));
    pair_free(&small);
}

/* Past the ends the mean is not the weight any more: that is said. */
static void clipped_layers_are_certified_by_their_overload(void **state)
{
    (void)state;
    static const char *const algorithms[] = { "rtn", "optq", "gpfq", "qronos" };
    for (size_t a = 0; a < 4; a++) {
        pair p = pair_make((layer_spec){ .rows = 20, .cols = 40, .bits = 2, .shrink = 0.6, .seed = 570 }, 0.2);
        pair_draw(&p, algorithms[a], 5);
        const qd_certificate *c = &p.layer.certificate;
        assert_true(c->clip_count > 0);
        assert_int_equal(c->status, QD_CERTIFIED_OVERLOAD);
        assert_true(c->energy_sq <= c->overload_bound_sq);
        assert_true(c->chance.guarantee != QD_GUARANTEED);
        pair_free(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounding_is_unbiased_for_every_algorithm),
        cmocka_unit_test(draws_are_a_function_of_seed_row_and_original_column),
        cmocka_unit_test(values_on_a_code_stay_there),
        cmocka_unit_test(any_number_of_threads_draws_the_same),
        cmocka_unit_test(energy_is_what_is_expected_and_twice_that_of_nearest),
        cmocka_unit_test(promises_fail_no_more_often_than_promised),
        cmocka_unit_test(kappa_is_the_column_norm_of_the_drift),
        cmocka_unit_test(a_guarantee_that_holds_sees_no_clip),
        cmocka_unit_test(clipped_layers_are_certified_by_their_overload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
