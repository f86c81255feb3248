/* test_scale.c: the scale rule that weighs errors by diag(H), against its definition. */
#include "layer.h"

/* sum_j h_j (w_j - q_j)^2 for one scale and zero. */
static double loss(const qd_grid *grid, const float *w, const double *h, size_t count, float scale, float zero)
{
    double sum = 0.0;
    for (size_t j = 0; j < count; j++) {
        double code = fmin(fmax(rint((double)w[j] / (double)scale + (double)zero), grid->low), grid->high);
        double error = (double)w[j] - (code - (double)zero) * (double)scale;
        sum += h[j] * error * error;
    }
    return sum;
}

/* The definition: p = 1, 0.99, ... 0.21 of range and lo, the first least loss. */
static void twin(const qd_grid_spec *spec, const qd_grid *grid, const float *w, const double *h, size_t count,
                 float *out_scale, float *out_zero)
{
    double least = 0.0, most = -INFINITY, absolute = 0.0, best = INFINITY;
    for (size_t j = 0; j < count; j++) {
        least = fmin(least, (double)w[j]);
        most = fmax(most, (double)w[j]);
        absolute = fmax(absolute, fabs((double)w[j]));
    }
    double range = spec->zero == QD_ZERO_NONE      ? absolute
                   : spec->zero == QD_ZERO_INTEGER ? fmax(most, 0.0) - least
                                                   : most - least;
    range = fmax(fmax(range, 1e-4), spec->zero == QD_ZERO_NONE ? 0.0 : -least * grid->high / 65536.0);
    for (int hundredths = 100; hundredths >= 21; hundredths--) {
        double p = spec->shrink * hundredths / 100.0;
        float scale = spec->scale_type->round(
            (float)(range * p / (spec->zero == QD_ZERO_NONE ? -(double)grid->low : (double)grid->high)));
        double zero = spec->zero == QD_ZERO_NONE ? 0.0 : -least * p / (double)scale;
        if (spec->zero == QD_ZERO_INTEGER)
            zero = fmin(fmax(rint(zero), grid->low), grid->high);
        double found = loss(grid, w, h, count, scale, (float)zero);
        if (found < best) {
            best = found;
            *out_scale = scale;
            *out_zero = (float)zero;
        }
    }
}

static void every_group_gets_the_first_least_of_eighty_scales(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 36; seed++) {
        qd_error err = { 0 };
        layer_spec spec = {
            .rows = 12, .cols = 70, .bits = 2 + (double)(seed % 3), .rule = "hessian-mse", .seed = seed
        };
        spec.group_size = seed % 4 == 0 ? 0 : 9 * (size_t)(seed % 4);
        spec.alphabet = seed % 3 == 0 ? "int" : "int-asymmetric";
        spec.zero = seed % 3 == 1 ? QD_ZERO_FLOAT : QD_ZERO_INTEGER;
        spec.narrow = seed % 5 == 0;
        spec.scale_type = seed % 2 ? "bf16" : "f32";
        spec.shrink = seed % 7 == 0 ? 0.8 : 1;
        layer l = layer_make(spec);
        qd_grid_spec grid_spec = grid_spec_of(&spec);
        double h[70];
        for (size_t j = 0; j < 70; j++)
            h[j] = qd_matd_row(l.gram.sum.view, j)[j];
        qd_grid grid = { 0 };
        check_ok(qd_grid_build(&grid_spec, qd_matf_const(l.w.view), h, NULL, &grid, &err));
        for (size_t i = 0; i < 12; i++)
            for (size_t g = 0; g < grid.groups; g++) {
                size_t start = g * grid.group_size;
                float scale = 0, zero = 0;
                twin(&grid_spec, &grid, qd_matf_row(l.w.view, i) + start, h + start,
                     qd_min_size(grid.group_size, 70 - start), &scale, &zero);
                check_close((double)qd_matf_row(grid.scale.view, i)[g], (double)scale, 1e-7); /* p by division or not */
                check_near((double)qd_matf_row(grid.zero.view, i)[g], (double)zero, 1e-5);
            }
        qd_grid_fini(&grid);
        layer_free(&l);
    }
}

