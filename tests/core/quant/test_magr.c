/* test_magr.c: MagR against slow twins: the proximal step by sorting, the whole run by its definition; its objective; its edges; and where
 * its weights enter Qronos. */
#include "pair.h"

#include "quant/magr.h"
#include "quant/turned.h"

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* algorithms.md §7: t = (cumsum_k - tau) / k for the largest k with |y|_(k) k > cumsum_k - tau; 0 when ||y||_1 <= tau. */
static double sorted_threshold(const double *y, size_t n, double tau)
{
    double *size = calloc(n, sizeof *size), sum = 0.0, t = 0.0, all = 0.0;
    for (size_t i = 0; i < n; i++)
        all += size[i] = fabs(y[i]);
    qsort(size, n, sizeof *size, by_size);
    for (size_t k = 0; k < n && all > tau; k++) {
        sum += size[k];
        if (size[k] * (double)(k + 1) > sum - tau)
            t = (sum - tau) / (double)(k + 1);
    }
    free(size);
    return t;
}

static void the_proximal_step_is_the_one_by_sorting(void **state)
{
    (void)state;
    for (size_t k = 0; k < 600; k++) {
        size_t n = 1 + (size_t)qd_rng_below(k, 0, k % 3 == 0 ? 3 : 200);
        double *y = calloc(2 * n, sizeof *y), *x = y + n, size = 0.0, left = 0.0;
        for (size_t i = 0; i < n; i++) {
            y[i] = normal(k, i);
            if (k % 4 == 1)
                y[i] = rint(2.0 * y[i]) / 2.0; /* ties and zeros */
            size += fabs(y[i]);
        }
        double tau = size * pow(10.0, -4.0 * qd_rng_uniform(k, 999)) * (k % 5 == 0 ? 1.5 : 1.0);
        memcpy(x, y, n * sizeof *x);
        qd_magr_prox(x, n, tau);
        double t = sorted_threshold(y, n, tau);
        for (size_t i = 0; i < n; i++) {
            check_near(x[i], fmin(t, fmax(-t, y[i])), 2e-15 * (1.0 + size));
            left += fabs(y[i]) - fabs(x[i]);
            assert_true(tau < size * (1 - 1e-12) || x[i] == 0.0); /* ||y||_1 <= tau: nothing is left */
        }
        check_near(left, fmin(tau, size), 1e-13 * (1.0 + size)); /* sum (|y| - t)_+ = tau */
        free(y);
    }
}

static void no_tau_changes_nothing(void **state)
{
    (void)state;
    double y[] = { 3.0, -3.0, 0.1, 0.0 };
    qd_magr_prox(y, 4, 0.0);
    assert_true(y[0] == 3.0 && y[1] == -3.0 && y[2] == 0.1 && y[3] == 0.0);
}

static void run(const layer *l, qd_magr magr, qd_pool *pool, float *out, qd_magr_report *report)
{
    qd_error err = { 0 };
    check_ok(qd_magr_run(&magr, qd_matf_const(l->w.view), qd_matd_const(l->gram.sum.view), pool,
                         qd_matf_view(out, l->rows, l->cols), report, &err));
}

static double form(const layer *l, const double *x)
{
    double sum = 0.0;
    for (size_t i = 0; i < l->cols; i++)
        for (size_t j = 0; j < l->cols; j++)
            sum += x[i] * qd_matd_row(l->gram.sum.view, i)[j] * x[j];
    return sum;
}

static double column_norm(const layer *l)
{
    double most = 0.0;
    for (size_t j = 0; j < l->cols; j++) {
        double sum = 0.0;
        for (size_t i = 0; i < l->cols; i++)
            sum += fabs(qd_matd_row(l->gram.sum.view, i)[j]);
        most = fmax(most, sum);
    }
    return most;
}

static double norm_of(const layer *l)
{
    double out = 0.0;
    qd_error err = { 0 };
    check_ok(qd_regularizer_find("spectral")->lambda(qd_matd_const(l->gram.sum.view), 1.0, &out, &err));
    return out;
}

static double tau_of(const layer *l, qd_magr magr)
{
    return magr.alpha * (magr.normalization == QD_MAGR_BREVITAS ? norm_of(l) / column_norm(l) : 1.0);
}

