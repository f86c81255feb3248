/* test_optq.c: OPTQ against slow definitions of itself (algorithms.md §12). */
#include "oracle.h"

/* Sequential definition: after q_0..q_j are fixed, the rest of w minimizes (w-q) H_lambda (w-q)^T. */
static void resolve_tail(const layer *l, const double *h, size_t row, uint8_t *codes)
{
    size_t n = l->cols;
    double *v = calloc(n, sizeof *v), *a = calloc(n * n, sizeof *a), *d = calloc(n, sizeof *d),
           *b = calloc(n, sizeof *b);
    const float *w = qd_matf_row(l->w.view, row);
    for (size_t j = 0; j < n; j++) {
        /* H_tail,tail y = -H_tail,head d_head; v = w - y, by Gaussian elimination */
        size_t m = n - j;
        for (size_t i = 0; i < m; i++) {
            b[i] = 0.0;
            for (size_t k = 0; k < j; k++)
                b[i] += h[(j + i) * n + k] * d[k];
            for (size_t k = 0; k < m; k++)
                a[i * m + k] = h[(j + i) * n + j + k];
        }
        for (size_t p = 0; p < m; p++)
            for (size_t i = p + 1; i < m; i++) {
                double f = a[i * m + p] / a[p * m + p];
                for (size_t k = p; k < m; k++)
                    a[i * m + k] -= f * a[p * m + k];
                b[i] -= f * b[p];
            }
        for (size_t p = m; p-- > 0;) {
            for (size_t k = p + 1; k < m; k++)
                b[p] -= a[p * m + k] * b[k];
            b[p] /= a[p * m + p];
        }
        size_t column = l->factor->permutation[j];
        v[j] = (double)w[column] + b[0];
        codes[column] = (uint8_t)(qd_grid_nearest(&l->grid, row, column, v[j]) - l->grid.low);
        d[j] = (double)w[column] - value_at(l, row, column, codes[column]);
    }
    free(v);
    free(a);
    free(d);
    free(b);
}

static void optq_is_the_sequential_least_squares_solution(void **state)
{
    (void)state;
    static const char *const orders[] = { "natural", "norm-descending" };
    for (size_t o = 0; o < 2; o++) {
        layer l = layer_make((layer_spec){ .rows = 5, .cols = 24, .bits = 3, .order = orders[o], .seed = 7 + o });
        double h[24 * 24];
        for (size_t i = 0; i < 24; i++)
            for (size_t j = 0; j < 24; j++)
                h[i * 24 + j] = qd_matd_row(l.factor->hessian.view, i)[j] + (i == j ? l.factor->lambda : 0.0);
        layer_round(&l, "optq");
        for (size_t row = 0; row < l.rows; row++) {
            uint8_t want[24];
            resolve_tail(&l, h, row, want);
            assert_memory_equal(l.codes + row * l.cols, want, l.cols);
        }
        layer_free(&l);
    }
}

/* Shapes of one claim after the other: odd ones, one column, one row, more than a block. */
static const layer_spec shapes[] = {
    { .rows = 1, .cols = 1, .seed = 1 },
    { .rows = 3, .cols = 7, .bits = 2, .seed = 2 },
    { .rows = 65, .cols = 33, .bits = 3, .group_size = 10, .order = "norm-descending", .seed = 3 },
    { .rows = 6, .cols = 131, .alphabet = "int-asymmetric", .group_size = 32, .seed = 4, .rule = "mse" },
    { .rows = 7, .cols = 90, .alphabet = "int-asymmetric", .zero = QD_ZERO_FLOAT, .rank = 20, .seed = 5 },
    { .rows = 5, .cols = 40, .bits = 8, .duplicate = 9, .dead = 5, .order = "norm-descending", .seed = 6 },
};

static void blocked_or_not_gives_the_same_codes(void **state)
{
    (void)state;
    for (size_t s = 0; s < QD_LENGTH(shapes); s++) {
        layer l = layer_make(shapes[s]);
        oracle o = oracle_of(&l);
        layer_round(&l, "optq");
        static const size_t blocks[] = { 1, 5, 1000 };
        uint8_t codes[200];
        double eps[200], error[200];
        for (size_t row = 0; row < l.rows; row++)
            for (size_t b = 0; b < 3; b++) {
                oracle_optq(&l, &o, row, blocks[b], codes, eps, error);
                assert_memory_equal(l.codes + row * l.cols, codes, l.cols);
            }
        oracle_free(&o);
        layer_free(&l);
    }
}

