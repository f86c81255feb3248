/* test_linalg.c: views, products, the reversed Cholesky factor. Each against the loop of its definition. */
#include "check.h"

#include <stdbool.h>

#include "base/rng.h"
#include "linalg/chol.h"
#include "linalg/gemm.h"

static double draw(uint64_t key, size_t i)
{
    return 2 * qd_rng_uniform(key, i) - 1;
}

static void buffers_start_as_aligned_zeros(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_matf_buf f = { 0 };
    qd_matd_buf d = { 0 };
    check_ok(qd_matf_buf_init(&f, 7, 13, &err));
    check_ok(qd_matd_buf_init(&d, 5, 3, &err));
    assert_int_equal((uintptr_t)f.view.data % 64, 0);
    assert_int_equal((uintptr_t)d.view.data % 64, 0);
    assert_int_equal(f.view.ld, 13);
    for (size_t i = 0; i < 91; i++)
        assert_true(f.view.data[i] == 0);
    for (size_t i = 0; i < 15; i++)
        assert_true(d.view.data[i] == 0);
    qd_matf_buf_fini(&f);
    qd_matd_buf_fini(&d);
    assert_null(f.view.data);
    qd_matf_buf_fini(&f); /* twice is fine */
    check_ok(qd_matf_buf_init(&f, 0, 5, &err));
    qd_matf_buf_fini(&f);
    check_fails(qd_matf_buf_init(&f, SIZE_MAX / 2, 3, &err), QD_ENOMEM);
    check_fails(qd_matd_buf_init(&d, SIZE_MAX / 8, 2, &err), QD_ENOMEM);
    check_contains(err.text, "matrix of");
}

static void a_block_of_a_block_is_the_same_memory(void **state)
{
    (void)state;
    float data[6 * 10];
    for (size_t i = 0; i < 60; i++)
        data[i] = (float)i;
    qd_matf m = qd_matf_view(data, 6, 10), b = qd_matf_block(m, 1, 2, 4, 7), c = qd_matf_block(b, 2, 3, 2, 4);
    assert_int_equal(c.ld, 10);
    assert_ptr_equal(c.data, &data[3 * 10 + 5]);
    assert_true(qd_matf_row(c, 1)[3] == 48);
    qd_cmatf k = qd_cmatf_block(qd_matf_const(m), 1, 2, 4, 7);
    assert_ptr_equal(k.data, b.data);
    assert_ptr_equal(qd_cmatf_row(k, 3), qd_matf_row(b, 3));
    qd_matf empty = qd_matf_block(m, 6, 10, 0, 0);
    assert_int_equal(empty.rows, 0);
}

/* One random product: random shape (zero sizes too), transposes, strides wider than the rows, alpha and beta. */
static void one_product_f64(uint64_t key)
{
    size_t rows = qd_rng_below(key, 0, 40), cols = qd_rng_below(key, 1, 40), depth = qd_rng_below(key, 2, 70);
    qd_transpose ta = qd_rng_below(key, 3, 2) ? QD_TRANSPOSED : QD_PLAIN;
    qd_transpose tb = qd_rng_below(key, 4, 2) ? QD_TRANSPOSED : QD_PLAIN;
    size_t pad = rows * cols * depth == 0 ? 1 : qd_rng_below(key, 5, 4);
    double alpha = draw(key, 6), beta = qd_rng_below(key, 7, 2) ? draw(key, 8) : 0;
    enum { ROOM = 80 * 80 };
    static double a[ROOM], b[ROOM], out[ROOM], want[ROOM];
    static float af[ROOM], bf[ROOM], outf[ROOM];
    qd_cmatd av = { ta ? depth : rows, ta ? rows : depth, (ta ? rows : depth) + pad, a };
    qd_cmatd bv = { tb ? cols : depth, tb ? depth : cols, (tb ? depth : cols) + pad, b };
    qd_matd ov = { rows, cols, cols + pad, out };
    for (size_t i = 0; i < ROOM; i++) {
        af[i] = (float)(a[i] = (double)(float)draw(key, 100 + i));
        bf[i] = (float)(b[i] = (double)(float)draw(key, 100 + ROOM + i));
        want[i] = out[i] = beta == 0 ? (double)NAN : (double)(float)draw(key, 100 + 2 * ROOM + i);
        outf[i] = (float)out[i];
    }
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++) {
            double sum = 0;
            for (size_t k = 0; k < depth; k++)
                sum += (ta ? a[k * av.ld + i] : a[i * av.ld + k]) * (tb ? b[j * bv.ld + k] : b[k * bv.ld + j]);
            double *w = &want[i * ov.ld + j];
            *w = alpha * sum + (beta == 0 ? 0 : beta * *w); /* beta 0 forgets what was there, NaN too */
        }
    qd_gemm_f64(ta, tb, alpha, av, bv, beta, ov);
    qd_gemm_f32(ta, tb, (float)alpha, (qd_cmatf){ av.rows, av.cols, av.ld, af },
                (qd_cmatf){ bv.rows, bv.cols, bv.ld, bf }, (float)beta, (qd_matf){ rows, cols, ov.ld, outf });
    for (size_t i = 0; i < ROOM; i++) {
        bool inside = i / ov.ld < rows && i % ov.ld < cols;
        if (inside) {
            check_near(out[i], want[i], 1e-14 * (double)(depth + 1));
            check_near((double)outf[i], want[i], 2e-6 * sqrt((double)(depth + 1)));
        } else /* padding and what lies behind stay as they were */
            assert_true((isnan(want[i]) && isnan(out[i])) || (want[i] == out[i] && (float)want[i] == outf[i]));
    }
}