/* One row by the definition, all steps. */
static void slow_row(const layer *l, qd_magr magr, size_t row, double *v)
{
    size_t n = l->cols, group = magr.normalization == QD_MAGR_PUBLISHED && magr.group_size > 0 ? magr.group_size : n;
    double norm = norm_of(l), tau = tau_of(l, magr), *y = calloc(n, sizeof *y);
    const float *w = qd_matf_row(l->w.view, row);
    for (size_t j = 0; j < n; j++)
        v[j] = (double)w[j];
    for (size_t k = 0; k < magr.iterations; k++) {
        for (size_t j = 0; j < n; j++) {
            double gradient = 0.0;
            for (size_t i = 0; i < n; i++)
                gradient += (v[i] - (double)w[i]) * qd_matd_row(l->gram.sum.view, i)[j];
            y[j] = v[j] - gradient / norm;
        }
        for (size_t from = 0; from < n; from += group) {
            size_t count = qd_min_size(group, n - from);
            double t = sorted_threshold(y + from, count, tau);
            for (size_t j = from; j < from + count; j++)
                v[j] = fmin(t, fmax(-t, y[j]));
        }
    }
    free(y);
}

static const qd_magr kinds[] = {
    { .alpha = 0.01, .iterations = 200, .normalization = QD_MAGR_BREVITAS },
    { .alpha = 0.3, .iterations = 30, .normalization = QD_MAGR_BREVITAS, .group_size = 8 },
    { .alpha = 0.02, .iterations = 50, .normalization = QD_MAGR_PUBLISHED },
    { .alpha = 0.02, .iterations = 50, .normalization = QD_MAGR_PUBLISHED, .group_size = 8 },
};

static void a_run_is_the_definition_of_every_row(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2 * QD_LENGTH(kinds); k++) {
        layer l = layer_make((layer_spec){ .rows = k % 2 == 0 ? 7 : 130, .cols = 21 + k, .seed = k });
        float *out = calloc(l.rows * l.cols, sizeof *out);
        double *v = calloc(l.cols, sizeof *v), *d = calloc(l.cols, sizeof *d), change = 0.0, output = 0.0, before = 0.0,
               after = 0.0;
        qd_magr_report report;
        run(&l, kinds[k / 2], NULL, out, &report);
        for (size_t row = 0; row < l.rows; row++) {
            double most_w = 0.0, most_v = 0.0;
            slow_row(&l, kinds[k / 2], row, v);
            for (size_t j = 0; j < l.cols; j++) {
                double w = (double)qd_matf_row(l.w.view, row)[j], got = (double)out[row * l.cols + j];
                check_near(got, v[j], 3e-7);
                d[j] = got - w;
                v[j] = w;
                most_w = fmax(most_w, fabs(w));
                most_v = fmax(most_v, fabs(got));
            }
            change += form(&l, d);
            output += form(&l, v);
            before += most_w;
            after += most_v;
        }
        check_close(report.change_sq, change, 1e-9);
        check_close(report.output_sq, output, 1e-9);
        check_close(report.range_before, before, 1e-12);
        check_close(report.range_after, after, 1e-12);
        assert_true(after < before);
        free(out);
        free(v);
        free(d);
        layer_free(&l);
    }
}

/* 1/2 (v - w) H (v - w)^T + nu max|v|, nu = tau sigma_max, of every row: no step raises it. */
static void no_step_raises_the_objective(void **state)
{
    (void)state;
    enum { STEPS = 200 };
    for (size_t k = 0; k < 3; k++) {
        qd_magr magr = kinds[k];
        layer l = layer_make((layer_spec){ .rows = 4, .cols = 33, .seed = 20 + k });
        double last[4] = { INFINITY, INFINITY, INFINITY, INFINITY }, first[4] = { 0 };
        double nu = tau_of(&l, magr) * norm_of(&l), *d = calloc(l.cols, sizeof *d);
        float *out = calloc(l.rows * l.cols, sizeof *out);
        for (magr.iterations = 0; magr.iterations <= STEPS; magr.iterations++) {
            qd_magr_report report;
            run(&l, magr, NULL, out, &report);
            for (size_t row = 0; row < l.rows; row++) {
                double most = 0.0;
                for (size_t j = 0; j < l.cols; j++) {
                    d[j] = (double)out[row * l.cols + j] - (double)qd_matf_row(l.w.view, row)[j];
                    most = fmax(most, fabs((double)out[row * l.cols + j]));
                }
                double objective = 0.5 * form(&l, d) + nu * most;
                assert_true(objective <= last[row] * (1 + 1e-6)); /* out is float32 */
                last[row] = objective;
                first[row] = magr.iterations == 0 ? objective : first[row];
            }
        }
        for (size_t row = 0; row < l.rows; row++)
            assert_true(last[row] < first[row]);
        free(out);
        free(d);
        layer_free(&l);
    }
}

