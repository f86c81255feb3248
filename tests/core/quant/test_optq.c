/* test_optq.c: OPTQ against slow definitions of itself (algorithms.md §12). */
#include "layer.h"

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

static void energy_identity_holds_to_rounding(void **state)
{
    (void)state;
    layer l =
        layer_make((layer_spec){ .rows = 70, .cols = 150, .order = "norm-descending", .seed = 3, .group_size = 32 });
    layer_round(&l, "optq");
    printf("# residual %.3g ratio %.3g rel %.3g status %s am_gm %g gap %g trace %g\n", l.certificate.identity_residual,
           l.certificate.ratio, l.certificate.relative_error, qd_certificate_status_name(l.certificate.status),
           l.certificate.am_gm, l.certificate.gap_db, l.certificate.trace_ratio);
    assert_true(l.certificate.identity_residual < 1e-10);
    double optq = l.certificate.relative_error;
    layer_round(&l, "rtn");
    printf("# residual %.3g ratio %.3g rel %.3g status %s\n", l.certificate.identity_residual, l.certificate.ratio,
           l.certificate.relative_error, qd_certificate_status_name(l.certificate.status));
    assert_true(l.certificate.identity_residual < 1e-10);
    assert_true(optq < l.certificate.relative_error);
    layer_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(optq_is_the_sequential_least_squares_solution),
        cmocka_unit_test(energy_identity_holds_to_rounding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
