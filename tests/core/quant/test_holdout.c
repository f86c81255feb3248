/* test_holdout.c: what is expected on held-out inputs, two ways; the lambda it chooses; and what is then measured there. */
#include "oracle.h"

/* A layer whose last inputs are held out: its factor is that of the others. */
typedef struct split {
    layer l;
    qd_gram fit, held;
    size_t first; /* row of X that is held out, and all after it */
} split;

static split split_make(layer_spec spec, size_t held)
{
    qd_error err = { 0 };
    split s = { .l = layer_make(spec) };
    size_t n = s.l.cols;
    s.first = s.l.tokens - held;
    check_ok(qd_gram_init(&s.fit, n, &err));
    check_ok(qd_gram_init(&s.held, n, &err));
    qd_cmatf x = qd_matf_const(s.l.x.view);
    check_ok(qd_gram_add(&s.fit, qd_cmatf_block(x, 0, 0, s.first, n), NULL, &err));
    check_ok(qd_gram_add(&s.held, qd_cmatf_block(x, s.first, 0, held, n), NULL, &err));
    check_ok(qd_gram_finish(&s.fit, &err));
    check_ok(qd_gram_finish(&s.held, &err));
    return s;
}

static void split_free(split *s)
{
    layer_free(&s->l);
    qd_gram_fini(&s->fit);
    qd_gram_fini(&s->held);
}

/* The layer's factor from the inputs that were not held out, by order and fraction of the mean diagonal. */
static void split_factor(split *s, const char *order, double value)
{
    qd_error err = { 0 };
    qd_factor_destroy(s->l.factor);
    s->l.factor = NULL;
    check_ok(qd_factor_create(qd_matd_const(s->fit.sum.view), qd_order_find(order),
                              qd_regularizer_find("mean_diagonal"), value, NULL, &s->l.factor, &err));
}

/* The definition, row by row: sum over held-out x of ||diag(r) U x||^2, over their number. */
static double expected_by_rows(const split *s)
{
    const qd_factor *f = s->l.factor;
    size_t n = f->features;
    double *h = oracle_matrix(n), *c = oracle_matrix(n), *u = oracle_matrix(n), sum = 0.0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            h[i * n + j] =
                qd_matd_row(s->fit.sum.view, f->permutation[i])[f->permutation[j]] + (i == j ? f->lambda : 0);
    oracle_cholesky(h, n, c);
    oracle_inverse(c, n, u);
    for (size_t row = s->first; row < s->l.tokens; row++)
        for (size_t t = 0; t < n; t++) {
            double ux = 0.0;
            for (size_t j = t; j < n; j++)
                ux += u[t * n + j] * (double)qd_matf_row(s->l.x.view, row)[f->permutation[j]];
            sum += ux * ux / (u[t * n + t] * u[t * n + t]); /* r_t = 1 / U_tt */
        }
    free(h);
    free(c);
    free(u);
    return sum / (double)(s->l.tokens - s->first);
}

static void expectation_by_rows_is_that_by_the_trace(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, 2, 40, 75 };
    static const char *const orders[] = { "natural", "norm-descending", "min-pivot", "auto" };
    for (size_t k = 0; k < 16; k++) {
        qd_error err = { 0 };
        split s = split_make((layer_spec){ .rows = 1, .cols = sizes[k % 4], .tokens = 120, .seed = k }, 30);
        double columns[75], t, sum = 0.0;
        split_factor(&s, orders[k / 4], k % 3 == 0 ? 1e-4 : 0.1);
        check_ok(qd_holdout_expect(s.l.factor, qd_matd_const(s.held.sum.view), NULL, columns, &t, &err));
        check_close(t, expected_by_rows(&s), 1e-6); /* products of the sums are float32 */
        for (size_t j = 0; j < sizes[k % 4]; j++)
            sum += columns[j];
        check_close(sum, t, 1e-13);
        split_free(&s);
    }
}