static void nothing_to_do_leaves_the_weights_bit_for_bit(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        layer l = layer_make((layer_spec){ .rows = 5, .cols = 19, .seed = 3 });
        float *out = calloc(l.rows * l.cols, sizeof *out);
        qd_magr_report report;
        if (k == 1)
            memset(l.gram.sum.view.data, 0, l.cols * l.cols * sizeof(double)); /* H = 0 */
        run(&l, (qd_magr){ .alpha = k == 0 ? 0.0 : 0.01, .iterations = 20 }, NULL, out, &report);
        assert_memory_equal(out, l.w.view.data, l.rows * l.cols * sizeof *out);
        assert_true(report.change_sq == 0.0 && report.range_before == report.range_after);
        free(out);
        layer_free(&l);
    }
}

static void rows_of_zeros_single_columns_and_large_alphas_are_defined(void **state)
{
    (void)state;
    layer l = layer_make((layer_spec){ .rows = 3, .cols = 16, .seed = 4 });
    float out[48], one[3];
    qd_magr_report report;
    memset(qd_matf_row(l.w.view, 1), 0, l.cols * sizeof(float));
    run(&l, kinds[0], NULL, out, &report);
    for (size_t j = 0; j < l.cols; j++)
        assert_true(out[l.cols + j] == 0.0f);
    run(&l, (qd_magr){ .alpha = 1e3, .iterations = 200 }, NULL, out, &report);
    for (size_t j = 0; j < 3 * l.cols; j++)
        assert_true(out[j] == 0.0f);
    layer_free(&l);
    /* one column: the minimum of h/2 (v - w)^2 + nu |v| is w - sign(w) nu / h, with nu = alpha h: alpha off the weight */
    l = layer_make((layer_spec){ .rows = 3, .cols = 1, .seed = 5 });
    run(&l, kinds[0], NULL, one, &report);
    for (size_t i = 0; i < 3; i++) {
        double w = (double)l.w.view.data[i];
        check_near((double)one[i], copysign(fmax(0.0, fabs(w) - 0.01), w), 1e-6);
    }
    layer_free(&l);
}

static void any_number_of_threads_gives_the_same_bytes(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_pool *pool = NULL;
    qd_magr_report first, second;
    check_ok(qd_pool_create(3, &pool, &err));
    layer l = layer_make((layer_spec){ .rows = 200, .cols = 40, .seed = 6 });
    float *one = calloc(2 * l.rows * l.cols, sizeof *one), *three = one + l.rows * l.cols;
    run(&l, kinds[0], NULL, one, &first);
    run(&l, kinds[0], pool, three, &second);
    assert_memory_equal(one, three, l.rows * l.cols * sizeof *one);
    assert_true(first.change_sq == second.change_sq && first.range_after == second.range_after);
    free(one);
    layer_free(&l);
    qd_pool_destroy(pool);
}

static void bad_shapes_and_moments_are_refused(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_magr_report report;
    layer l = layer_make((layer_spec){ .rows = 3, .cols = 8, .seed = 7 });
    float out[24];
    check_fails(qd_magr_run(&kinds[0], qd_matf_const(l.w.view), (qd_cmatd){ 7, 7, 7, l.gram.sum.view.data }, NULL,
                            qd_matf_view(out, 3, 8), &report, &err),
                QD_ESHAPE);
    l.gram.sum.view.data[3] = NAN;
    check_fails(qd_magr_run(&kinds[0], qd_matf_const(l.w.view), qd_matd_const(l.gram.sum.view), NULL,
                            qd_matf_view(out, 3, 8), &report, &err),
                QD_ENUMERIC);
    layer_free(&l);
}

