/* test_factor.c: the reversed Cholesky factor, its pivots, orders and the ladder of damping. */
#include "oracle.h"

static void c_is_the_upper_factor_and_its_inverse_that_of_the_inverse(void **state)
{
    (void)state;
    static const char *const orders[] = { "natural", "norm-descending", "min-pivot", "auto" };
    static const size_t sizes[] = { 1, 2, 17, 64, 97 };
    for (size_t i = 0; i < 20; i++) {
        layer l = layer_make((layer_spec){ .rows = 1, .cols = sizes[i / 4], .order = orders[i % 4], .seed = i });
        oracle o = oracle_of(&l);
        size_t n = o.n;
        double scale = 0.0;
        for (size_t t = 0; t < n; t++)
            scale = fmax(scale, o.h[t * n + t]);
        for (size_t a = 0; a < n; a++)
            for (size_t b = 0; b < n; b++) {
                double product = 0.0, inverse = 0.0;
                for (size_t k = 0; k < n; k++)
                    product += qd_matd_row(l.factor->c.view, a)[k] * qd_matd_row(l.factor->c.view, b)[k];
                check_near(product, o.h[a * n + b], 1e-13 * scale * (double)n);
                check_near(qd_matd_row(l.factor->c.view, a)[b], o.c[a * n + b], 1e-11 * sqrt(scale));
                if (a > b)
                    assert_true(qd_matd_row(l.factor->c.view, a)[b] == 0.0);
                for (size_t k = 0; k < n; k++) /* (R^T R) H = I */
                    for (size_t m = 0; m <= a && m <= k; m++)
                        inverse += o.r[m * n + a] * o.r[m * n + k] * o.h[k * n + b];
                check_near(inverse, a == b ? 1.0 : 0.0, 1e-9);
            }
        oracle_free(&o);
        layer_free(&l);
    }
}

/* theory.md §2: r_t^2 = H_tt - H_t,>t (H_>t,>t)^-1 H_>t,t, by elimination from the end. */
static void squared_pivots_are_schur_complements(void **state)
{
    (void)state;
    layer l = layer_make((layer_spec){ .rows = 1, .cols = 45, .order = "norm-descending", .seed = 4 });
    oracle o = oracle_of(&l);
    size_t n = o.n;
    for (size_t t = n; t-- > 0;) {
        double pivot = qd_matd_row(l.factor->c.view, t)[t];
        check_close(pivot * pivot, o.h[t * n + t], 1e-10);
        assert_true(l.factor->pivot[t] == pivot);
        assert_true(l.factor->diagonal[t] == qd_matd_row(l.factor->hessian.view, t)[t]);
        for (size_t i = 0; i < t; i++)
            for (size_t j = 0; j < t; j++)
                o.h[i * n + j] -= o.h[i * n + t] * o.h[t * n + j] / o.h[t * n + t];
    }
    oracle_free(&o);
    layer_free(&l);
}

static double log_determinant(const qd_factor *factor, double *out_s)
{
    double sum = 0.0;
    *out_s = 0.0;
    for (size_t t = 0; t < factor->features; t++) {
        double pivot = qd_matd_row(factor->c.view, t)[t];
        sum += 2.0 * log(pivot);
        *out_s += pivot * pivot;
    }
    return sum;
}

static void orders_change_the_sum_of_pivots_but_not_their_product(void **state)
{
    (void)state;
    layer_spec spec = { .rows = 1, .cols = 60, .seed = 12, .order = "natural" };
    layer l = layer_make(spec);
    double natural_s, descending_s, natural = log_determinant(l.factor, &natural_s);
    spec.order = "norm-descending";
    layer_factor(&l, &spec);
    double descending = log_determinant(l.factor, &descending_s);
    check_close(descending, natural, 1e-12);
    assert_true(fabs(descending_s - natural_s) > 0.01 * natural_s);
    layer_free(&l);
}

