/* test_regularizer.c: lambda by each rule, in numbers that are known another way. */
#include "oracle.h"

/* Largest eigenvalue in size of a symmetric matrix, by Jacobi rotations. */
static double jacobi_norm(const double *hessian, size_t n)
{
    double *h = oracle_matrix(n), largest = 0.0;
    memcpy(h, hessian, n * n * sizeof *h);
    for (int round = 0; round < 30; round++)
        for (size_t p = 0; p < n; p++)
            for (size_t q = p + 1; q < n; q++) {
                double off = h[p * n + q];
                if (off == 0.0)
                    continue;
                double theta = (h[q * n + q] - h[p * n + p]) / (2.0 * off);
                double t = (theta >= 0 ? 1.0 : -1.0) / (fabs(theta) + sqrt(theta * theta + 1.0));
                double c = 1.0 / sqrt(t * t + 1.0), s = t * c;
                for (size_t k = 0; k < n; k++) {
                    double a = h[k * n + p], b = h[k * n + q];
                    h[k * n + p] = c * a - s * b;
                    h[k * n + q] = s * a + c * b;
                }
                for (size_t k = 0; k < n; k++) {
                    double a = h[p * n + k], b = h[q * n + k];
                    h[p * n + k] = c * a - s * b;
                    h[q * n + k] = s * a + c * b;
                }
            }
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(h[i * n + i]));
    free(h);
    return largest;
}

static double lambda_of(const char *name, const double *h, size_t n, double value)
{
    qd_error err = { 0 };
    double lambda = NAN;
    check_ok(qd_regularizer_find(name)->lambda((qd_cmatd){ n, n, n, h }, value, &lambda, &err));
    return lambda;
}

static void spectral_is_a_fraction_of_the_largest_eigenvalue(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, 2, 3, 20, 61 };
    for (size_t k = 0; k < 10; k++) {
        size_t n = sizes[k % 5];
        layer l = layer_make((layer_spec){ .rows = 1, .cols = n, .rank = k < 5 ? 0 : (n + 3) / 4, .seed = k });
        const double *h = l.gram.sum.view.data;
        double norm = jacobi_norm(h, n);
        check_close(lambda_of("spectral", h, n, 1.0), norm, 1e-4); /* eigenvalues that are close take long to part */
        assert_true(lambda_of("spectral", h, n, 1.0) <= norm * (1 + 1e-12)); /* a Rayleigh quotient is at most that */
        check_close(lambda_of("spectral", h, n, 1e-3), 1e-3 * lambda_of("spectral", h, n, 1.0), 1e-15);
        layer_free(&l);
    }
}

static void spectral_is_exact_where_the_eigenvalues_are_far_apart(void **state)
{
    (void)state;
    const double h[9] = { 2, 0, 0, 0, 50, 0, 0, 0, 1 }, negative[4] = { 1, 0, 0, -8 }, zero[4] = { 0 };
    check_close(lambda_of("spectral", h, 3, 1.0), 50.0, 1e-12);
    check_close(lambda_of("spectral", h, 3, 1.0), lambda_of("spectral", h, 3, 1.0), 0);
    check_close(lambda_of("spectral", negative, 2, 1.0), 8.0, 1e-12); /* no second moment, but no negative lambda */
    check_close(lambda_of("spectral", zero, 2, 0.25), 0.25, 0);       /* H = 0 counts as I */
}

static void absolute_is_what_was_asked_for(void **state)
{
    (void)state;
    const double h[4] = { 3, 1, 1, 400 };
    check_close(lambda_of("absolute", h, 2, 0.125), 0.125, 0);
    check_close(lambda_of("absolute", h, 2, 0.0), 0.0, 0);
}

static void every_rule_reaches_the_certificate(void **state)
{
    (void)state;
    static const char *const names[] = { "mean_diagonal", "spectral", "absolute" };
    layer l = layer_make((layer_spec){ .rows = 5, .cols = 40, .bits = 3, .seed = 3 });
    for (size_t k = 0; k < 3; k++) {
        qd_error err = { 0 };
        qd_factor_destroy(l.factor);
        l.factor = NULL;
        const qd_regularizer *rule = qd_regularizer_find(names[k]);
        check_ok(qd_factor_create(qd_matd_const(l.gram.sum.view), qd_order_find("norm-descending"), rule, 0.03, NULL,
                                  &l.factor, &err));
        layer_round(&l, "optq");
        double want = lambda_of(names[k], l.gram.sum.view.data, 40, 0.03);
        check_close(l.certificate.lambda, want, 1e-15);
        check_close(l.certificate.lambda_relative, want / (l.factor->trace / 40), 1e-12);
        assert_string_equal(l.certificate.lambda_source, "user");
        assert_true(l.certificate.identity_residual < 1e-9);
    }
    layer_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spectral_is_a_fraction_of_the_largest_eigenvalue),
        cmocka_unit_test(spectral_is_exact_where_the_eigenvalues_are_far_apart),
        cmocka_unit_test(absolute_is_what_was_asked_for),
        cmocka_unit_test(every_rule_reaches_the_certificate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
