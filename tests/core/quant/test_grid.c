/* test_grid.c: scales and zeros of every rule against plain twins (algorithms.md §2.1-2.3), codes and values. */
#include "layer.h"
#include "linalg/half.h"

typedef struct twin {
    double low, high, scale, zero;
} twin;

static double stored(const char *type, double scale)
{
    float f = (float)scale;
    if (strcmp(type, "bf16") == 0)
        f = qd_bf16_to_float(qd_float_to_bf16(f));
    else if (strcmp(type, "f16") == 0)
        f = qd_f16_to_float(qd_float_to_f16(f));
    return (double)f;
}

static double loss(const twin *t, const float *w, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        double code = fmin(fmax(rint((double)w[i] / t->scale + t->zero), t->low), t->high);
        double error = (double)w[i] - (code - t->zero) * t->scale;
        sum += error * error;
    }
    return sum;
}

static double zero_for(qd_zero_kind kind, const twin *t, double below)
{
    double zero = kind == QD_ZERO_NONE ? 0.0 : below / t->scale;
    return kind == QD_ZERO_INTEGER ? fmin(fmax(rint(zero), t->low), t->high) : (double)(float)zero;
}

/* The definition, one group. */
static twin twin_of(const qd_grid_spec *spec, const float *w, size_t count)
{
    double bits = spec->bits, least = 0.0, most = -INFINITY, absolute = 0.0;
    for (size_t i = 0; i < count; i++) {
        least = fmin(least, (double)w[i]);
        most = fmax(most, (double)w[i]);
        absolute = fmax(absolute, fabs((double)w[i]));
    }
    bool narrow = spec->narrow || bits == 1.58; /* three of four codes */
    bits = ceil(bits);
    twin t = { .low = 0.0, .high = pow(2.0, bits) - 1.0 - (narrow ? 1.0 : 0.0) };
    double top = t.high, range = (spec->zero == QD_ZERO_INTEGER ? fmax(most, 0.0) : most) - least;
    if (spec->zero == QD_ZERO_NONE) {
        t.high = pow(2.0, bits - 1.0) - 1.0;
        t.low = -t.high - (narrow ? 0.0 : 1.0);
        top = -t.low;
        range = absolute;
    }
    range = fmax(fmax(range, 1e-4), spec->zero == QD_ZERO_NONE ? 0.0 : -least * top / 65536.0);
    const char *type = spec->scale_type->name;
    int search = strcmp(spec->rule->name, "mse") == 0;
    double best = INFINITY, best_scale = 0.0, best_zero = 0.0;
    for (int i = search ? 2 : 20; i <= 20; i++) {
        t.scale = stored(type, spec->shrink * range * i / 20.0 / top);
        t.zero = zero_for(spec->zero, &t, spec->shrink * -least);
        if (loss(&t, w, count) < best) {
            best = loss(&t, w, count);
            best_scale = t.scale;
            best_zero = t.zero;
        }
    }
    t.scale = best_scale;
    best = INFINITY;
    for (int i = 2; search && spec->zero != QD_ZERO_NONE && i <= 20; i++) {
        t.zero = zero_for(spec->zero, &t, spec->shrink * -least * i / 20.0);
        if (loss(&t, w, count) < best) {
            best = loss(&t, w, count);
            best_zero = t.zero;
        }
    }
    t.zero = best_zero;
    return t;
}

static void fill(qd_matf w, uint64_t seed)
{
    for (size_t i = 0; i < w.rows; i++)
        for (size_t j = 0; j < w.cols; j++) {
            double value = 0.05 * normal(seed, i * w.cols + j);
            if (i % 4 == 1)
                value = fabs(value); /* no negative weight */
            if (i % 4 == 2)
                value = -0.5 - fabs(value); /* none near zero */
            if (i % 4 == 3 && j % 50 == 7)
                value *= 40.0; /* outliers */
            qd_matf_row(w, i)[j] = (float)value;
        }
}