/* Weighted error of rounding to nearest on the grid of a rule. */
static double error_on(const char *rule, const layer *l, layer_spec spec, const double *h)
{
    qd_error err = { 0 };
    qd_grid grid = { 0 };
    spec.rule = rule;
    qd_grid_spec grid_spec = grid_spec_of(&spec);
    check_ok(qd_grid_build(&grid_spec, qd_matf_const(l->w.view), h, NULL, &grid, &err));
    double sum = 0.0;
    for (size_t i = 0; i < l->rows; i++)
        for (size_t j = 0; j < l->cols; j++) {
            size_t g = j / grid.group_size;
            double scale = (double)qd_matf_row(grid.scale.view, i)[g], zero = (double)qd_matf_row(grid.zero.view, i)[g];
            double w = (double)qd_matf_row(l->w.view, i)[j], q = (qd_grid_nearest(&grid, i, j, w) - zero) * scale;
            sum += h[j] * (w - q) * (w - q);
        }
    qd_grid_fini(&grid);
    return sum;
}

static void weighted_errors_are_below_those_of_the_other_rules(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 6; seed++) {
        layer_spec spec = { .rows = 30, .cols = 64, .bits = 3, .group_size = seed % 2 ? 16 : 0, .seed = 60 + seed };
        layer l = layer_make(spec);
        double h[64];
        for (size_t j = 0; j < 64; j++)
            h[j] = qd_matd_row(l.gram.sum.view, j)[j];
        double weighted = error_on("hessian-mse", &l, spec, h);
        assert_true(weighted < error_on("minmax", &l, spec, h)); /* the range itself is a candidate */
        assert_true(weighted < 0.97 * error_on("mse", &l, spec, h));
        layer_free(&l);
    }
}

static void only_columns_that_carry_something_count(void **state)
{
    (void)state;
    qd_error err = { 0 };
    const float w[4] = { 0.3f, -0.3f, 0.3f, 8.0f };
    const double live[4] = { 1, 1, 1, 0 }, none[4] = { 0 };
    layer_spec three = { .bits = 3, .rule = "hessian-mse" };
    qd_grid_spec spec = grid_spec_of(&three);
    qd_grid grid = { 0 }, whole = { 0 };
    check_ok(qd_grid_build(&spec, qd_cmatf_view(w, 1, 4), live, NULL, &grid, &err));
    check_close((double)grid.scale.view.data[0], 8.0 / 4 * 0.21, 1e-6); /* as small as it gets: the 8 is never seen */
    check_ok(qd_grid_build(&spec, qd_cmatf_view(w, 1, 4), none, NULL, &whole, &err));
    check_close((double)whole.scale.view.data[0], 8.0 / 4, 1e-6); /* nothing counts: the range */
    qd_grid_fini(&grid);
    qd_grid_fini(&whole);
}

static void without_data_every_column_counts_the_same(void **state)
{
    (void)state;
    qd_error err = { 0 };
    layer_spec spec = { .rows = 9, .cols = 50, .bits = 3, .group_size = 20, .rule = "hessian-mse", .seed = 9 };
    layer l = layer_make(spec);
    qd_grid_spec grid_spec = grid_spec_of(&spec);
    double ones[50];
    for (size_t j = 0; j < 50; j++)
        ones[j] = 1.0;
    qd_grid grid = { 0 };
    check_ok(qd_grid_build(&grid_spec, qd_matf_const(l.w.view), ones, NULL, &grid, &err));
    assert_memory_equal(grid.scale.view.data, l.grid.scale.view.data, 9 * 3 * sizeof(float));
    qd_grid_fini(&grid);
    layer_free(&l);
}

/* What was chosen is one of what it says it chooses from. */
static void candidates_are_all_there_is_to_choose_from(void **state)
{
    (void)state;
    const qd_scale_rule *rule = qd_scale_rule_find("hessian-mse");
    layer_spec spec = { .rows = 20, .cols = 40, .bits = 3, .group_size = 16, .rule = "hessian-mse", .seed = 10 };
    layer l = layer_make(spec);
    qd_grid_spec grid_spec = grid_spec_of(&spec);
    for (size_t i = 0; i < 20; i++)
        for (size_t g = 0; g < 3; g++) {
            float scale = 0, zero = 0;
            size_t index = 0, count = g == 2 ? 8 : 16;
            while (rule->candidate(&grid_spec, qd_matf_row(l.w.view, i) + 16 * g, count, index, &scale, &zero) &&
                   scale != qd_matf_row(l.grid.scale.view, i)[g])
                index++;
            assert_true(index < 80);
        }
    assert_null(qd_scale_rule_find("mse")->candidate);
    layer_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_group_gets_the_first_least_of_eighty_scales),
        cmocka_unit_test(weighted_errors_are_below_those_of_the_other_rules),
        cmocka_unit_test(only_columns_that_carry_something_count),
        cmocka_unit_test(without_data_every_column_counts_the_same),
        cmocka_unit_test(candidates_are_all_there_is_to_choose_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
