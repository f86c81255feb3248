/* test_properties.c: the certificate's promises over random layers of every kind (theory.md §10). */
#include "oracle.h"

static layer_spec random_spec(uint64_t seed)
{
    static const double widths[] = { 2, 3, 4, 5, 6, 7, 8 };
    static const char *const types[] = { "f32", "bf16", "f16", "e8m0" };
    static const char *const sets[] = { "e2m1", "nf4", "mxfp4", "ternary", "levels" };
    static const double own[] = { -1, -0.625, -0.25, 0.5, 0.75, 1.5, 4 };
    layer_spec s = { .rows = 1 + qd_rng_below(seed, 0, 90), .cols = 1 + qd_rng_below(seed, 1, 150), .seed = seed };
    s.bits = widths[qd_rng_below(seed, 2, 6)];
    s.group_size = qd_rng_below(seed, 3, 3) == 0 ? 0 : 1 + qd_rng_below(seed, 4, s.cols + 20);
    s.alphabet = qd_rng_below(seed, 5, 2) ? "int" : "int-asymmetric";
    s.zero = qd_rng_below(seed, 6, 2) ? QD_ZERO_FLOAT : QD_ZERO_INTEGER;
    s.narrow = qd_rng_below(seed, 7, 3) == 0;
    s.rule = qd_scale_rule_at((size_t)qd_rng_below(seed, 8, 3))->name;
    s.scale_type = types[qd_rng_below(seed, 9, 4)];
    if (qd_rng_below(seed, 21, 2) == 0)
        s.alphabet = sets[qd_rng_below(seed, 22, QD_LENGTH(sets))];
    s.levels = own;
    s.level_count = 2 + qd_rng_below(seed, 23, QD_LENGTH(own) - 1);
    s.order = qd_order_at((size_t)qd_rng_below(seed, 10, 4))->name;
    s.rank = qd_rng_below(seed, 11, 3) == 0 ? 1 + qd_rng_below(seed, 12, s.cols) : 0;
    s.tokens = 1 + qd_rng_below(seed, 13, 3 * s.cols);
    s.dead = s.cols > 2 && qd_rng_below(seed, 14, 3) == 0 ? 1 + qd_rng_below(seed, 15, s.cols - 1) : 0;
    s.duplicate = s.cols > 2 && qd_rng_below(seed, 16, 3) == 0 ? 1 + qd_rng_below(seed, 17, s.cols - 1) : 0;
    s.damping = pow(10.0, -8.0 + 9.0 * qd_rng_uniform(seed, 18));
    s.shrink = qd_rng_below(seed, 19, 4) == 0 ? 0.8 : 1.0;
    return s;
}

/* Weights of several kinds: normal, 0/1, hugely spread over rows, zero rows, repeated rows. */
static void spoil_weights(layer *l, uint64_t seed)
{
    uint64_t kind = qd_rng_below(seed, 20, 5);
    for (size_t i = 0; i < l->rows; i++)
        for (size_t j = 0; j < l->cols; j++) {
            float *w = qd_matf_row(l->w.view, i) + j;
            if (kind == 1)
                *w = *w > 0.0f ? 1.0f : 0.0f;
            else if (kind == 2)
                *w *= (float)pow(10.0, (double)(i % 9) - 6.0);
            else if (kind == 3 && i % 3 == 0)
                *w = 0.0f;
            else if (kind == 4)
                *w = qd_matf_row(l->w.view, 0)[j];
        }
}

static void check_promises(const layer *l, const qd_certificate *c, double tolerance)
{
    assert_true(c->identity_residual <= tolerance);
    assert_true(c->status == (c->clip_count > 0 ? QD_CERTIFIED_OVERLOAD : QD_CERTIFIED));
    assert_true(c->energy_sq <= c->overload_bound_sq * (1.0 + tolerance));
    if (c->clip_count == 0)
        assert_true(c->ratio <= 1.0 + tolerance && c->max_excess <= 0.5);
    assert_true((c->clip_neurons > 0) == (c->clip_count > 0) && c->clip_neurons <= l->rows);
    assert_true(c->clip_count <= l->rows * l->cols);
    assert_true(c->error_sq >= -1e-9 * c->energy_sq && c->error_sq <= c->energy_sq);
    assert_true(c->am_gm >= 1.0 && c->gap_db >= -1e-9 && c->trace_ratio <= 1.0 + 1e-9);
    assert_true(c->r2_min > 0.0 && c->r2_min <= c->r2_max && c->s <= c->r2_max * (double)l->cols * (1.0 + 1e-12));
    const double values[] = { c->energy_sq,      c->bound_sq,  c->expected_sq,     c->overload_bound_sq,
                              c->relative_error, c->sqnr_db,   c->weight_error_sq, c->identity_residual,
                              c->output_sq,      c->max_excess };
    for (size_t i = 0; i < QD_LENGTH(values); i++)
        assert_true(isfinite(values[i]));
}

