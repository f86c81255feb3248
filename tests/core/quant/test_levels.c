/* test_levels.c: sets of levels: where they come from, the nearest of them, their scales and what a layer's certificate says of them
 * (algorithms.md §2.3-2.6, §12 I, J9, N1, N5). */
#include "oracle.h"

/* ---- definitions ---- */

/* Sign, exponent and mantissa of a 4-bit code, bias 1: algorithms.md §2.5. */
static double decode_e2m1(unsigned code)
{
    double sign = code & 8 ? -1.0 : 1.0, mantissa = (code & 1) / 2.0;
    int exponent = (int)(code >> 1 & 3);
    return sign * (exponent == 0 ? mantissa : ldexp(1.0 + mantissa, exponent - 1));
}

static void e2m1_holds_what_its_sixteen_codes_decode_to(void **state)
{
    (void)state;
    const qd_levels *levels = qd_alphabet_find("e2m1")->levels;
    size_t found = 0;
    for (unsigned code = 0; code < 16; code++)
        for (size_t k = 0; k < levels->count; k++)
            if (levels->value[k] == decode_e2m1(code)) {
                found++;
                /* the mantissa's parity is that of the places from 0, which decide ties */
                assert_int_equal(code & 1, (k + levels->anchor) % 2);
            }
    assert_int_equal(found, 16); /* 0 and -0 are one level */
    assert_int_equal(levels->count, 15);
    assert_ptr_equal(qd_alphabet_find("mxfp4")->levels, levels);
}

/* Inverse of the normal distribution function, by halves. */
static double quantile(double probability)
{
    double low = -10.0, high = 10.0;
    for (int i = 0; i < 200; i++) {
        double middle = (low + high) / 2.0;
        if (erfc(-middle / sqrt(2.0)) / 2.0 < probability)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static void nf4_holds_the_normal_quantiles_of_its_definition(void **state)
{
    (void)state;
    const double offset = 0.9677083;
    const qd_levels *levels = qd_alphabet_find("nf4")->levels;
    double top = quantile(offset);
    assert_int_equal(levels->count, 16);
    for (int i = 0; i < 8; i++) /* 9 probabilities, the last, 1/2, left out */
        check_near(levels->value[15 - i], quantile(offset + (0.5 - offset) * i / 8.0) / top, 2e-7);
    for (int i = 0; i < 7; i++)
        check_near(levels->value[i], -quantile(offset + (0.5 - offset) * i / 7.0) / top, 2e-7);
    assert_true(levels->value[7] == 0.0);
}

static void bad_sets_are_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct {
        double values[3];
        size_t count;
        const char *part;
    } bad[] = {
        { { 1 }, 1, "1 levels; 2 to 256" },
        { { 1, 1 }, 2, "level 1, 1, does not lie above 1" },
        { { 2, 1 }, 2, "does not lie above 2" },
        { { -0.0, 0.0 }, 2, "does not lie above" },
        { { 1, 1.00000001 }, 2, "in float32" },
        { { 0, INFINITY }, 2, "level 1, inf, does not fit float32" },
        { { NAN, 0 }, 2, "does not fit float32" },
        { { 0, 1e39 }, 2, "does not fit float32" },
        { { -3e38, 0, 1 }, 3, "in size is 3e+38; 2^-100 to 2^100" },
        { { 0, 1e-44 }, 2, "2^-100 to 2^100" },
    };
    qd_levels out = { .count = 77 };
    for (size_t i = 0; i < QD_LENGTH(bad); i++) {
        qd_error err = { 0 };
        check_fails(qd_levels_init(bad[i].values, bad[i].count, &out, &err), QD_EINVAL);
        check_contains(err.text, bad[i].part);
    }
    double many[257];
    for (int i = 0; i < 257; i++)
        many[i] = i;
    qd_error err = { 0 };
    check_fails(qd_levels_init(many, 257, &out, &err), QD_EINVAL);
    assert_int_equal(out.count, 77);
    check_ok(qd_levels_init(many, 256, &out, &err));
    assert_int_equal(qd_levels_bits(256), 8);
    assert_int_equal(qd_levels_bits(2), 1);
    assert_int_equal(qd_levels_bits(3), 2);
    assert_int_equal(qd_levels_bits(4), 2);
    assert_int_equal(qd_levels_bits(5), 3);
}

/* ---- nearest ---- */

/* Random sets of every size, with and without 0. */
static qd_levels random_levels(uint64_t seed)
{
    qd_error err = { 0 };
    qd_levels out;
    double values[QD_LEVELS_MAX], at = -100.0 * qd_rng_uniform(seed, 0);
    size_t count = 2 + qd_rng_below(seed, 1, seed % 3 == 0 ? 255 : 15);
    for (size_t k = 0; k < count; k++) {
        values[k] = at < 0.0 && k % 7 == 3 ? at : rint(at * 8.0) / 8.0;
        at = values[k] + 0.125 + 3.0 * qd_rng_uniform(seed, 2 + k);
    }
    check_ok(qd_levels_init(values, count, &out, &err));
    return out;
}

static size_t twin_nearest(const qd_levels *levels, double value)
{
    size_t best = 0;
    for (size_t k = 1; k < levels->count; k++) {
        double gap = levels->value[k] - levels->value[k - 1], tie = gap * 0x1p-21;
        double past = value - (levels->value[k - 1] + levels->value[k]) / 2.0;
        size_t even = (k + levels->anchor) % 2 == 0 ? k : k - 1;
        if (past > tie || (fabs(past) <= tie && even == k))
            best = k;
    }
    return best;
}

static void nearest_is_the_twins_and_no_level_is_nearer(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 120; seed++) {
        qd_levels levels = random_levels(seed);
        double low = levels.value[0] - 2.0, width = levels.value[levels.count - 1] + 2.0 - low;
        for (uint64_t i = 0; i < 600; i++) {
            size_t k = qd_rng_below(seed, 5000 + i, levels.count - 1);
            double value = i % 3 == 0 ? (levels.value[k] + levels.value[k + 1]) / 2.0 /* a tie */
                                      : low + width * qd_rng_uniform(seed, 1000 + i);
            size_t found = qd_levels_nearest(&levels, value);
            assert_int_equal(found, twin_nearest(&levels, value));
            for (size_t other = 0; other < levels.count; other++)
                assert_true(fabs(value - levels.value[found]) <=
                            fabs(value - levels.value[other]) + levels.widest * 0x1p-20);
        }
        for (size_t k = 0; k < levels.count; k++)
            assert_int_equal(qd_levels_nearest(&levels, levels.value[k]), k);
    }
}

