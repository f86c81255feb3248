/* test_equivariance.c: what must not change OPTQ's answer, or changes it by a known factor (algorithms.md §12 N1-N5;
 * theory.md §10). */
#include "oracle.h"

static uint8_t *copy_codes(const layer *l)
{
    uint8_t *copy = calloc(l->rows, l->cols);
    assert_non_null(copy);
    memcpy(copy, l->codes, l->rows * l->cols);
    return copy;
}

static void check_same_codes(const layer *l, uint8_t *want)
{
    assert_int_equal(codes_differing(l->codes, want, l->rows * l->cols), 0);
    free(want);
}

static const layer_spec specs[] = {
    { .rows = 11, .cols = 70, .bits = 3, .order = "norm-descending", .seed = 51 },
    { .rows = 11, .cols = 70, .alphabet = "int-asymmetric", .zero = QD_ZERO_FLOAT, .group_size = 32, .seed = 52 },
    { .rows = 3, .cols = 150, .alphabet = "int-asymmetric", .bits = 2, .rule = "mse", .seed = 53 },
};
enum { SPECS = QD_LENGTH(specs) };

static void weights_on_the_grid_are_returned(void **state)
{
    (void)state;
    static const char *const algorithms[] = { "optq", "rtn" };
    for (size_t s = 0; s < SPECS; s++)
        for (size_t a = 0; a < 2; a++) {
            layer l = layer_make(specs[s]);
            layer_round(&l, algorithms[a]);
            uint8_t *want = copy_codes(&l);
            qd_grid_dequantize(&l.grid, l.codes, l.w.view);
            layer_round(&l, algorithms[a]);
            check_same_codes(&l, want);
            assert_true(l.certificate.relative_error < 1e-6); /* q itself was rounded to float32 */
            assert_true(l.certificate.identity_residual < 1e-9 && l.certificate.clip_count == 0);
            layer_free(&l);
        }
}

static void infinite_damping_makes_optq_rtn(void **state)
{
    (void)state;
    for (size_t s = 0; s < SPECS; s++) {
        layer_spec spec = specs[s];
        spec.damping = 1e12;
        layer l = layer_make(spec);
        layer_round(&l, "rtn");
        uint8_t *want = copy_codes(&l);
        layer_round(&l, "optq");
        check_same_codes(&l, want);
        layer_free(&l);
    }
}

static void diagonal_hessian_makes_optq_rtn_in_every_order(void **state)
{
    (void)state;
    static const char *const orders[] = { "natural", "norm-descending" };
    for (size_t o = 0; o < 2; o++)
        for (int even = 0; even < 2; even++) {
            layer_spec spec = specs[0];
            spec.order = orders[o];
            layer l = layer_make(spec);
            for (size_t i = 0; i < l.cols; i++)
                for (size_t j = 0; j < l.cols; j++)
                    qd_matd_row(l.gram.sum.view, i)[j] = i != j ? 0.0 : even ? 3.0 : 1.0 + (double)(i * 7 % 13);
            layer_factor(&l, &spec);
            layer_round(&l, "rtn");
            uint8_t *want = copy_codes(&l);
            layer_round(&l, "optq");
            check_same_codes(&l, want);
            check_close(l.certificate.trace_ratio, 1.0, 1e-12); /* S = tr H_lambda */
            if (even)
                check_close(l.certificate.am_gm, 1.0, 1e-12);
            layer_free(&l);
        }
}

static void scaling_the_inputs_scales_errors_and_leaves_the_codes(void **state)
{
    (void)state;
    for (size_t s = 0; s < SPECS; s++) {
        layer l = layer_make(specs[s]);
        layer_round(&l, "optq");
        uint8_t *want = copy_codes(&l);
        qd_certificate before = l.certificate;
        for (size_t i = 0; i < l.cols * l.cols; i++)
            l.gram.sum.view.data[i] *= 49.0;
        layer_factor(&l, &specs[s]);
        layer_round(&l, "optq");
        check_same_codes(&l, want);
        check_close(l.certificate.energy_sq, 49.0 * before.energy_sq, 1e-10);
        check_close(l.certificate.error_sq, 49.0 * before.error_sq, 1e-9);
        check_close(l.certificate.bound_sq, 49.0 * before.bound_sq, 1e-12);
        check_close(l.certificate.s, 49.0 * before.s, 1e-12);
        check_close(l.certificate.lambda, 49.0 * before.lambda, 1e-12);
        check_close(l.certificate.relative_error, before.relative_error, 1e-9);
        check_close(l.certificate.am_gm, before.am_gm, 1e-12);
        layer_free(&l);
    }
}