static void products_are_those_of_the_triple_loop(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 300; i++)
        one_product_f64(qd_rng_key(7, i, 0));
}

/* H = A A^T / n + I / 100, symmetric positive definite. */
static void what_solve_gives_times_the_triangle_is_the_right_side(void **state)
{
    (void)state;
    static const size_t sizes[][2] = { { 1, 1 }, { 2, 5 }, { 17, 3 }, { 40, 40 }, { 65, 130 } };
    for (size_t k = 0; k < 5; k++) {
        size_t n = sizes[k][0], m = sizes[k][1];
        qd_error err = { 0 };
        qd_matd_buf c = { 0 }, b = { 0 };
        check_ok(qd_matd_buf_init(&c, n, n + 3, &err));
        check_ok(qd_matd_buf_init(&b, n, m + 2, &err));
        for (size_t i = 0; i < n * (n + 3); i++)
            c.view.data[i] = qd_rng_uniform(11, i) - 0.5; /* rubbish below the diagonal too */
        for (size_t i = 0; i < n; i++)
            qd_matd_row(c.view, i)[i] = 2.0 + qd_rng_uniform(12, i);
        for (size_t i = 0; i < n * (m + 2); i++)
            b.view.data[i] = qd_rng_uniform(13, i);
        qd_solve_upper_f64(qd_matd_const(qd_matd_block(c.view, 0, 0, n, n)), qd_matd_block(b.view, 0, 0, n, m));
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < m + 2; j++) {
                double sum = j < m ? 0.0 : qd_matd_row(b.view, i)[j]; /* beyond the view nothing moves */
                for (size_t q = i; j < m && q < n; q++)
                    sum += qd_matd_row(c.view, i)[q] * qd_matd_row(b.view, q)[j];
                check_near(sum, qd_rng_uniform(13, i * (m + 2) + j), 1e-12);
            }
        qd_matd_buf_fini(&c);
        qd_matd_buf_fini(&b);
    }
}

static void make_spd(double *h, size_t n, uint64_t key)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = i == j ? 0.01 : 0;
            for (size_t k = 0; k < n; k++)
                sum += draw(key, i * n + k) * draw(key, j * n + k) / (double)n;
            h[i * n + j] = h[j * n + i] = sum;
        }
}

static void factor_times_its_transpose_is_h(size_t n, double shift, uint64_t key)
{
    qd_error err = { 0 };
    double *h = calloc(n * n + 1, sizeof *h), *c = calloc(n * n + 1, sizeof *c);
    make_spd(h, n, key);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            h[i * n + j] = NAN; /* only the upper triangle is read */
    for (size_t i = 0; i < n * n; i++)
        c[i] = NAN; /* and all of c is written */
    check_ok(qd_chol_reversed((qd_cmatd){ n, n, n, h }, shift, NULL, (qd_matd){ n, n, n, c }, &err));
    for (size_t i = 0; i < n; i++) {
        assert_true(c[i * n + i] > 0);
        for (size_t j = 0; j < i; j++)
            assert_true(c[i * n + j] == 0);
        for (size_t j = i; j < n; j++) {
            double sum = 0;
            for (size_t k = j; k < n; k++)
                sum += c[i * n + k] * c[j * n + k];
            check_near(sum, h[i * n + j] + (i == j ? shift : 0), 1e-14 * (double)(n + 10));
        }
    }
    free(h);
    free(c);
}

static void the_reversed_factor_is_upper_and_gives_h_back(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 2, 3, 5, 16, 33, 64, 127, 200 };
    for (size_t i = 0; i < QD_LENGTH(sizes); i++) {
        factor_times_its_transpose_is_h(sizes[i], 0, qd_rng_key(11, i, 0));
        factor_times_its_transpose_is_h(sizes[i], 0.25, qd_rng_key(11, i, 1));
    }
}