static void check_grid(const qd_grid_spec *spec, qd_cmatf w)
{
    qd_error err = { 0 };
    qd_grid grid = { 0 };
    check_ok(qd_grid_build(spec, w, NULL, NULL, &grid, &err));
    size_t size = spec->group_size == 0 || spec->group_size > w.cols ? w.cols : spec->group_size;
    assert_int_equal(grid.group_size, size);
    assert_int_equal(grid.groups, (w.cols + size - 1) / size);
    assert_int_equal(grid.zero_kind, spec->zero);
    for (size_t i = 0; i < w.rows; i++)
        for (size_t g = 0; g < grid.groups; g++) {
            size_t count = qd_min_size(size, w.cols - g * size);
            twin t = twin_of(spec, qd_cmatf_row(w, i) + g * size, count);
            assert_int_equal(grid.low, (int)t.low);
            assert_int_equal(grid.high, (int)t.high);
            check_close((double)qd_matf_row(grid.scale.view, i)[g], t.scale, 0.0);
            check_close((double)qd_matf_row(grid.zero.view, i)[g], t.zero, 0.0);
        }
    qd_grid_fini(&grid);
}

static void every_rule_alphabet_and_width_is_the_twins_grid(void **state)
{
    (void)state;
    static const char *const rules[] = { "minmax", "mse" }, *const types[] = { "f32", "bf16", "f16" };
    static const size_t sizes[] = { 0, 1, 32, 50, 1000 };
    qd_error err = { 0 };
    qd_matf_buf w = { 0 };
    check_ok(qd_matf_buf_init(&w, 8, 120, &err));
    fill(w.view, 100);
    for (size_t combination = 0; combination < 2 * 3 * 5 * 3 * 2; combination++) {
        size_t c = combination;
        qd_grid_spec spec = { .rule = qd_scale_rule_find(rules[c % 2]) };
        spec.scale_type = qd_scale_type_find(types[(c /= 2) % 3]);
        spec.group_size = sizes[(c /= 3) % 5];
        spec.zero = (qd_zero_kind)((c /= 5) % 3);
        spec.narrow = (c /= 3) % 2 == 1;
        spec.alphabet = qd_alphabet_find(spec.zero == QD_ZERO_NONE ? "int" : "int-asymmetric");
        spec.shrink = combination % 7 == 0 ? 0.8 : 1.0;
        for (const double *bits = spec.alphabet->bits; *bits > 0; bits++) {
            spec.bits = *bits;
            check_grid(&spec, qd_matf_const(w.view));
        }
    }
    qd_matf_buf_fini(&w);
}

static qd_grid_spec plain_spec(qd_zero_kind zero, double bits)
{
    return (qd_grid_spec){ .alphabet = qd_alphabet_find(zero == QD_ZERO_NONE ? "int" : "int-asymmetric"),
                           .zero = zero,
                           .bits = bits,
                           .shrink = 1.0,
                           .rule = qd_scale_rule_find("minmax"),
                           .scale_type = qd_scale_type_find("f32") };
}

static void code_ranges_are_those_of_the_alphabets(void **state)
{
    (void)state;
    static const struct {
        qd_zero_kind zero;
        bool narrow;
        double bits;
        int32_t low, high;
    } rows[] = {
        { QD_ZERO_NONE, false, 4, -8, 7 },     { QD_ZERO_NONE, true, 4, -7, 7 },    { QD_ZERO_NONE, true, 2, -1, 1 },
        { QD_ZERO_NONE, false, 8, -128, 127 }, { QD_ZERO_INTEGER, false, 3, 0, 7 }, { QD_ZERO_FLOAT, true, 2, 0, 2 },
        { QD_ZERO_INTEGER, false, 8, 0, 255 }, { QD_ZERO_FLOAT, false, 6, 0, 63 },
    };
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        int32_t low, high;
        qd_grid_spec spec = plain_spec(rows[i].zero, rows[i].bits);
        spec.narrow = rows[i].narrow;
        qd_grid_range(&spec, &low, &high);
        assert_int_equal(low, rows[i].low);
        assert_int_equal(high, rows[i].high);
    }
}