/* theory.md T7, property 16: over the inputs of H itself T = A = S - lambda S', S' = ||diag(r) U||_F^2. */
static void expectation_on_the_fitted_inputs_is_what_theory_says_of_them(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 8; seed++) {
        qd_error err = { 0 };
        layer l = layer_make((layer_spec){
            .rows = 1, .cols = 20 + 9 * (size_t)seed, .damping = pow(10, -3 + (double)(seed % 4)), .seed = seed });
        oracle o = oracle_of(&l);
        size_t n = o.n;
        double columns[100], t, s = 0.0, slope = 0.0;
        check_ok(qd_holdout_expect(l.factor, qd_matd_const(l.gram.sum.view), NULL, columns, &t, &err));
        for (size_t i = 0; i < n; i++) {
            s += o.c[i * n + i] * o.c[i * n + i];
            for (size_t j = i; j < n; j++)
                slope += o.c[i * n + i] * o.c[i * n + i] * o.r[i * n + j] * o.r[i * n + j];
        }
        check_close(t + l.factor->lambda * slope, s, 1e-10);
        oracle_free(&o);
        layer_free(&l);
    }
}

static void the_chosen_lambda_is_the_largest_within_a_hundredth_of_the_least(void **state)
{
    (void)state;
    double seen[6] = { 0 };
    for (uint64_t seed = 0; seed < 24; seed++) {
        qd_error err = { 0 };
        size_t rank = seed % 3 == 0 ? 6 : 0, tokens = seed % 3 == 1 ? 60 : 400;
        split s = split_make((layer_spec){ .rows = 1, .cols = 36, .tokens = tokens, .rank = rank, .seed = seed }, 24);
        if (seed % 4 == 3) /* held-out inputs of another kind: more damping */
            for (size_t j = 0; j < 36; j++)
                qd_matd_row(s.held.sum.view, j)[j] += 0.3 * qd_matd_row(s.fit.sum.view, j)[j];
        double t[6], least = INFINITY, want = 0.0;
        for (int k = 0; k < 6; k++) {
            double columns[36];
            split_factor(&s, "norm-descending", pow(10.0, -k));
            check_ok(qd_holdout_expect(s.l.factor, qd_matd_const(s.held.sum.view), NULL, columns, &t[k], &err));
            least = fmin(least, t[k]);
        }
        for (int k = 5; k >= 0; k--)
            if (t[k] <= 1.01 * least)
                want = pow(10.0, -k);
        qd_holdout found = { 0 };
        check_ok(qd_holdout_search(qd_matd_const(s.fit.sum.view), &s.held, qd_order_find("norm-descending"), NULL, NULL,
                                   &found, &err));
        check_close(found.value, want, 1e-12);
        assert_int_equal(found.tokens, 24);
        assert_true(found.t >= least && found.t <= 1.01 * least);
        seen[(size_t)lround(-log10(found.value))] += 1;
        qd_holdout_fini(&found);
        split_free(&s);
    }
    int kinds = 0;
    for (size_t k = 0; k < 6; k++)
        kinds += seen[k] > 0;
    assert_true(kinds >= 3); /* the rule sees the inputs */
}

/* For a diagonal H, T is tr H_hold at any lambda: a tie, which the largest wins. */
static void of_equal_expectations_the_largest_lambda_wins(void **state)
{
    (void)state;
    qd_error err = { 0 };
    const double fit[4] = { 2, 0, 0, 5 };
    qd_gram held = { .tokens = 3 };
    qd_holdout found = { 0 };
    check_ok(qd_matd_buf_init(&held.sum, 2, 2, &err));
    held.sum.view.data[0] = 3;
    held.sum.view.data[3] = 4;
    check_ok(qd_holdout_search((qd_cmatd){ 2, 2, 2, fit }, &held, qd_order_find("auto"), NULL, NULL, &found, &err));
    check_close(found.value, 1.0, 0);
    check_close(found.t, 7.0, 1e-14);
    qd_holdout_fini(&found);
    qd_gram_fini(&held);
}

