/* test_rtn.c: round to nearest and its certificate: d |H_lambda| d^T with d the largest possible errors. */
#include "oracle.h"

static void every_code_is_the_nearest(void **state)
{
    (void)state;
    static const layer_spec shapes[] = {
        { .rows = 1, .cols = 1, .seed = 1 },
        { .rows = 33, .cols = 45, .bits = 3, .group_size = 7, .rule = "mse", .seed = 2 },
        { .rows = 5, .cols = 64, .alphabet = "int-asymmetric", .zero = QD_ZERO_FLOAT, .seed = 3 },
        { .rows = 5, .cols = 64, .alphabet = "int-asymmetric", .bits = 8, .narrow = true, .seed = 4 },
    };
    for (size_t s = 0; s < 4; s++) {
        layer l = layer_make(shapes[s]);
        layer_round(&l, "rtn");
        for (size_t i = 0; i < l.rows; i++)
            for (size_t j = 0; j < l.cols; j++) {
                double w = (double)qd_matf_row(l.w.view, i)[j], best = INFINITY;
                for (int code = 0; code <= l.grid.high - l.grid.low; code++)
                    best = fmin(best, fabs(w - value_at(&l, i, j, (uint8_t)code)));
                check_near(fabs(w - value_at(&l, i, j, l.codes[i * l.cols + j])), best, 1e-12);
            }
        layer_free(&l);
    }
}

static double bound_by_hand(const layer *l, const oracle *o)
{
    double bound = 0.0;
    for (size_t row = 0; row < l->rows; row++)
        for (size_t i = 0; i < o->n; i++)
            for (size_t j = 0; j < o->n; j++) {
                const float *scale = qd_matf_row(l->grid.scale.view, row);
                size_t a = l->factor->permutation[i] / l->grid.group_size,
                       b = l->factor->permutation[j] / l->grid.group_size;
                bound += fabs(o->h[i * o->n + j]) * (double)scale[a] * (double)scale[b] * QD_HALF_STEP * QD_HALF_STEP;
            }
    return bound;
}

static void energy_and_bound_are_those_of_the_definition(void **state)
{
    (void)state;
    layer l =
        layer_make((layer_spec){ .rows = 7, .cols = 60, .group_size = 11, .order = "norm-descending", .seed = 5 });
    oracle o = oracle_of(&l);
    layer_round(&l, "rtn");
    double energy = 0.0, weights = 0.0, *error = calloc(l.cols, sizeof *error);
    for (size_t i = 0; i < l.rows; i++) {
        for (size_t t = 0; t < l.cols; t++) {
            size_t j = l.factor->permutation[t];
            error[t] = (double)qd_matf_row(l.w.view, i)[j] - value_at(&l, i, j, l.codes[i * l.cols + j]);
            weights += error[t] * error[t];
        }
        energy += oracle_form(&o, error);
    }
    check_close(l.certificate.energy_sq, energy, 1e-11);
    check_close(l.certificate.weight_error_sq, weights, 1e-12);
    check_close(l.certificate.bound_sq, bound_by_hand(&l, &o), 1e-11);
    assert_true(l.certificate.identity_residual < 1e-11);
    free(error);
    oracle_free(&o);
    layer_free(&l);
}

/* Inputs without signs: H has none either, and errors of one sign add up. */
static layer positive_layer(uint64_t seed)
{
    layer_spec spec = { .rows = 3, .cols = 30, .seed = seed };
    layer l = layer_make(spec);
    for (size_t i = 0; i < 30 * 30; i++)
        l.gram.sum.view.data[i] = fabs(l.gram.sum.view.data[i]);
    for (size_t i = 0; i < 30; i++)
        qd_matd_row(l.gram.sum.view, i)[i] *= 30.0; /* keeps it definite */
    for (size_t i = 0; i < l.rows; i++)
        l.grid.scale.view.data[i] = 0.25f;
    layer_factor(&l, &spec);
    return l;
}

static void bound_is_attained_by_errors_of_half_a_step_and_one_sign(void **state)
{
    (void)state;
    layer l = positive_layer(6);
    for (size_t i = 0; i < l.rows * l.cols; i++)
        l.w.view.data[i] = 0.25f * ((float)(i % 9) - 4.0f + 0.4999f);
    layer_round(&l, "rtn");
    assert_int_equal(l.certificate.status, QD_CERTIFIED);
    assert_true(l.certificate.ratio > 0.9997 && l.certificate.ratio <= 1.0);
    layer_free(&l);
}

static void overload_bound_is_attained_by_weights_past_the_grid(void **state)
{
    (void)state;
    layer l = positive_layer(7);
    for (size_t i = 0; i < l.rows * l.cols; i++)
        l.w.view.data[i] = 2.0f + 0.5f * (float)qd_rng_uniform(9, i);
    layer_round(&l, "rtn");
    assert_int_equal(l.certificate.status, QD_CERTIFIED_OVERLOAD);
    assert_int_equal(l.certificate.clip_count, l.rows * l.cols);
    check_close(l.certificate.energy_sq, l.certificate.overload_bound_sq, 1e-11);
    assert_true(l.certificate.energy_sq > l.certificate.bound_sq);
    layer_free(&l);
}

static void without_data_the_error_is_that_of_the_weights_and_uncertified(void **state)
{
    (void)state;
    qd_error err = { 0 };
    layer l = layer_make((layer_spec){ .rows = 4, .cols = 20, .seed = 8 });
    qd_layer_input input = layer_input(&l);
    input.factor = NULL;
    input.tokens = 0;
    check_ok(qd_layer_round(qd_algorithm_find("rtn"), &input, l.codes, &l.certificate, &err));
    assert_int_equal(l.certificate.status, QD_UNCERTIFIED);
    check_close(l.certificate.energy_sq, l.certificate.weight_error_sq, 1e-12);
    check_close(l.certificate.s, 20.0, 1e-15);
    check_close(l.certificate.gram_scale, 1.0, 0.0);
    double norm = 0.0;
    for (size_t i = 0; i < l.rows * l.cols; i++)
        norm += (double)l.w.view.data[i] * (double)l.w.view.data[i];
    check_close(l.certificate.output_sq, norm, 1e-12);
    layer_free(&l);
}

static void rtn_keeps_the_weights_of_dead_columns(void **state)
{
    (void)state;
    layer l = layer_make((layer_spec){ .rows = 4, .cols = 20, .dead = 7, .seed = 9 });
    layer_round(&l, "rtn");
    assert_int_equal(l.certificate.dead_columns, 1);
    for (size_t i = 0; i < l.rows; i++)
        assert_int_equal(l.codes[i * 20 + 7] + l.grid.low,
                         qd_grid_nearest(&l.grid, i, 7, (double)qd_matf_row(l.w.view, i)[7]));
    layer_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_is_the_nearest),
        cmocka_unit_test(energy_and_bound_are_those_of_the_definition),
        cmocka_unit_test(bound_is_attained_by_errors_of_half_a_step_and_one_sign),
        cmocka_unit_test(overload_bound_is_attained_by_weights_past_the_grid),
        cmocka_unit_test(without_data_the_error_is_that_of_the_weights_and_uncertified),
        cmocka_unit_test(rtn_keeps_the_weights_of_dead_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