static void pivots_sum_to_at_most_the_trace_and_the_last_is_its_diagonal(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 6; seed++) {
        layer l = layer_make((layer_spec){ .rows = 1,
                                           .cols = 20 + 7 * (size_t)seed,
                                           .order = seed % 2 ? "natural" : "norm-descending",
                                           .rank = seed % 3 == 2 ? 5 : 0,
                                           .seed = seed });
        double s, trace = 0.0;
        size_t n = l.cols;
        log_determinant(l.factor, &s);
        for (size_t j = 0; j < n; j++)
            trace += qd_matd_row(l.gram.sum.view, j)[j];
        check_close(l.factor->trace, trace, 1e-14);
        assert_true(s <= (trace + (double)n * l.factor->lambda) * (1.0 + 1e-12));
        double last = qd_matd_row(l.factor->c.view, n - 1)[n - 1];
        check_close(last * last, qd_matd_row(l.factor->hessian.view, n - 1)[n - 1] + l.factor->lambda, 1e-12);
        check_close(l.factor->lambda, 0.01 * trace / (double)n, 1e-12);
        check_close(l.factor->lambda_relative, 0.01, 1e-12);
        layer_free(&l);
    }
}

/* theory.md §5, T7: S is increasing and concave in lambda. */
static void sum_of_pivots_grows_concavely_with_lambda(void **state)
{
    (void)state;
    layer_spec spec = { .rows = 1, .cols = 40, .rank = 12, .seed = 3 };
    layer l = layer_make(spec);
    double s[4], lambda[4];
    for (size_t i = 0; i < 4; i++) {
        spec.damping = 1e-3 * pow(10.0, (double)i);
        layer_factor(&l, &spec);
        log_determinant(l.factor, &s[i]);
        lambda[i] = l.factor->lambda;
    }
    for (size_t i = 0; i + 1 < 4; i++)
        assert_true(s[i + 1] > s[i]);
    for (size_t i = 0; i + 2 < 4; i++)
        assert_true((s[i + 1] - s[i]) / (lambda[i + 1] - lambda[i]) >
                    (s[i + 2] - s[i + 1]) / (lambda[i + 2] - lambda[i + 1]));
    layer_free(&l);
}

static void descending_order_is_sorted_and_stable(void **state)
{
    (void)state;
    qd_error err = { 0 };
    double h[25] = { 0 };
    static const double diagonal[5] = { 2, 7, 2, 0, 7 };
    static const uint32_t want[5] = { 1, 4, 0, 2, 3 };
    uint32_t permutation[5];
    for (size_t i = 0; i < 5; i++)
        h[6 * i] = diagonal[i];
    qd_cmatd view = { 5, 5, 5, h };
    const qd_order *chosen = NULL;
    check_ok(qd_order_find("norm-descending")->permute(view, 0.0, permutation, &chosen, &err));
    assert_memory_equal(permutation, want, sizeof want);
    check_ok(qd_order_find("natural")->permute(view, 0.0, permutation, &chosen, &err));
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(permutation[i], i);
}

static qd_code factor_of(const double *h, size_t n, double damping, qd_factor **out, qd_error *err)
{
    return qd_factor_create((qd_cmatd){ n, n, n, h }, qd_order_find("natural"), qd_regularizer_find("mean_diagonal"),
                            damping, NULL, out, err);
}

static void indefinite_matrix_is_damped_ten_times_more_until_it_works(void **state)
{
    (void)state;
    qd_error err = { 0 };
    const double h[4] = { 1, 2, 2, 1 }; /* eigenvalues 3 and -1: 0.01, 0.1 and 1 fail, 10 works */
    qd_factor *factor = NULL;
    check_ok(factor_of(h, 2, 0.01, &factor, &err));
    assert_int_equal(factor->escalations, 3);
    check_close(factor->lambda, 10.0, 1e-12);
    check_close(factor->lambda_relative, 10.0, 1e-12);
    qd_factor_destroy(factor);
}

static void hopeless_matrix_is_refused_with_its_last_lambda_and_pivot(void **state)
{
    (void)state;
    qd_error err = { 0 };
    const double h[4] = { 1, 1e9, 1e9, 1 };
    qd_factor *factor = NULL;
    check_fails(factor_of(h, 2, 0.01, &factor, &err), QD_ENUMERIC);
    check_contains(err.text, "lambda = 10000");
    check_contains(err.text, "pivot 0");
    assert_null(factor);
}

static void negative_diagonal_never_makes_lambda_negative(void **state)
{
    (void)state;
    qd_error err = { 0 };
    const double h[4] = { 1, 0, 0, -1 };
    qd_factor *factor = NULL;
    check_ok(factor_of(h, 2, 0.01, &factor, &err));
    assert_true(factor->lambda > 1.0 && factor->escalations == 3);
    qd_factor_destroy(factor);
}