static void promises_hold_for_random_layers(void **state)
{
    (void)state;
    for (uint64_t seed = 1000; seed < 1300; seed++) {
        layer_spec spec = random_spec(seed);
        layer l = layer_make(spec);
        spoil_weights(&l, seed);
        layer_grid(&l, &spec);
        layer_round(&l, "rtn");
        check_promises(&l, &l.certificate, 1e-9);
        layer_round(&l, "optq");
        check_promises(&l, &l.certificate, 1e-9);
        if (spec.dead > 0)
            for (size_t i = 0; i < l.rows; i++)
                assert_int_equal(l.codes[i * l.cols + spec.dead] + l.grid.low,
                                 qd_grid_nearest(&l.grid, i, spec.dead, 0.0));
        layer_free(&l);
    }
}

static void float32_keeps_them_where_conditioning_allows(void **state)
{
    (void)state;
    for (uint64_t seed = 2000; seed < 2100; seed++) {
        layer_spec spec = random_spec(seed);
        if (qd_rng_below(seed, 20, 5) == 1)
            continue; /* 0/1 weights lie almost on the grid: see the next test */
        spec.damping = fmax(spec.damping, 1e-3);
        layer l = layer_make(spec);
        spoil_weights(&l, seed);
        layer_grid(&l, &spec);
        layer_optq(&l, QD_FLOAT32, qd_sweep_kernel_best());
        assert_string_equal(l.certificate.precision, "float32");
        assert_true(l.certificate.identity_residual <= 1e-4);
        assert_true(l.certificate.status == QD_CERTIFIED || l.certificate.status == QD_CERTIFIED_OVERLOAD);
        layer_free(&l);
    }
}

static void float32_that_is_not_enough_is_done_again_in_float64(void **state)
{
    (void)state;
    layer_spec spec = { .rows = 3, .cols = QD_FLOAT32_COLUMNS, .tokens = 40, .bits = 8, .damping = 3, .seed = 132 };
    layer l = layer_make(spec);
    layer_round(&l, "optq");
    assert_string_equal(l.certificate.precision, "float32");
    assert_true(l.certificate.identity_residual < 1e-4);
    for (size_t i = 0; i < l.rows * l.cols; i++) /* almost on the grid: errors near the last digits of the arguments */
        l.w.view.data[i] = l.w.view.data[i] > 0.0f ? 1.0f : 0.0f;
    for (size_t i = 0; i < l.rows; i++)
        l.grid.scale.view.data[i] = 0.99998f / 100.0f;
    layer_optq(&l, QD_FLOAT32, qd_sweep_kernel_best());
    assert_int_equal(l.certificate.status, QD_NUMERIC_SUSPECT);
    layer_round(&l, "optq");
    assert_string_equal(l.certificate.precision, "float64");
    assert_true(l.certificate.identity_residual < 1e-9);
    assert_int_equal(l.certificate.status, QD_CERTIFIED);
    layer_free(&l);
}

/* theory.md §10, 8: the first of two equal columns has its error taken over by the second. */
static void first_of_two_equal_columns_costs_almost_nothing(void **state)
{
    (void)state;
    layer l = layer_make((layer_spec){ .rows = 8, .cols = 30, .duplicate = 20, .damping = 1e-7, .seed = 131 });
    double first = qd_matd_row(l.factor->c.view, 0)[0];
    assert_true(first * first <= 2.001 * l.factor->lambda);
    layer_round(&l, "optq");
    assert_true(l.certificate.identity_residual < 1e-9);
    layer_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(promises_hold_for_random_layers),
        cmocka_unit_test(float32_keeps_them_where_conditioning_allows),
        cmocka_unit_test(float32_that_is_not_enough_is_done_again_in_float64),
        cmocka_unit_test(first_of_two_equal_columns_costs_almost_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