/* algorithms.md §2.5: kappa rne(y / kappa), kappa = 2^max(floor(log2 |y|) - 1, -1), at most 6. */
static double minifloat(double y)
{
    double kappa = y == 0.0 ? 0.5 : ldexp(1.0, (int)fmax(floor(log2(fabs(y))) - 1.0, -1.0));
    return fmin(fmax(kappa * rint(y / kappa), -6.0), 6.0);
}

static void e2m1_rounds_as_the_formula_of_the_format_ties_included(void **state)
{
    (void)state;
    const qd_levels *levels = qd_alphabet_find("e2m1")->levels;
    for (int i = -100; i <= 100; i++) { /* multiples of 1/8: all ties are among them */
        double y = i / 8.0;
        assert_true(levels->value[qd_levels_nearest(levels, y)] == minifloat(y));
    }
    for (uint64_t i = 0; i < 20000; i++) {
        double y = 20.0 * qd_rng_uniform(31, i) - 10.0;
        assert_true(levels->value[qd_levels_nearest(levels, y)] == minifloat(y));
    }
}

static void integers_as_levels_are_rounded_as_integers(void **state)
{
    (void)state;
    qd_error err = { 0 };
    double values[16];
    qd_levels levels;
    for (int i = 0; i < 16; i++)
        values[i] = i - 8;
    check_ok(qd_levels_init(values, 16, &levels, &err));
    for (int i = -400; i <= 400; i++) {
        double value = i / 32.0, code = fmin(fmax(qd_grid_code(value), -8.0), 7.0);
        assert_true(levels.value[qd_levels_nearest(&levels, value)] == code);
    }
}