static void a_column_that_only_held_out_inputs_know_costs_what_it_carries(void **state)
{
    (void)state;
    qd_error err = { 0 };
    const double fit[4] = { 2, 0, 0, 0 };
    qd_gram held = { .tokens = 1 };
    qd_holdout found = { 0 };
    check_ok(qd_matd_buf_init(&held.sum, 2, 2, &err));
    held.sum.view.data[0] = 1;
    held.sum.view.data[3] = 9;
    check_ok(qd_holdout_search((qd_cmatd){ 2, 2, 2, fit }, &held, qd_order_find("natural"), NULL, NULL, &found, &err));
    check_close(found.t, 10.0, 1e-14);
    check_close(found.column_t[1], 9.0, 1e-14);
    qd_holdout_fini(&found);
    qd_gram_fini(&held);
}

static void where_no_candidate_will_do_the_usual_damping_is_said_to_be_a_fallback(void **state)
{
    (void)state;
    qd_error err = { 0 };
    const double fit[4] = { 1, 40, 40, 1 }; /* no second moment: every candidate fails */
    layer l = layer_make((layer_spec){ .rows = 3, .cols = 2, .seed = 1 });
    qd_gram held = { .tokens = 5 };
    qd_holdout found = { 0 };
    check_ok(qd_matd_buf_init(&held.sum, 2, 2, &err));
    check_ok(qd_holdout_search((qd_cmatd){ 2, 2, 2, fit }, &held, qd_order_find("auto"), NULL, NULL, &found, &err));
    check_close(found.value, QD_DAMPING_FALLBACK, 0);
    assert_true(isnan(found.t) && isnan(found.column_t[0]) && isnan(found.column_t[1]));
    qd_factor_destroy(l.factor);
    l.factor = NULL;
    check_ok(qd_factor_create(qd_matd_const(l.gram.sum.view), qd_order_find("natural"), qd_regularizer_find("auto"),
                              found.value, NULL, &l.factor, &err));
    qd_layer_input input = layer_input(&l);
    input.holdout = &found;
    check_ok(qd_layer_round(qd_algorithm_find("optq"), &input, l.codes, &l.certificate, &err));
    assert_string_equal(l.certificate.lambda_source, "fallback");
    assert_true(isnan(l.certificate.heldout_expected_sq));
    input.holdout = NULL;
    check_ok(qd_layer_round(qd_algorithm_find("optq"), &input, l.codes, &l.certificate, &err));
    assert_string_equal(l.certificate.lambda_source, "fallback");
    assert_int_equal(l.certificate.heldout_tokens, 0);
    qd_holdout_fini(&found);
    qd_gram_fini(&held);
    layer_free(&l);
}

/* ||X_hold (w - q)^T||^2 and ||X_hold w^T||^2 over the held-out rows. */
static void errors_by_rows(const split *s, double *out_error, double *out_output)
{
    *out_error = *out_output = 0.0;
    for (size_t t = s->first; t < s->l.tokens; t++)
        for (size_t i = 0; i < s->l.rows; i++) {
            double error = 0.0, output = 0.0;
            for (size_t j = 0; j < s->l.cols; j++) {
                double x = (double)qd_matf_row(s->l.x.view, t)[j], w = (double)qd_matf_row(s->l.w.view, i)[j];
                error += x * (w - value_at(&s->l, i, j, s->l.codes[i * s->l.cols + j]));
                output += x * w;
            }
            *out_error += error * error / (double)(s->l.tokens - s->first);
            *out_output += output * output / (double)(s->l.tokens - s->first);
        }
}