/* Min-max: nothing is off by more than half a step, but for signed grids the positive extreme, one code short. */
static void minmax_reaches_every_weight(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_matf_buf w = { 0 };
    check_ok(qd_matf_buf_init(&w, 12, 90, &err));
    fill(w.view, 101);
    for (int zero = QD_ZERO_NONE; zero <= QD_ZERO_FLOAT; zero++) {
        qd_grid_spec spec = plain_spec((qd_zero_kind)zero, 4);
        qd_grid grid = { 0 };
        check_ok(qd_grid_build(&spec, qd_matf_const(w.view), NULL, NULL, &grid, &err));
        for (size_t i = 0; i < 12; i++)
            for (size_t j = 0; j < 90; j++) {
                double scale = (double)qd_matf_row(grid.scale.view, i)[0],
                       z = (double)qd_matf_row(grid.zero.view, i)[0];
                double value = (double)qd_matf_row(w.view, i)[j];
                double q = ((double)qd_grid_nearest(&grid, i, j, value) - z) * scale;
                /* an integer zero moves the grid by up to half a step more */
                double allowed = zero == QD_ZERO_FLOAT ? 0.501 : 1.001;
                check_near(q, value, allowed * scale);
            }
        qd_grid_fini(&grid);
    }
    qd_matf_buf_fini(&w);
}

static void rounding_is_half_to_even_and_clamps(void **state)
{
    (void)state;
    qd_error err = { 0 };
    float w[2] = { -8.0f, 1.0f };
    qd_grid_spec spec = plain_spec(QD_ZERO_NONE, 4);
    qd_grid grid = { 0 };
    check_ok(qd_grid_build(&spec, qd_cmatf_view(w, 1, 2), NULL, NULL, &grid, &err));
    assert_true(grid.scale.view.data[0] == 1.0f);
    static const double given[] = { 0.5, 1.5, 2.5, -0.5, -1.5, 7.4, 7.5, 1e30, -8.5, -1e30, 0.49999999999 };
    static const int32_t want[] = { 0, 2, 2, 0, -2, 7, 7, 7, -8, -8, 0 };
    for (size_t i = 0; i < QD_LENGTH(want); i++)
        assert_int_equal(qd_grid_nearest(&grid, 0, 0, given[i]), want[i]);
    qd_grid_fini(&grid);
}

/* The sweep must round ties the same way in both precisions and every kernel. */
static void sweep_rounds_ties_to_even_too(void **state)
{
    (void)state;
    layer_spec spec = { .rows = 2, .cols = 8, .damping = 1e12, .seed = 102 }; /* no feedback */
    layer l = layer_make(spec);
    static const float w[8] = { 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 7.5f, -8.5f, -2.5f };
    static const int32_t want[8] = { 0, 2, 2, 0, -2, 7, -8, -2 };
    memcpy(l.w.view.data, w, sizeof w);
    memcpy(l.w.view.data + 8, w, sizeof w);
    l.grid.scale.view.data[0] = l.grid.scale.view.data[1] = 1.0f;
    memset(l.gram.sum.view.data, 0, 64 * sizeof(double));
    for (size_t i = 0; i < 8; i++)
        l.gram.sum.view.data[9 * i] = 1.0;
    layer_factor(&l, &spec);
    for (size_t k = 0; qd_sweep_kernel_at(k) != NULL; k++)
        for (int precision = QD_FLOAT64; precision <= QD_FLOAT32; precision++) {
            if (!qd_sweep_kernel_at(k)->supported())
                continue;
            layer_optq(&l, (qd_precision)precision, qd_sweep_kernel_at(k));
            for (size_t j = 0; j < 16; j++)
                assert_int_equal(l.codes[j] + l.grid.low, want[j % 8]);
        }
    layer_free(&l);
}