static void dither_takes_neighbours_with_the_right_mean(void **state)
{
    (void)state;
    enum { DRAWS = 20000 };
    for (uint64_t seed = 0; seed < 20; seed++) {
        qd_levels levels = random_levels(seed);
        double low = levels.value[0], width = levels.value[levels.count - 1] - low;
        double value = low + width * qd_rng_uniform(seed, 77), mean = 0.0, gap = qd_levels_gap(&levels, value);
        for (uint64_t i = 0; i < DRAWS; i++) {
            double got = levels.value[qd_levels_dithered(&levels, value, qd_rounding_dither(seed, 0, i))];
            assert_true(fabs(got - value) < gap);
            mean += got / DRAWS;
        }
        check_near(mean, value, 4.5 * 0.5 * gap / sqrt(DRAWS));
        for (size_t k = 0; k < levels.count; k++) /* a level stays */
            assert_int_equal(qd_levels_dithered(&levels, levels.value[k], qd_rounding_dither(seed, 1, k)), k);
        assert_int_equal(qd_levels_dithered(&levels, low - 1.0, 0.4), 0);
        assert_int_equal(qd_levels_dithered(&levels, low + width + 1.0, -0.4), levels.count - 1);
    }
}

/* ---- scales ---- */

static void mxfp4_outputs_are_levels_and_ranges_four_to_eight_scales(void **state)
{
    (void)state;
    layer l = layer_make((layer_spec){ .rows = 100, .cols = 640, .alphabet = "mxfp4", .seed = 21 });
    assert_int_equal(l.grid.groups, 20);
    layer_round(&l, "rtn");
    for (size_t i = 0; i < l.rows; i++)
        for (size_t j = 0; j < l.cols; j++) {
            double scale = (double)qd_matf_row(l.grid.scale.view, i)[j / 32], most = 0.0;
            for (size_t k = j / 32 * 32; k < j / 32 * 32 + 32; k++)
                most = fmax(most, fabs((double)qd_matf_row(l.w.view, i)[k]));
            assert_true(scale == exp2(floor(log2(most)) - 2.0));
            assert_true(most / scale >= 4.0 && most / scale < 8.0);
            double w = (double)qd_matf_row(l.w.view, i)[j] / scale;
            assert_true(value_at(&l, i, j, l.codes[i * l.cols + j]) == minifloat(w) * scale);
        }
    layer_free(&l);
}

static double group_loss(const qd_levels *levels, const float *w, const double *h, size_t count, double scale)
{
    double sum = 0.0;
    for (size_t j = 0; j < count; j++) {
        double q = levels->value[twin_nearest(levels, (double)w[j] / scale)] * scale, error = (double)w[j] - q;
        sum += (h == NULL ? 1.0 : h[j]) * error * error;
    }
    return sum;
}

static void searched_scales_of_levels_are_the_first_best_of_the_fractions(void **state)
{
    (void)state;
    static const char *const alphabets[] = { "nf4", "e2m1", "mxfp4" }, *const rules[] = { "mse", "hessian-mse" };
    size_t above = 0;
    for (uint64_t seed = 0; seed < 24; seed++) {
        layer_spec spec = { .rows = 6, .cols = 64, .group_size = 32, .seed = seed };
        spec.alphabet = alphabets[seed % 3];
        spec.rule = rules[seed / 3 % 2];
        layer l = layer_make(spec);
        qd_grid_spec grid = grid_spec_of(&spec);
        bool fine = seed / 3 % 2 == 1, powers = seed % 3 == 2;
        for (size_t i = 0; i < l.rows; i++)
            for (size_t g = 0; g < 2; g++) {
                const float *w = qd_matf_row(l.w.view, i) + 32 * g;
                double most = 0.0, best = INFINITY, scale = 0.0, top = l.grid.levels.top;
                for (size_t j = 0; j < 32; j++)
                    most = fmax(most, fabs((double)w[j]));
                for (int k = 0; k < (fine ? 80 : 19) + powers; k++) {
                    double p = fine ? (100 - k) / 100.0 : (k + 2) / 20.0;
                    p = k == (fine ? 80 : 19) ? 2.0 : p;
                    double tried = powers ? exp2(floor(log2(most * p)) - 2.0)
                                          : (double)grid.scale_type->round((float)(most * p / top));
                    double loss = group_loss(&l.grid.levels, w, NULL, 32, tried);
                    if (loss < best) {
                        best = loss;
                        scale = tried;
                    }
                }
                assert_true((double)qd_matf_row(l.grid.scale.view, i)[g] == scale);
                above += powers && scale > exp2(floor(log2(most)) - 2.0);
            }
        layer_free(&l);
    }
    assert_true(above > 0); /* the exponent above the range is worth trying */
}

