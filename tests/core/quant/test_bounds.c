/* test_bounds.c: the bounds T1 and T2 of theory.md §3: never exceeded, and attained by weights made for it. */
#include "oracle.h"

static void set_scales(layer *l, float scale)
{
    for (size_t i = 0; i < l->rows * l->grid.groups; i++)
        l->grid.scale.view.data[i] = scale;
}

/* w = q + M eps (I3): what the quantizer is given at step t is then q_t + eps_t. eps: rows x n, in steps of the
 * grid. */
static void set_arguments(layer *l, const int32_t *q, const double *eps)
{
    oracle o = oracle_of(l);
    size_t n = o.n;
    for (size_t i = 0; i < l->rows; i++)
        for (size_t t = 0; t < n; t++) {
            size_t column = l->factor->permutation[t], g = column / l->grid.group_size;
            double w = (double)q[i * n + t] * (double)qd_matf_row(l->grid.scale.view, i)[g];
            for (size_t j = 0; j <= t; j++) {
                size_t from = l->factor->permutation[j] / l->grid.group_size;
                w +=
                    o.r[j * n + t] / o.r[j * n + j] * eps[i * n + j] * (double)qd_matf_row(l->grid.scale.view, i)[from];
            }
            qd_matf_row(l->w.view, i)[column] = (float)w;
        }
    oracle_free(&o);
}

static void t1_is_attained_by_weights_half_a_step_off_everywhere(void **state)
{
    (void)state;
    layer l = layer_make(
        (layer_spec){ .rows = 6, .cols = 64, .bits = 8, .group_size = 24, .order = "norm-descending", .seed = 31 });
    for (size_t i = 0; i < l.rows * l.grid.groups; i++)
        l.grid.scale.view.data[i] = 0.125f * (float)(1 + i % 5);
    int32_t q[6 * 64];
    double eps[6 * 64];
    for (size_t i = 0; i < 6 * 64; i++) {
        q[i] = (int32_t)(qd_rng_bits(5, i) % 200) - 100;
        eps[i] = qd_rng_bits(6, i) & 1 ? 0.4999 : -0.4999;
    }
    set_arguments(&l, q, eps);
    layer_round(&l, "optq");
    assert_int_equal(l.certificate.status, QD_CERTIFIED);
    assert_int_equal(l.certificate.clip_count, 0);
    assert_true(l.certificate.ratio > 0.9997 && l.certificate.ratio <= 1.0);
    for (size_t i = 0; i < l.rows; i++)
        for (size_t t = 0; t < l.cols; t++)
            assert_int_equal(l.codes[i * l.cols + l.factor->permutation[t]] + l.grid.low, q[i * l.cols + t]);
    layer_free(&l);
}

static void t2_is_attained_by_weights_past_the_grid_everywhere(void **state)
{
    (void)state;
    layer l = layer_make((layer_spec){ .rows = 4, .cols = 48, .bits = 3, .order = "norm-descending", .seed = 32 });
    set_scales(&l, 0.5f);
    int32_t q[4 * 48];
    double eps[4 * 48];
    for (size_t i = 0; i < 4 * 48; i++) {
        int up = qd_rng_bits(7, i) & 1;
        q[i] = up ? l.grid.high : l.grid.low;
        eps[i] = (up ? 1.0 : -1.0) * (0.6 + 2.0 * qd_rng_uniform(8, i));
    }
    set_arguments(&l, q, eps);
    layer_round(&l, "optq");
    assert_int_equal(l.certificate.status, QD_CERTIFIED_OVERLOAD);
    assert_int_equal(l.certificate.clip_count, 4 * 48);
    assert_int_equal(l.certificate.clip_neurons, 4);
    check_close(l.certificate.energy_sq, l.certificate.overload_bound_sq, 1e-12);
    double most = 0.0;
    for (size_t i = 0; i < 4 * 48; i++)
        most = fmax(most, fabs(eps[i]));
    check_close(l.certificate.max_excess, most, 1e-5);
    layer_free(&l);
}