static void weight_error_is_the_scaled_errors_times_r(void **state)
{
    (void)state;
    for (size_t s = 0; s < QD_LENGTH(shapes); s++) {
        layer l = layer_make(shapes[s]);
        oracle o = oracle_of(&l);
        uint8_t codes[200];
        double eps[200], error[200], largest = 0.0, worst = 0.0;
        for (size_t row = 0; row < l.rows; row++) {
            oracle_optq(&l, &o, row, 1, codes, eps, error);
            for (size_t k = 0; k < l.cols; k++) {
                double sum = 0.0;
                for (size_t j = 0; j <= k; j++)
                    sum += eps[j] / o.r[j * o.n + j] * o.r[j * o.n + k];
                worst = fmax(worst, fabs(sum - error[k]));
                largest = fmax(largest, fabs(error[k]));
            }
        }
        check_near(worst, 0.0, 1e-12 * largest);
        oracle_free(&o);
        layer_free(&l);
    }
}

static void energy_is_measured_by_three_ways_alike(void **state)
{
    (void)state;
    for (size_t s = 0; s < QD_LENGTH(shapes); s++) {
        layer l = layer_make(shapes[s]);
        oracle o = oracle_of(&l);
        layer_round(&l, "optq");
        uint8_t codes[200];
        double eps[200], error[200], loop = 0.0, form = 0.0, weights = 0.0;
        for (size_t row = 0; row < l.rows; row++) {
            oracle_optq(&l, &o, row, 1, codes, eps, error);
            form += oracle_form(&o, error);
            for (size_t t = 0; t < l.cols; t++) {
                loop += eps[t] * eps[t] * o.c[t * o.n + t] * o.c[t * o.n + t];
                weights += error[t] * error[t];
            }
        }
        check_close(l.certificate.energy_sq, loop, 1e-10);
        check_close(l.certificate.energy_sq, form, 1e-10);
        check_close(l.certificate.weight_error_sq, weights, 1e-12);
        check_near(l.certificate.error_sq, form - l.factor->lambda * weights, 1e-10 * form);
        assert_true(l.certificate.identity_residual < 1e-10);
        oracle_free(&o);
        layer_free(&l);
    }
}

/* The definition: ||X (w - q)^T||^2 / m over the calibration tokens themselves. */
static void error_is_what_the_calibration_tokens_see(void **state)
{
    (void)state;
    static const char *const algorithms[] = { "optq", "rtn" };
    layer l = layer_make((layer_spec){ .rows = 9, .cols = 50, .bits = 3, .order = "norm-descending", .seed = 21 });
    for (size_t a = 0; a < 2; a++) {
        layer_round(&l, algorithms[a]);
        double error = 0.0, output = 0.0;
        for (size_t t = 0; t < l.tokens; t++)
            for (size_t i = 0; i < l.rows; i++) {
                double e = 0.0, y = 0.0;
                for (size_t j = 0; j < l.cols; j++) {
                    double x = (double)qd_matf_row(l.x.view, t)[j], w = (double)qd_matf_row(l.w.view, i)[j];
                    e += x * (w - value_at(&l, i, j, l.codes[i * l.cols + j]));
                    y += x * w;
                }
                error += e * e / (double)l.tokens;
                output += y * y / (double)l.tokens;
            }
        /* H is summed from float32 products */
        check_close(l.certificate.error_sq, error, 1e-5);
        check_close(l.certificate.output_sq, output, 1e-5);
        check_close(l.certificate.relative_error, sqrt(error / output), 1e-5);
        check_close(l.certificate.sqnr_db, 10.0 * log10(output / error), 1e-5);
    }
    layer_free(&l);
}

static void optq_beats_rtn_on_correlated_inputs(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 5; seed++) {
        layer l =
            layer_make((layer_spec){ .rows = 40, .cols = 96, .bits = 3, .order = "norm-descending", .seed = seed });
        layer_round(&l, "rtn");
        double rtn = l.certificate.error_sq;
        layer_round(&l, "optq");
        assert_true(l.certificate.error_sq < 0.7 * rtn);
        layer_free(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(optq_is_the_sequential_least_squares_solution),
        cmocka_unit_test(blocked_or_not_gives_the_same_codes),
        cmocka_unit_test(weight_error_is_the_scaled_errors_times_r),
        cmocka_unit_test(energy_is_measured_by_three_ways_alike),
        cmocka_unit_test(error_is_what_the_calibration_tokens_see),
        cmocka_unit_test(optq_beats_rtn_on_correlated_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