static void integers_with_scales_of_powers_of_two_lose_no_more_than_the_last_half_code(void **state)
{
    (void)state;
    static const double widths[] = { 2, 3, 4, 8 };
    for (uint64_t i = 0; i < 40; i++) {
        layer_spec spec = { .rows = 4, .cols = 50, .scale_type = "e8m0", .bits = widths[i % 4], .seed = i };
        spec.narrow = i % 3 == 0;
        layer l = layer_make(spec);
        for (size_t row = 0; row < l.rows; row++) {
            double scale = (double)qd_matf_row(l.grid.scale.view, row)[0], most = 0.0;
            int exponent;
            for (size_t j = 0; j < l.cols; j++)
                most = fmax(most, fabs((double)qd_matf_row(l.w.view, row)[j]));
            assert_true(frexp(scale, &exponent) == 0.5);
            double below = exp2(ceil(log2(-(double)l.grid.low)) - 1.0); /* the power of two below the largest code */
            assert_true(most / scale >= below && most / scale < 2.0 * below);
            assert_true(most / scale < (double)l.grid.high + 1.0);
        }
        layer_free(&l);
    }
}

/* algorithms.md §12 J9: 1.22 and 0.99 sigma. The rule tries multiples of a hundredth of the range. */
static void the_fine_search_finds_the_best_steps_for_normal_rows(void **state)
{
    (void)state;
    static const double four[] = { -1.5, -0.5, 0.5, 1.5 };
    static const struct {
        const char *alphabet;
        double step;
    } cases[] = { { "ternary", 1.22 }, { "levels", 0.996 } };
    for (size_t c = 0; c < QD_LENGTH(cases); c++) {
        layer_spec spec = { .rows = 12, .cols = 4096, .tokens = 1, .rule = "hessian-mse", .seed = 41 };
        spec.alphabet = cases[c].alphabet;
        spec.levels = four;
        spec.level_count = 4;
        qd_error err = { 0 };
        qd_grid_spec grid_spec = grid_spec_of(&spec);
        QD_AUTO(qd_matf_buf_fini) qd_matf_buf w = { 0 };
        QD_AUTO(qd_grid_fini) qd_grid grid = { 0 };
        check_ok(qd_matf_buf_init(&w, spec.rows, spec.cols, &err));
        for (size_t i = 0; i < spec.rows * spec.cols; i++)
            w.view.data[i] = (float)normal(spec.seed, i);
        check_ok(qd_grid_build(&grid_spec, qd_matf_const(w.view), NULL, NULL, &grid, &err));
        double mean = 0.0;
        for (size_t i = 0; i < spec.rows; i++)
            mean += (double)qd_matf_row(grid.scale.view, i)[0] / (double)spec.rows;
        check_near(mean, cases[c].step, 0.03);
    }
}

/* ---- layers ---- */

static const double own[] = { -2, -1.25, -0.25, 0.75, 1, 3 };

static layer_spec spec_of(size_t index, uint64_t seed)
{
    layer_spec spec = { .rows = 30, .cols = 70, .group_size = 32, .order = "norm-descending", .seed = seed };
    spec.alphabet = qd_alphabet_at(index)->name;
    spec.levels = own;
    spec.level_count = QD_LENGTH(own);
    spec.bits = index < 2 && seed % 2 ? QD_BITS_THREE_LEVELS : 3;
    return spec;
}

/* N5 and N1: on its own grid, Q is rounded to itself, alone and with feedback. */
static void what_is_on_the_grid_stays_for_every_alphabet(void **state)
{
    (void)state;
    for (size_t a = 0; qd_alphabet_at(a) != NULL; a++)
        for (uint64_t seed = 0; seed < 4; seed++) {
            static const char *const algorithms[] = { "rtn", "optq", "qronos", "gpfq" };
            layer l = layer_make(spec_of(a, seed));
            layer_streams(&l);
            layer_round(&l, "optq");
            uint8_t *codes = calloc(l.rows, l.cols);
            memcpy(codes, l.codes, l.rows * l.cols);
            qd_grid_dequantize(&l.grid, codes, l.w.view);
            for (size_t k = 0; k < QD_LENGTH(algorithms); k++) {
                layer_round(&l, algorithms[k]);
                assert_memory_equal(l.codes, codes, l.rows * l.cols);
            }
            free(codes);
            layer_free(&l);
        }
}