/* Past the size that LAPACK gets whole: any number of threads, and blocks that are not full. */
static void large_factors_are_the_same_for_any_number_of_threads(void **state)
{
    (void)state;
    enum { N = 1100, SOME = 60 };
    qd_error err = { 0 };
    qd_pool *pool = NULL;
    double *h = calloc(N * N, sizeof *h), *one = calloc(N * N, sizeof *one), *three = calloc(N * N, sizeof *three);
    for (size_t i = 0; i < N; i++)
        for (size_t j = i; j < N; j++) /* below it nothing is read */
            h[i * N + j] = pow(0.97, (double)(j - i)) * cos((double)(j - i)) + (i == j ? 0.5 : 0.0);
    memset(one, 0xff, N * N * sizeof *one);
    check_ok(qd_pool_create(3, &pool, &err));
    check_ok(qd_chol_reversed((qd_cmatd){ N, N, N, h }, 0.25, NULL, (qd_matd){ N, N, N, one }, &err));
    check_ok(qd_chol_reversed((qd_cmatd){ N, N, N, h }, 0.25, pool, (qd_matd){ N, N, N, three }, &err));
    assert_memory_equal(one, three, N * N * sizeof *one);
    memcpy(three, h, N * N * sizeof *h);
    check_ok(qd_chol_reversed_in_place(0.25, pool, (qd_matd){ N, N, N, three }, &err));
    assert_memory_equal(one, three, N * N * sizeof *one);
    for (size_t p = 0; p < SOME * SOME; p++) {
        size_t i = p / SOME * (N - 1) / (SOME - 1), j = p % SOME * (N - 1) / (SOME - 1);
        double sum = 0;
        for (size_t k = i > j ? i : j; k < N; k++)
            sum += one[i * N + k] * one[j * N + k];
        if (i <= j)
            check_near(sum, h[i * N + j] + (i == j ? 0.25 : 0), 1e-13);
        if (j < i)
            assert_true(one[i * N + j] == 0);
    }
    static const size_t places[] = { 3, 255, 256, 1023, 1024, N - 1 };
    for (size_t p = 0; p < QD_LENGTH(places); p++) {
        char part[64];
        double kept = h[places[p] * N + places[p]];
        h[places[p] * N + places[p]] = p % 2 ? (double)NAN : -1.0;
        check_fails(qd_chol_reversed((qd_cmatd){ N, N, N, h }, 0, pool, (qd_matd){ N, N, N, one }, &err), QD_ENUMERIC);
        snprintf(part, sizeof part, "pivot %zu of 1100 is not positive", places[p]);
        check_contains(err.text, part);
        h[places[p] * N + places[p]] = kept;
        h[(places[p] / 2) * N + places[p]] = (double)NAN;
        check_fails(qd_chol_reversed((qd_cmatd){ N, N, N, h }, 0, pool, (qd_matd){ N, N, N, one }, &err), QD_ENUMERIC);
        h[(places[p] / 2) * N + places[p]] = 0.0;
    }
    qd_pool_destroy(pool);
    free(h);
    free(one);
    free(three);
}

static void a_view_with_a_stride_is_read_as_one(void **state)
{
    (void)state;
    qd_error err = { 0 };
    enum { N = 9, LD = 14 };
    double h[N * N], wide[N * LD], a[N * N], b[N * N];
    make_spd(h, N, 5);
    for (size_t i = 0; i < N * LD; i++)
        wide[i] = NAN;
    for (size_t i = 0; i < N; i++)
        memcpy(&wide[i * LD], &h[i * N], N * sizeof *h);
    check_ok(qd_chol_reversed((qd_cmatd){ N, N, N, h }, 0.1, NULL, (qd_matd){ N, N, N, a }, &err));
    check_ok(qd_chol_reversed((qd_cmatd){ N, N, LD, wide }, 0.1, NULL, (qd_matd){ N, N, N, b }, &err));
    assert_memory_equal(a, b, sizeof a);
    memcpy(b, h, sizeof h);
    for (size_t i = 1; i < N; i++) /* of what lies in place only the upper triangle counts */
        b[i * N + i - 1] = NAN;
    check_ok(qd_chol_reversed_in_place(0.1, NULL, (qd_matd){ N, N, N, b }, &err));
    assert_memory_equal(a, b, sizeof a);
    check_fails(qd_chol_reversed_in_place(0, NULL, (qd_matd){ 3, 3, 4, b }, &err), QD_ESHAPE);
}