static void group_below_zero_is_kept_by_both_kinds_of_zero(void **state)
{
    (void)state;
    qd_error err = { 0 };
    const float w[4] = { -5.0f, -4.5f, -4.25f, -4.0f };
    for (int zero = QD_ZERO_INTEGER; zero <= QD_ZERO_FLOAT; zero++) {
        qd_grid_spec spec = plain_spec((qd_zero_kind)zero, 4);
        qd_grid grid = { 0 };
        check_ok(qd_grid_build(&spec, qd_cmatf_view(w, 1, 4), NULL, NULL, &grid, &err));
        double scale = (double)grid.scale.view.data[0], z = (double)grid.zero.view.data[0];
        check_close(scale, zero == QD_ZERO_INTEGER ? 5.0 / 15.0 : 1.0 / 15.0, 1e-6);
        for (size_t j = 0; j < 4; j++)
            check_near(((double)qd_grid_nearest(&grid, 0, j, (double)w[j]) - z) * scale, (double)w[j], 0.501 * scale);
        qd_grid_fini(&grid);
    }
}

/* A constant far below zero: the range is raised, so that codes stay apart in float32. */
static void constant_group_far_below_zero_keeps_a_usable_zero(void **state)
{
    (void)state;
    static const float constants[] = { -1000.0f, -1e6f, -3e-7f };
    static const char *const rules[] = { "minmax", "mse" };
    for (size_t c = 0; c < 3 * 2 * 2; c++) {
        layer_spec spec = { .rows = 3,
                            .cols = 20,
                            .alphabet = "int-asymmetric",
                            .zero = QD_ZERO_FLOAT,
                            .bits = 8,
                            .rule = rules[c / 3 % 2],
                            .seed = 103 };
        layer l = layer_make(spec);
        for (size_t i = 0; i < 60; i++)
            l.w.view.data[i] = constants[c % 3];
        layer_grid(&l, &spec);
        assert_true(fabs((double)l.grid.zero.view.data[0]) <= 10.0 * 65536.0 * 1.001);
        layer_optq(&l, c / 6 == 0 ? QD_FLOAT64 : QD_FLOAT32, qd_sweep_kernel_best());
        assert_true(l.certificate.status == QD_CERTIFIED || l.certificate.status == QD_CERTIFIED_OVERLOAD);
        check_near(value_at(&l, 0, 0, l.codes[0]), (double)constants[c % 3], (double)l.grid.scale.view.data[0]);
        layer_free(&l);
    }
}

static void scales_of_extreme_weights_stay_positive_and_finite(void **state)
{
    (void)state;
    qd_error err = { 0 };
    static const float sizes[] = { 0.0f, 1e-38f, 1e-20f, 1e-5f, 1e4f, 1e38f };
    static const char *const types[] = { "f32", "bf16", "f16" }, *const rules[] = { "minmax", "mse" };
    for (size_t i = 0; i < 6 * 3 * 2; i++) {
        qd_grid_spec spec = plain_spec(QD_ZERO_NONE, 8);
        const float size = sizes[i % 6], w[3] = { size, -size, 0.5f * size };
        spec.scale_type = qd_scale_type_find(types[i / 6 % 3]);
        spec.rule = qd_scale_rule_find(rules[i / 18]);
        qd_grid grid = { 0 };
        qd_code code = qd_grid_build(&spec, qd_cmatf_view(w, 1, 3), NULL, NULL, &grid, &err);
        if (size > 1e30f && strcmp(spec.scale_type->name, "f16") == 0 && strcmp(spec.rule->name, "minmax") == 0) {
            assert_int_equal(code, QD_ENUMERIC);
            check_contains(err.text, "f16");
            continue;
        }
        if (code == QD_OK)
            assert_true(grid.scale.view.data[0] > 0.0f && isfinite(grid.scale.view.data[0]));
        else
            assert_int_equal(code, QD_ENUMERIC);
        qd_grid_fini(&grid);
    }
}