/* The float stream's own moments, from those of the pair and from its tokens. */
static void the_float_moment_is_that_of_its_tokens(void **state)
{
    (void)state;
    qd_error err = { 0 };
    pair p = pair_make((layer_spec){ .rows = 2, .cols = 13, .seed = 8 }, 0.3);
    QD_AUTO(qd_matd_buf_fini) qd_matd_buf moment = { 0 };
    check_ok(qd_matd_buf_init(&moment, p.layer.cols, p.layer.cols, &err));
    qd_mismatch_float_moment(&p.mismatch, moment.view);
    for (size_t i = 0; i < p.layer.cols; i++)
        for (size_t j = 0; j < p.layer.cols; j++) {
            double want = 0.0;
            for (size_t t = 0; t < p.layer.tokens; t++)
                want += x_at(&p, t, i) * x_at(&p, t, j) / (double)p.layer.tokens;
            check_near(qd_matd_row(moment.view, i)[j], want,
                       1e-5 * sqrt(qd_matd_row(moment.view, i)[i] * qd_matd_row(moment.view, j)[j]));
        }
    pair_free(&p);
}

/* algorithms.md §6.4 S1: a_0 = (w G_0 - sum_{k >= 1} v_k H_k0) / H_00. */
static void the_original_start_of_qronos_leaves_the_others_at_v(void **state)
{
    (void)state;
    qd_error err = { 0 };
    size_t differ = 0;
    for (size_t k = 0; k < 6; k++) {
        pair p = pair_make((layer_spec){ .rows = 12, .cols = 17, .bits = 8, .shrink = 2, .seed = 30 + k }, 0.3);
        layer *l = &p.layer;
        float *v = calloc(l->rows * l->cols, sizeof *v);
        for (size_t i = 0; i < l->rows * l->cols; i++)
            v[i] = 0.8f * l->w.view.data[i];
        qd_layer_input input = layer_input(l);
        input.mismatch = &p.mismatch;
        input.use = (qd_mismatch_use){ QD_SHRINK_FIXED, 1.0, QD_START_ORIGINAL };
        input.v = qd_cmatf_view(v, l->rows, l->cols);
        check_ok(qd_layer_round(qd_algorithm_find("qronos"), &input, l->codes, &l->certificate, &err));
        assert_true(l->certificate.identity_residual < 1e-9);
        for (size_t row = 0; row < l->rows; row++) {
            double sum = 0.0;
            for (size_t j = 0; j < l->cols; j++) {
                double g = qd_matd_row(p.mismatch.hessian.view, j)[0] + qd_matd_row(p.mismatch.cross.view, j)[0];
                double left = j == 0 ? 0.0 : (double)v[row * l->cols + j];
                sum += (double)qd_matf_row(l->w.view, row)[j] * g - left * qd_matd_row(p.mismatch.hessian.view, j)[0];
            }
            double first = sum / qd_matd_row(p.mismatch.hessian.view, 0)[0];
            assert_int_equal(l->grid.low + l->codes[row * l->cols], qd_grid_nearest(&l->grid, row, 0, first));
            differ += qd_grid_nearest(&l->grid, row, 0, first) !=
                      qd_grid_nearest(&l->grid, row, 0, (double)qd_matf_row(l->w.view, row)[0]);
        }
        free(v);
        pair_free(&p);
    }
    assert_true(differ > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_proximal_step_is_the_one_by_sorting),
        cmocka_unit_test(no_tau_changes_nothing),
        cmocka_unit_test(a_run_is_the_definition_of_every_row),
        cmocka_unit_test(no_step_raises_the_objective),
        cmocka_unit_test(nothing_to_do_leaves_the_weights_bit_for_bit),
        cmocka_unit_test(rows_of_zeros_single_columns_and_large_alphas_are_defined),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bytes),
        cmocka_unit_test(bad_shapes_and_moments_are_refused),
        cmocka_unit_test(the_float_moment_is_that_of_its_tokens),
        cmocka_unit_test(the_original_start_of_qronos_leaves_the_others_at_v),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