/* The factorization runs from the last column to the first: the pivot that fails is the largest index whose trailing
 * block is not positive definite. */
static void a_failing_pivot_is_named_in_the_matrix_own_numbering(void **state)
{
    (void)state;
    enum { N = 150 };
    static double h[N * N], c[N * N];
    static const size_t places[] = { 0, 1, 7, 63, 64, 100, 148, 149 };
    for (size_t p = 0; p < QD_LENGTH(places); p++) {
        for (int kind = 0; kind < 4; kind++) {
            static const double values[] = { -1, 0, NAN, INFINITY };
            qd_error err = { 0 };
            char part[64];
            memset(h, 0, sizeof h);
            for (size_t i = 0; i < N; i++)
                h[i * N + i] = 1 + (double)i;
            h[places[p] * N + places[p]] = values[kind];
            check_fails(qd_chol_reversed((qd_cmatd){ N, N, N, h }, 0, NULL, (qd_matd){ N, N, N, c }, &err),
                        QD_ENUMERIC);
            snprintf(part, sizeof part, "pivot %zu of 150 is not positive", places[p]);
            check_contains(err.text, part);
        }
    }
}

static void an_off_diagonal_nan_never_passes(void **state)
{
    (void)state;
    enum { N = 70 };
    static double h[N * N], c[N * N];
    for (size_t t = 0; t < 40; t++) {
        qd_error err = { 0 };
        size_t i = qd_rng_below(3, 2 * t, N - 1), j = i + 1 + qd_rng_below(3, 2 * t + 1, N - 1 - i);
        make_spd(h, N, 17);
        h[i * N + j] = t % 2 ? (double)NAN : (double)INFINITY;
        check_fails(qd_chol_reversed((qd_cmatd){ N, N, N, h }, 0, NULL, (qd_matd){ N, N, N, c }, &err), QD_ENUMERIC);
    }
}

static void semidefinite_becomes_definite_by_the_shift(void **state)
{
    (void)state;
    qd_error err = { 0 };
    const double ones[9] = { 1, 1, 1, 1, 1, 1, 1, 1, 1 };
    double c[9];
    check_fails(qd_chol_reversed((qd_cmatd){ 3, 3, 3, ones }, 0, NULL, (qd_matd){ 3, 3, 3, c }, &err), QD_ENUMERIC);
    check_contains(err.text, "pivot 1 of 3");
    check_ok(qd_chol_reversed((qd_cmatd){ 3, 3, 3, ones }, 1e-6, NULL, (qd_matd){ 3, 3, 3, c }, &err));
}

static void shapes_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    qd_error err = { 0 };
    double h[16] = { 0 }, c[16];
    check_fails(qd_chol_reversed((qd_cmatd){ 2, 3, 3, h }, 0, NULL, (qd_matd){ 2, 2, 2, c }, &err), QD_ESHAPE);
    check_contains(err.text, "2 x 3 is not square");
    check_fails(qd_chol_reversed((qd_cmatd){ 3, 3, 3, h }, 0, NULL, (qd_matd){ 2, 2, 2, c }, &err), QD_ESHAPE);
    check_fails(qd_chol_reversed((qd_cmatd){ 3, 3, 3, h }, 0, NULL, (qd_matd){ 3, 3, 4, c }, &err), QD_ESHAPE);
}

static void the_kernel_set_has_a_name(void **state)
{
    (void)state;
    assert_true(strlen(qd_blas_core_name()) > 0);
    unsetenv("OPENBLAS_CORETYPE"); /* tests/tap.sh chose it where OpenBLAS did not know the processor */
    assert_null(qd_blas_core_missed());
}

int main(void)
{
    qd_blas_single_thread();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffers_start_as_aligned_zeros),
        cmocka_unit_test(a_block_of_a_block_is_the_same_memory),
        cmocka_unit_test(products_are_those_of_the_triple_loop),
        cmocka_unit_test(what_solve_gives_times_the_triangle_is_the_right_side),
        cmocka_unit_test(the_reversed_factor_is_upper_and_gives_h_back),
        cmocka_unit_test(large_factors_are_the_same_for_any_number_of_threads),
        cmocka_unit_test(a_view_with_a_stride_is_read_as_one),
        cmocka_unit_test(a_failing_pivot_is_named_in_the_matrix_own_numbering),
        cmocka_unit_test(an_off_diagonal_nan_never_passes),
        cmocka_unit_test(semidefinite_becomes_definite_by_the_shift),
        cmocka_unit_test(shapes_that_do_not_fit_are_refused),
        cmocka_unit_test(the_kernel_set_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