/* Rounded by the inputs that were not held out: what was expected before is measured after, for both algorithms. */
static void what_is_expected_on_held_out_inputs_is_measured_there(void **state)
{
    (void)state;
    static const char *const algorithms[] = { "optq", "rtn" };
    for (size_t k = 0; k < 12; k++) {
        qd_error err = { 0 };
        split s = split_make((layer_spec){ .rows = 150,
                                           .cols = 60,
                                           .tokens = 500,
                                           .bits = 8,
                                           .group_size = k % 2 ? 16 : 0,
                                           .alphabet = "int-asymmetric",
                                           .zero = QD_ZERO_FLOAT,
                                           .seed = 500 + k },
                             100);
        qd_holdout found = { 0 };
        const qd_order *order = qd_order_find("auto");
        check_ok(qd_holdout_search(qd_matd_const(s.fit.sum.view), &s.held, order, NULL, NULL, &found, &err));
        qd_factor_destroy(s.l.factor);
        s.l.factor = NULL;
        check_ok(qd_factor_create(qd_matd_const(s.fit.sum.view), order, qd_regularizer_find("auto"), found.value, NULL,
                                  &s.l.factor, &err));
        check_close(s.l.factor->lambda_relative, found.value, 1e-14);
        qd_layer_input input = layer_input(&s.l);
        input.holdout = &found;
        check_ok(qd_layer_round(qd_algorithm_find(algorithms[k / 6]), &input, s.l.codes, &s.l.certificate, &err));
        const qd_certificate *c = &s.l.certificate;
        double error, output;
        errors_by_rows(&s, &error, &output);
        check_close(c->heldout_sq, error, 1e-4); /* H_hold is a float32 product */
        check_close(c->heldout_relative_error, sqrt(error / output), 1e-4);
        assert_true(c->heldout_expected_sq > 0.85 * error && c->heldout_expected_sq < 1.18 * error);
        assert_string_equal(c->lambda_source, "auto-holdout");
        assert_int_equal(c->heldout_tokens, 100);
        check_close(c->heldout_t, found.t, 0);
        qd_holdout_fini(&found);
        split_free(&s);
    }
}

static void grams_merge_into_that_of_all_inputs(void **state)
{
    (void)state;
    qd_error err = { 0 };
    split s = split_make((layer_spec){ .rows = 1, .cols = 33, .tokens = 90, .seed = 4 }, 20);
    for (size_t i = 0; i < 33 * 33; i++) { /* sums again */
        s.fit.sum.view.data[i] *= 70;
        s.held.sum.view.data[i] *= 20;
    }
    check_ok(qd_gram_merge(&s.fit, &s.held, &err));
    assert_int_equal(s.fit.tokens, 90);
    check_ok(qd_gram_finish(&s.fit, &err));
    for (size_t i = 0; i < 33 * 33; i++)
        check_near(s.fit.sum.view.data[i], s.l.gram.sum.view.data[i], 1e-4);
    qd_gram other = { 0 };
    check_ok(qd_gram_init(&other, 32, &err));
    check_fails(qd_gram_merge(&s.fit, &other, &err), QD_ESHAPE);
    qd_holdout found = { 0 };
    check_fails(
        qd_holdout_search(qd_matd_const(s.fit.sum.view), &other, qd_order_find("natural"), NULL, NULL, &found, &err),
        QD_ESHAPE);
    qd_gram_fini(&other);
    split_free(&s);
}

static void every_fifth_sequence_is_held_out(void **state)
{
    (void)state;
    size_t taken = 0;
    for (size_t i = 0; i < 64; i++) {
        assert_true(qd_holdout_takes(i) == (i % 5 == 4));
        taken += qd_holdout_takes(i);
    }
    assert_int_equal(taken, 12); /* of 64: reference-numbers.md §1 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expectation_by_rows_is_that_by_the_trace),
        cmocka_unit_test(expectation_on_the_fitted_inputs_is_what_theory_says_of_them),
        cmocka_unit_test(the_chosen_lambda_is_the_largest_within_a_hundredth_of_the_least),
        cmocka_unit_test(of_equal_expectations_the_largest_lambda_wins),
        cmocka_unit_test(a_column_that_only_held_out_inputs_know_costs_what_it_carries),
        cmocka_unit_test(where_no_candidate_will_do_the_usual_damping_is_said_to_be_a_fallback),
        cmocka_unit_test(what_is_expected_on_held_out_inputs_is_measured_there),
        cmocka_unit_test(grams_merge_into_that_of_all_inputs),
        cmocka_unit_test(every_fifth_sequence_is_held_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