static void dequantized_values_are_code_minus_zero_times_scale(void **state)
{
    (void)state;
    layer l = layer_make((layer_spec){
        .rows = 3, .cols = 10, .alphabet = "int-asymmetric", .zero = QD_ZERO_FLOAT, .group_size = 4, .seed = 104 });
    qd_error err = { 0 };
    qd_matf_buf out = { 0 };
    check_ok(qd_matf_buf_init(&out, 3, 10, &err));
    for (size_t i = 0; i < 30; i++)
        l.codes[i] = (uint8_t)(i % 16);
    qd_grid_dequantize(&l.grid, l.codes, out.view);
    for (size_t i = 0; i < 30; i++) {
        size_t at = i / 10 * 3 + i % 10 / 4;
        assert_true(out.view.data[i] == ((float)(i % 16) - l.grid.zero.view.data[at]) * l.grid.scale.view.data[at]);
    }
    qd_matf_buf_fini(&out);
    layer_free(&l);
}

static void threads_do_not_change_a_scale(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_pool *pool = NULL;
    qd_matf_buf w = { 0 };
    check_ok(qd_pool_create(2, &pool, &err));
    check_ok(qd_matf_buf_init(&w, 100, 70, &err));
    fill(w.view, 105);
    qd_grid_spec spec = plain_spec(QD_ZERO_FLOAT, 3);
    spec.rule = qd_scale_rule_find("mse");
    spec.group_size = 16;
    qd_grid a = { 0 }, b = { 0 };
    check_ok(qd_grid_build(&spec, qd_matf_const(w.view), NULL, NULL, &a, &err));
    check_ok(qd_grid_build(&spec, qd_matf_const(w.view), NULL, pool, &b, &err));
    assert_memory_equal(a.scale.view.data, b.scale.view.data, 100 * 5 * sizeof(float));
    assert_memory_equal(a.zero.view.data, b.zero.view.data, 100 * 5 * sizeof(float));
    qd_grid_fini(&a);
    qd_grid_fini(&b);
    qd_matf_buf_fini(&w);
    qd_pool_destroy(pool);
}

static void bad_specs_and_weights_are_named(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_grid grid = { 0 };
    float w[6] = { 1, 2, 3, 4, 5, 6 };
    qd_grid_spec spec = plain_spec(QD_ZERO_NONE, 17);
    check_fails(qd_grid_build(&spec, qd_cmatf_view(w, 2, 3), NULL, NULL, &grid, &err), QD_EINVAL);
    check_contains(err.text, "17");
    spec.bits = 4;
    spec.shrink = NAN;
    check_fails(qd_grid_build(&spec, qd_cmatf_view(w, 2, 3), NULL, NULL, &grid, &err), QD_EINVAL);
    check_contains(err.text, "shrink");
    spec.shrink = 1.0;
    check_fails(qd_grid_build(&spec, qd_cmatf_view(w, 0, 3), NULL, NULL, &grid, &err), QD_ESHAPE);
    w[4] = NAN;
    check_fails(qd_grid_build(&spec, qd_cmatf_view(w, 2, 3), NULL, NULL, &grid, &err), QD_ENUMERIC);
    check_contains(err.text, "(1, 1)");
    w[4] = INFINITY;
    check_fails(qd_grid_build(&spec, qd_cmatf_view(w, 2, 3), NULL, NULL, &grid, &err), QD_ENUMERIC);
    assert_null(grid.scale.view.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_alphabet_and_width_is_the_twins_grid),
        cmocka_unit_test(code_ranges_are_those_of_the_alphabets),
        cmocka_unit_test(minmax_reaches_every_weight),
        cmocka_unit_test(rounding_is_half_to_even_and_clamps),
        cmocka_unit_test(sweep_rounds_ties_to_even_too),
        cmocka_unit_test(group_below_zero_is_kept_by_both_kinds_of_zero),
        cmocka_unit_test(constant_group_far_below_zero_keeps_a_usable_zero),
        cmocka_unit_test(scales_of_extreme_weights_stay_positive_and_finite),
        cmocka_unit_test(dequantized_values_are_code_minus_zero_times_scale),
        cmocka_unit_test(threads_do_not_change_a_scale),
        cmocka_unit_test(bad_specs_and_weights_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
