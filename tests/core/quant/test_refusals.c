/* test_refusals.c: what every algorithm refuses, by name, and leaves its outputs alone. */
#include "layer.h"

static const layer_spec spec = { .rows = 4, .cols = 12, .group_size = 5, .seed = 121 };

static void refuse(const qd_layer_input *input, qd_code code, const char *part)
{
    for (size_t a = 0; qd_algorithm_at(a) != NULL; a++) {
        qd_error err = { 0 };
        uint8_t codes[48] = { 0 };
        qd_certificate certificate = { .in = 99 };
        check_fails(qd_layer_round(qd_algorithm_at(a), input, codes, &certificate, &err), code);
        check_contains(err.text, part);
        assert_int_equal(certificate.in, 99);
    }
}

static void not_finite_weights_are_named(void **state)
{
    (void)state;
    static const float bad[] = { NAN, INFINITY, -INFINITY };
    for (size_t i = 0; i < 3; i++) {
        layer l = layer_make(spec);
        layer_streams(&l);
        qd_matf_row(l.w.view, 2)[7] = bad[i];
        const qd_layer_input input = layer_input(&l);
        refuse(&input, QD_ENUMERIC, "weight (2, 7)");
        layer_free(&l);
    }
}

static void bad_scales_and_zeros_are_named(void **state)
{
    (void)state;
    static const float bad[] = { NAN, INFINITY, 0.0f, -1.0f };
    for (size_t i = 0; i < 4; i++) {
        layer l = layer_make(spec);
        layer_streams(&l);
        const qd_layer_input input = layer_input(&l);
        qd_matf_row(l.grid.scale.view, 3)[1] = bad[i];
        refuse(&input, QD_ENUMERIC, "scale (3, 1)");
        qd_matf_row(l.grid.scale.view, 3)[1] = 1.0f;
        qd_matf_row(l.grid.zero.view, 1)[2] = i < 2 ? bad[i] : -INFINITY;
        refuse(&input, QD_ENUMERIC, "zero (1, 2)");
        layer_free(&l);
    }
}

static void wrong_shapes_are_refused(void **state)
{
    (void)state;
    layer l = layer_make(spec), other = layer_make((layer_spec){ .rows = 4, .cols = 11, .seed = 122 });
    qd_layer_input input = layer_input(&l);
    input.w = qd_cmatf_block(input.w, 0, 0, 0, 12);
    refuse(&input, QD_ESHAPE, "0 x 12");
    input = layer_input(&l);
    input.w = qd_cmatf_block(input.w, 0, 0, 3, 12);
    refuse(&input, QD_ESHAPE, "grid");
    input = layer_input(&l);
    input.w = qd_cmatf_block(input.w, 0, 0, 4, 10);
    refuse(&input, QD_ESHAPE, "groups");
    input = layer_input(&l);
    input.factor = other.factor;
    refuse(&input, QD_ESHAPE, "factor: 11 features");
    input = layer_input(&l);
    l.grid.high = 300;
    refuse(&input, QD_ESHAPE, "byte");
    layer_free(&l);
    layer_free(&other);
}

static void no_factor_is_refused_where_there_is_data_or_need(void **state)
{
    (void)state;
    qd_error err = { 0 };
    layer l = layer_make(spec);
    layer_streams(&l);
    qd_layer_input input = layer_input(&l);
    input.factor = NULL;
    refuse(&input, QD_EINVAL, "factor");
    input.tokens = 0;
    check_fails(qd_layer_round(qd_algorithm_find("optq"), &input, l.codes, &l.certificate, &err), QD_EINVAL);
    check_contains(err.text, "optq");
    layer_free(&l);
}

/* Too large for the arithmetic is the input's fault, not a broken bound. */
static void overflow_is_numeric_and_not_a_violation(void **state)
{
    (void)state;
    layer l = layer_make(spec);
    layer_streams(&l);
    const qd_layer_input input = layer_input(&l);
    for (size_t i = 0; i < 144; i++)
        l.factor->hessian.view.data[i] *= 1e300;
    for (size_t i = 0; i < 144; i++)
        l.factor->c.view.data[i] *= 1e150;
    for (size_t t = 0; t < 12; t++) {
        l.factor->diagonal[t] *= 1e300;
        l.factor->pivot[t] *= 1e150;
    }
    qd_matf_row(l.w.view, 0)[0] = 1e30f;
    refuse(&input, QD_ENUMERIC, "not finite");
    layer_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(not_finite_weights_are_named),
        cmocka_unit_test(bad_scales_and_zeros_are_named),
        cmocka_unit_test(wrong_shapes_are_refused),
        cmocka_unit_test(no_factor_is_refused_where_there_is_data_or_need),
        cmocka_unit_test(overflow_is_numeric_and_not_a_violation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