static void scaling_a_row_scales_its_quantized_row(void **state)
{
    (void)state;
    for (size_t s = 0; s < SPECS; s++) {
        layer l = layer_make(specs[s]);
        layer_round(&l, "optq");
        uint8_t *want = copy_codes(&l);
        qd_matf_buf scales = l.grid.scale;
        l.grid.scale = (qd_matf_buf){ 0 };
        for (size_t i = 0; i < l.rows; i++)
            for (size_t j = 0; j < l.cols; j++)
                qd_matf_row(l.w.view, i)[j] *= i % 2 ? 8.0f : 0.125f;
        layer_grid(&l, &specs[s]);
        layer_round(&l, "optq");
        check_same_codes(&l, want);
        for (size_t i = 0; i < l.rows * l.grid.groups; i++) {
            double factor = i / l.grid.groups % 2 ? 8.0 : 0.125;
            check_close((double)l.grid.scale.view.data[i], factor * (double)scales.view.data[i], 1e-7);
        }
        qd_matf_buf_fini(&scales);
        layer_free(&l);
    }
}

/* The same layer with its features in another order: the same codes, moved along. */
static void permuting_the_features_permutes_the_codes(void **state)
{
    (void)state;
    layer_spec spec = specs[0];
    layer a = layer_make(spec), b = layer_make(spec);
    size_t n = a.cols, to[70];
    for (size_t j = 0; j < n; j++)
        to[j] = (j * 27 + 5) % n; /* 27 and 70 have no common divisor */
    for (size_t j = 0; j < n; j++) {
        for (size_t i = 0; i < a.rows; i++)
            qd_matf_row(b.w.view, i)[to[j]] = qd_matf_row(a.w.view, i)[j];
        for (size_t i = 0; i < n; i++)
            qd_matd_row(b.gram.sum.view, to[i])[to[j]] = qd_matd_row(a.gram.sum.view, i)[j];
    }
    layer_factor(&b, &spec);
    layer_round(&a, "optq");
    layer_round(&b, "optq");
    for (size_t i = 0; i < a.rows; i++)
        for (size_t j = 0; j < n; j++)
            assert_int_equal(a.codes[i * n + j], b.codes[i * n + to[j]]);
    check_close(a.certificate.energy_sq, b.certificate.energy_sq,
                1e-13); /* the mean diagonal is summed in another order */
    assert_string_not_equal(a.certificate.permutation_hash, b.certificate.permutation_hash);
    layer_free(&a);
    layer_free(&b);
}

static void rows_do_not_see_each_other(void **state)
{
    (void)state;
    layer l = layer_make((layer_spec){ .rows = 67, .cols = 40, .bits = 3, .seed = 54 });
    layer_round(&l, "optq");
    uint8_t *want = copy_codes(&l);
    for (size_t j = 0; j < l.cols; j++)
        qd_matf_row(l.w.view, 65)[j] *= -3.0f;
    layer_round(&l, "optq");
    assert_memory_equal(l.codes, want, 65 * l.cols);
    assert_memory_equal(l.codes + 66 * l.cols, want + 66 * l.cols, l.cols);
    assert_true(codes_differing(l.codes + 65 * l.cols, want + 65 * l.cols, l.cols) > 0);
    free(want);
    layer_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_on_the_grid_are_returned),
        cmocka_unit_test(infinite_damping_makes_optq_rtn),
        cmocka_unit_test(diagonal_hessian_makes_optq_rtn_in_every_order),
        cmocka_unit_test(scaling_the_inputs_scales_errors_and_leaves_the_codes),
        cmocka_unit_test(scaling_a_row_scales_its_quantized_row),
        cmocka_unit_test(permuting_the_features_permutes_the_codes),
        cmocka_unit_test(rows_do_not_see_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