/* Shrink 4: every argument stays far inside, so the pivot bound applies; the mean error is that of the steps the weights lie in. */
static void the_pivot_bound_and_the_expectation_hold_for_sets_of_levels(void **state)
{
    (void)state;
    static const char *const alphabets[] = { "nf4", "e2m1", "levels" };
    for (uint64_t seed = 0; seed < 12; seed++) {
        layer_spec spec = { .rows = 120, .cols = 100, .shrink = 2, .damping = 0.1, .seed = 60 + seed };
        double uneven[40];
        for (size_t k = 0; k < 40; k++)
            uneven[k] = (k < 20 ? -1.0 : 1.0) * pow(k < 20 ? 20.5 - (double)k : (double)k - 18.5, 1.4);
        spec.alphabet = alphabets[seed % 3];
        spec.levels = uneven;
        spec.level_count = 40;
        layer l = layer_make(spec);
        layer_round(&l, "optq");
        const qd_certificate *c = &l.certificate;
        assert_int_equal(c->clip_count, 0);
        assert_int_equal(c->status, QD_CERTIFIED);
        assert_true(c->ratio <= 1.0 && c->expected_sq <= c->bound_sq / 3.0);
        check_close(c->overload_bound_sq, c->bound_sq, 1e-9);
        assert_true(c->energy_sq > 0.75 * c->expected_sq && c->energy_sq < 1.3 * c->expected_sq);
        layer_free(&l);
    }
}

static void past_the_ends_levels_clip_and_the_overload_bound_holds(void **state)
{
    (void)state;
    layer_spec spec = { .rows = 20, .cols = 64, .alphabet = "nf4", .shrink = 0.3, .seed = 71 };
    layer l = layer_make(spec);
    for (int k = 0; k < 2; k++) {
        layer_round(&l, k == 0 ? "optq" : "rtn");
        const qd_certificate *c = &l.certificate;
        assert_int_equal(c->status, QD_CERTIFIED_OVERLOAD);
        assert_true(c->clip_count > 0 && c->max_excess > 1.0);
        assert_true(c->energy_sq <= c->overload_bound_sq && c->energy_sq > 0.0);
    }
    uint64_t clips = 0; /* rtn's, from the definition: past an end by more than half of the widest gap */
    for (size_t i = 0; i < l.rows; i++)
        for (size_t j = 0; j < l.cols; j++) {
            double at = (double)qd_matf_row(l.w.view, i)[j] / (double)qd_matf_row(l.grid.scale.view, i)[0];
            clips += fabs(at) - 1.0 > (0.5 + 0x1p-21) * (1.0 - 0.6961928009986877);
        }
    assert_int_equal(l.certificate.clip_count, clips);
    layer_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(e2m1_holds_what_its_sixteen_codes_decode_to),
        cmocka_unit_test(nf4_holds_the_normal_quantiles_of_its_definition),
        cmocka_unit_test(bad_sets_are_refused_with_the_reason),
        cmocka_unit_test(nearest_is_the_twins_and_no_level_is_nearer),
        cmocka_unit_test(e2m1_rounds_as_the_formula_of_the_format_ties_included),
        cmocka_unit_test(integers_as_levels_are_rounded_as_integers),
        cmocka_unit_test(dither_takes_neighbours_with_the_right_mean),
        cmocka_unit_test(mxfp4_outputs_are_levels_and_ranges_four_to_eight_scales),
        cmocka_unit_test(searched_scales_of_levels_are_the_first_best_of_the_fractions),
        cmocka_unit_test(integers_with_scales_of_powers_of_two_lose_no_more_than_the_last_half_code),
        cmocka_unit_test(the_fine_search_finds_the_best_steps_for_normal_rows),
        cmocka_unit_test(what_is_on_the_grid_stays_for_every_alphabet),
        cmocka_unit_test(the_pivot_bound_and_the_expectation_hold_for_sets_of_levels),
        cmocka_unit_test(past_the_ends_levels_clip_and_the_overload_bound_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