static void t1_holds_for_ten_thousand_neurons_that_do_not_clip(void **state)
{
    (void)state;
    static const char *const orders[] = { "natural", "norm-descending" };
    for (uint64_t seed = 0; seed < 4; seed++) {
        layer l = layer_make((layer_spec){ .rows = 2500,
                                           .cols = 20 + 6 * (size_t)seed,
                                           .bits = seed % 2 ? 8 : 6,
                                           .shrink = 3,
                                           .order = orders[seed % 2],
                                           .rank = seed == 3 ? 7 : 0,
                                           .damping = seed == 2 ? 1e-4 : 0.1,
                                           .seed = 40 + seed });
        qd_layer_input input = layer_input(&l);
        qd_error err = { 0 };
        qd_steps steps = { 0 };
        qd_feedback feedback = { 0 };
        qd_neuron *neurons = calloc(l.rows, sizeof *neurons);
        check_ok(qd_steps_init(&input, QD_DEAD_ZERO, &steps, &err));
        check_ok(qd_feedback_init(l.factor, QD_FLOAT64, NULL, &feedback, &err));
        check_ok(qd_sweep_run(&input, &steps, &feedback, qd_sweep_kernel_best(), l.codes, neurons, &err));
        double s = 0.0, ratio = 0.0;
        size_t unclipped = 0;
        for (size_t t = 0; t < l.cols; t++)
            s += steps.r2[t];
        for (size_t i = 0; i < l.rows; i++) {
            double scale = (double)qd_matf_row(l.grid.scale.view, i)[0], bound = scale * scale / 4.0 * s;
            assert_true(neurons[i].energy <= neurons[i].overload * (1.0 + 1e-12));
            if (neurons[i].clips > 0)
                continue;
            unclipped++;
            ratio += sqrt(neurons[i].energy / bound);
            assert_true(neurons[i].energy <= bound * (1.0 + 1e-12));
        }
        assert_true(unclipped > l.rows / 2);
        check_near(ratio / (double)unclipped, 0.577, 0.05); /* C1b: 1/sqrt(3) for errors uniform in a step */
        qd_steps_fini(&steps);
        qd_feedback_fini(&feedback);
        free(neurons);
        layer_free(&l);
    }
}

static void one_far_outlier_breaks_t1_and_the_status_says_so(void **state)
{
    (void)state;
    layer_spec spec = { .rows = 3, .cols = 40, .bits = 4, .shrink = 1.5, .seed = 33 };
    layer l = layer_make(spec);
    layer_round(&l, "optq");
    assert_int_equal(l.certificate.status, QD_CERTIFIED);
    qd_matf_row(l.w.view, 1)[5] = 500.0f; /* the grid is that of before */
    layer_round(&l, "optq");
    assert_int_equal(l.certificate.status, QD_CERTIFIED_OVERLOAD);
    assert_true(l.certificate.ratio > 1.0 && l.certificate.energy_sq <= l.certificate.overload_bound_sq);
    assert_true(l.certificate.clip_neurons == 1 && l.certificate.clip_count >= 1 && l.certificate.max_excess > 100.0);
    layer_free(&l);
}

static void two_overload_bounds_meet_t1_where_nothing_clips(void **state)
{
    (void)state;
    layer l = layer_make((layer_spec){ .rows = 9, .cols = 70, .bits = 5, .shrink = 1.6, .group_size = 16, .seed = 34 });
    layer_round(&l, "optq");
    assert_int_equal(l.certificate.status, QD_CERTIFIED);
    check_close(l.certificate.overload_bound_sq, l.certificate.bound_sq, 1e-12);
    check_close(l.certificate.expected_sq, l.certificate.bound_sq / 3.0, 1e-14);
    layer_free(&l);
}

static void expectation_is_near_the_measured_energy(void **state)
{
    (void)state;
    layer l =
        layer_make((layer_spec){ .rows = 128, .cols = 128, .shrink = 1.4, .order = "norm-descending", .seed = 35 });
    static const char *const algorithms[] = { "optq", "rtn" };
    for (size_t a = 0; a < 2; a++) {
        layer_round(&l, algorithms[a]);
        double relative = l.certificate.energy_sq / l.certificate.expected_sq;
        assert_true(relative > 0.8 && relative < 1.25);
    }
    layer_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(t1_is_attained_by_weights_half_a_step_off_everywhere),
        cmocka_unit_test(t2_is_attained_by_weights_past_the_grid_everywhere),
        cmocka_unit_test(t1_holds_for_ten_thousand_neurons_that_do_not_clip),
        cmocka_unit_test(one_far_outlier_breaks_t1_and_the_status_says_so),
        cmocka_unit_test(two_overload_bounds_meet_t1_where_nothing_clips),
        cmocka_unit_test(expectation_is_near_the_measured_energy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