static void not_finite_entry_is_named(void **state)
{
    (void)state;
    static const double bad[] = { NAN, INFINITY, -INFINITY };
    for (size_t i = 0; i < 3; i++) {
        qd_error err = { 0 };
        double h[9] = { 4, 0, 0, 0, 4, 0, 0, 0, 4 };
        qd_factor *factor = NULL;
        h[3] = bad[i];
        check_fails(factor_of(h, 3, 0.01, &factor, &err), QD_ENUMERIC);
        check_contains(err.text, "(1, 0)");
        h[3] = 0;
        h[8] = bad[i];
        check_fails(factor_of(h, 3, 0.01, &factor, &err), QD_ENUMERIC);
        check_contains(err.text, "(2, 2)");
        assert_null(factor);
    }
}

static void wrong_shapes_and_values_are_refused(void **state)
{
    (void)state;
    qd_error err = { 0 };
    const double h[6] = { 1, 0, 0, 1, 0, 0 };
    qd_factor *factor = NULL;
    const qd_order *order = qd_order_find("natural");
    const qd_regularizer *rule = qd_regularizer_find("mean_diagonal");
    check_fails(qd_factor_create((qd_cmatd){ 2, 3, 3, h }, order, rule, 0.01, NULL, &factor, &err), QD_ESHAPE);
    check_fails(qd_factor_create((qd_cmatd){ 0, 0, 0, h }, order, rule, 0.01, NULL, &factor, &err), QD_ESHAPE);
    check_fails(factor_of(h, 2, -1.0, &factor, &err), QD_EINVAL);
    check_fails(factor_of(h, 2, NAN, &factor, &err), QD_EINVAL);
    check_contains(err.text, "mean_diagonal");
    assert_null(factor);
}

static void no_damping_on_a_singular_matrix_escalates_instead_of_dividing_by_noise(void **state)
{
    (void)state;
    qd_error err = { 0 };
    layer l = layer_make((layer_spec){ .rows = 1, .cols = 30, .rank = 6, .seed = 8 });
    qd_factor *factor = NULL;
    check_ok(factor_of(l.gram.sum.view.data, 30, 0.0, &factor, &err));
    assert_true(factor->escalations > 0);
    check_close(factor->lambda_relative, 1e-8 * pow(10.0, factor->escalations - 1.0), 1e-9);
    qd_factor_destroy(factor);
    factor = NULL;
    check_ok(factor_of(l.gram.sum.view.data, 30, 1e-30, &factor, &err)); /* as good as none */
    assert_true(factor->lambda_relative >= 1e-8);
    qd_factor_destroy(factor);
    layer_free(&l);
}

static void dead_columns_are_counted_and_left_out_of_the_mean(void **state)
{
    (void)state;
    qd_error err = { 0 };
    const double h[9] = { 2, 0, 1, 0, 0, 0, 1, 0, 4 };
    qd_factor *factor = NULL;
    check_ok(factor_of(h, 3, 0.1, &factor, &err));
    assert_int_equal(factor->dead_columns, 1);
    check_close(factor->lambda, 0.3, 1e-14);
    double pivot = qd_matd_row(factor->c.view, 1)[1];
    check_close(pivot * pivot, factor->lambda, 1e-14);
    qd_factor_destroy(factor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c_is_the_upper_factor_and_its_inverse_that_of_the_inverse),
        cmocka_unit_test(squared_pivots_are_schur_complements),
        cmocka_unit_test(orders_change_the_sum_of_pivots_but_not_their_product),
        cmocka_unit_test(pivots_sum_to_at_most_the_trace_and_the_last_is_its_diagonal),
        cmocka_unit_test(sum_of_pivots_grows_concavely_with_lambda),
        cmocka_unit_test(descending_order_is_sorted_and_stable),
        cmocka_unit_test(indefinite_matrix_is_damped_ten_times_more_until_it_works),
        cmocka_unit_test(hopeless_matrix_is_refused_with_its_last_lambda_and_pivot),
        cmocka_unit_test(negative_diagonal_never_makes_lambda_negative),
        cmocka_unit_test(not_finite_entry_is_named),
        cmocka_unit_test(wrong_shapes_and_values_are_refused),
        cmocka_unit_test(no_damping_on_a_singular_matrix_escalates_instead_of_dividing_by_noise),
        cmocka_unit_test(dead_columns_are_counted_and_left_out_of_the_mean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
