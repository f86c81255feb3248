/* test_hadamard.c: Hadamard matrices of every size against their definition, the fast product against the dense one, and layers rounded
 * in another basis. */
#include "layer.h"

#include "quant/hadamard.h"

static qd_hadamard *make(size_t n, qd_signs signs, uint64_t key)
{
    qd_error err = { 0 };
    qd_hadamard *out = NULL;
    check_ok(qd_hadamard_create(n, signs, key, &out, &err));
    return out;
}

/* M, column by column: M e_j. Row-major. */
static double *dense_of(const qd_hadamard *h)
{
    qd_error err = { 0 };
    size_t n = h->features;
    double *m = calloc(n * n, sizeof *m), *columns = calloc(n * n, sizeof *columns);
    for (size_t j = 0; j < n; j++)
        columns[j * n + j] = 1.0;
    check_ok(qd_hadamard_rows(h, QD_TURN, (qd_matd){ n, n, n, columns }, NULL, &err));
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            m[i * n + j] = columns[j * n + i];
    free(columns);
    return m;
}

/* Entries are +-1 / sqrt(K), rows are orthonormal. */
static void check_hadamard(const double *m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            check_near(fabs(m[i * n + j]) * sqrt((double)n), 1.0, 1e-12);
    for (size_t i = 0; i < n; i++)
        for (size_t k = i; k < n; k++) {
            double sum = 0.0;
            for (size_t j = 0; j < n; j++)
                sum += m[i * n + j] * m[k * n + j];
            check_near(sum, i == k ? 1.0 : 0.0, 1e-11);
        }
}

/* algorithms.md §8.1: the order by the odd part; 13, 25 and 61 by way of GF(25), GF(49) and GF(3^5). */
static const struct {
    size_t odd, order;
} orders[] = { { 3, 12 },   { 5, 20 },   { 7, 28 },   { 9, 36 },   { 11, 44 },  { 13, 52 },  { 15, 60 },  { 17, 68 },
               { 19, 76 },  { 21, 84 },  { 23, 368 }, { 25, 100 }, { 27, 108 }, { 29, 464 }, { 31, 124 }, { 33, 132 },
               { 35, 140 }, { 37, 148 }, { 39, 312 }, { 41, 164 }, { 43, 344 }, { 45, 180 }, { 47, 752 }, { 49, 196 },
               { 51, 204 }, { 53, 212 }, { 55, 220 }, { 57, 228 }, { 61, 244 }, { 63, 252 } };

static void every_order_of_the_list_is_a_hadamard_matrix(void **state)
{
    (void)state;
    for (size_t i = 0; i < QD_LENGTH(orders); i++) {
        qd_hadamard *h = make(orders[i].order, QD_SIGNS_NONE, 0);
        assert_int_equal(h->order, orders[i].order);
        assert_int_equal(h->mix.view.rows, orders[i].order);
        double *m = dense_of(h);
        check_hadamard(m, orders[i].order);
        free(m);
        qd_hadamard_destroy(h);
        /* with half of the factor two there is no such matrix: blocks */
        h = make(orders[i].order / 2, QD_SIGNS_NONE, 0);
        assert_int_equal(h->mix.view.rows, 0);
        qd_hadamard_destroy(h);
    }
}

/* 1 or -1 by Euler's criterion. */
static double legendre(size_t a, size_t p)
{
    size_t power = 1;
    for (size_t i = 0; i < (p - 1) / 2; i++)
        power = power * (a % p) % p;
    return a % p == 0 ? 0.0 : power == 1 ? 1.0 : -1.0;
}

static double sylvester(size_t i, size_t j)
{
    return __builtin_popcountll(i & j) % 2 == 0 ? 1.0 : -1.0;
}

/* I + [[0, 1], [-1, chi(i - j)]] for a prime q = 3 mod 4. */
static double paley(size_t i, size_t j, size_t q)
{
    double same = i == j;
    if (i == 0)
        return 1.0;
    return j == 0 ? -1.0 : same + legendre(i + q - j, q);
}

/* reference-numbers.md §1, entry by entry: 384 = 12 x 32, 128 by Sylvester, 172 in blocks of 4. */
static void the_plain_matrices_are_those_of_the_reference_numbers(void **state)
{
    (void)state;
    static const size_t sizes[] = { 384, 128, 172, 64, 1024 };
    for (size_t k = 0; k < QD_LENGTH(sizes); k++) {
        size_t n = sizes[k];
        qd_hadamard *h = make(n, QD_SIGNS_NONE, 0);
        double *m = dense_of(h);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                double want = sylvester(i, j) / sqrt((double)n);
                if (n == 384)
                    want = paley(i / 32, j / 32, 11) * sylvester(i % 32, j % 32) / sqrt(384.0);
                else if (n == 172)
                    want = i / 4 == j / 4 ? sylvester(i % 4, j % 4) / 2.0 : 0.0;
                check_near(m[i * n + j], want, 1e-15);
            }
        free(m);
        qd_hadamard_destroy(h);
    }
}

static const size_t sizes[] = { 1, 2, 3, 4, 6, 7, 8, 12, 20, 24, 28, 40, 59, 72, 86, 118, 172, 384, 688 };

static void fill(double *x, size_t count, uint64_t key)
{
    for (size_t i = 0; i < count; i++)
        x[i] = normal(key, i);
}

static void the_fast_product_is_the_dense_one_in_both_directions(void **state)
{
    (void)state;
    enum { ROWS = 5 };
    qd_error err = { 0 };
    for (size_t k = 0; k < 2 * QD_LENGTH(sizes); k++) {
        size_t n = sizes[k / 2];
        qd_hadamard *h = make(n, k % 2 == 0 ? QD_SIGNS_NONE : QD_SIGNS_RANDOM, 7 + k);
        double *m = dense_of(h), *x = calloc(ROWS * n, sizeof *x), *y = calloc(ROWS * n, sizeof *y);
        fill(x, ROWS * n, k);
        memcpy(y, x, ROWS * n * sizeof *x);
        check_ok(qd_hadamard_rows(h, QD_TURN, (qd_matd){ ROWS, n, n, y }, NULL, &err));
        for (size_t r = 0; r < ROWS; r++)
            for (size_t i = 0; i < n; i++) {
                double want = 0.0;
                for (size_t j = 0; j < n; j++)
                    want += m[i * n + j] * x[r * n + j];
                check_near(y[r * n + i], want, 1e-12);
            }
        check_ok(qd_hadamard_rows(h, QD_TURN_BACK, (qd_matd){ ROWS, n, n, y }, NULL, &err));
        for (size_t i = 0; i < ROWS * n; i++)
            check_near(y[i], x[i], 1e-13 * 8);
        memcpy(y, x, ROWS * n * sizeof *x);
        check_ok(qd_hadamard_rows(h, QD_TURN_BACK, (qd_matd){ ROWS, n, n, y }, NULL, &err));
        for (size_t r = 0; r < ROWS; r++)
            for (size_t j = 0; j < n; j++) {
                double want = 0.0;
                for (size_t i = 0; i < n; i++)
                    want += m[i * n + j] * x[r * n + i];
                check_near(y[r * n + j], want, 1e-12);
            }
        free(m);
        free(x);
        free(y);
        qd_hadamard_destroy(h);
    }
}

static void signs_are_a_function_of_the_key(void **state)
{
    (void)state;
    enum { N = 384 };
    qd_hadamard *plain = make(N, QD_SIGNS_NONE, 1), *a = make(N, QD_SIGNS_RANDOM, 1), *b = make(N, QD_SIGNS_RANDOM, 1),
                *c = make(N, QD_SIGNS_RANDOM, 2);
    size_t minus = 0, differ = 0;
    assert_null(plain->signs);
    for (size_t j = 0; j < N; j++) {
        assert_true(fabs(a->signs[j]) == 1.0 && a->signs[j] == b->signs[j]);
        minus += a->signs[j] < 0;
        differ += a->signs[j] != c->signs[j];
    }
    assert_true(minus > N / 2 - 60 && minus < N / 2 + 60); /* six standard deviations */
    assert_true(differ > N / 2 - 60 && differ < N / 2 + 60);
    qd_hadamard_destroy(plain);
    qd_hadamard_destroy(a);
    qd_hadamard_destroy(b);
    qd_hadamard_destroy(c);
}

/* out = M m M^T, from the dense matrix. */
static void turn_slowly(const double *m, const double *dense, size_t n, double *out)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0.0;
            for (size_t k = 0; k < n; k++)
                for (size_t l = 0; l < n; l++)
                    sum += dense[i * n + k] * m[k * n + l] * dense[j * n + l];
            out[i * n + j] = sum;
        }
}

static void moments_turn_on_both_sides(void **state)
{
    (void)state;
    static const size_t widths[] = { 1, 6, 12, 20, 43, 44 };
    qd_error err = { 0 };
    for (size_t k = 0; k < QD_LENGTH(widths); k++) {
        size_t n = widths[k];
        qd_hadamard *h = make(n, QD_SIGNS_RANDOM, k);
        double *dense = dense_of(h), *m = calloc(n * n, sizeof *m), *want = calloc(n * n, sizeof *want);
        fill(m, n * n, 100 + k);
        turn_slowly(m, dense, n, want);
        check_ok(qd_hadamard_moment(h, (qd_matd){ n, n, n, m }, NULL, &err));
        for (size_t i = 0; i < n * n; i++)
            check_near(m[i], want[i], 1e-11);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                m[i * n + j] = cos((double)((i + 1) * (j + 1)));
        turn_slowly(m, dense, n, want);
        check_ok(qd_hadamard_gram(h, (qd_matd){ n, n, n, m }, NULL, &err));
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                check_near(m[i * n + j], want[i * n + j], 1e-11);
                assert_true(m[i * n + j] == m[j * n + i]);
            }
        free(dense);
        free(m);
        free(want);
        qd_hadamard_destroy(h);
    }
}

static void any_number_of_threads_gives_the_same_bytes(void **state)
{
    (void)state;
    enum { ROWS = 53, N = 172 };
    qd_error err = { 0 };
    qd_pool *pool = NULL;
    check_ok(qd_pool_create(3, &pool, &err));
    qd_hadamard *h = make(N, QD_SIGNS_RANDOM, 3);
    float *w = calloc(3 * ROWS * N, sizeof *w), *one = w + ROWS * N, *three = one + ROWS * N;
    for (size_t i = 0; i < ROWS * N; i++)
        w[i] = (float)normal(4, i);
    check_ok(qd_hadamard_weights(h, QD_TURN, qd_cmatf_view(w, ROWS, N), qd_matf_view(one, ROWS, N), NULL, &err));
    check_ok(qd_hadamard_weights(h, QD_TURN, qd_cmatf_view(w, ROWS, N), qd_matf_view(three, ROWS, N), pool, &err));
    assert_memory_equal(one, three, ROWS * N * sizeof *one);
    check_ok(qd_hadamard_weights(h, QD_TURN_BACK, qd_cmatf_view(one, ROWS, N), qd_matf_view(one, ROWS, N), pool, &err));
    for (size_t i = 0; i < ROWS * N; i++)
        check_near((double)one[i], (double)w[i], 1e-6);
    free(w);
    qd_hadamard_destroy(h);
    qd_pool_destroy(pool);
}

static void no_features_are_refused(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_hadamard *out = NULL;
    check_fails(qd_hadamard_create(0, QD_SIGNS_NONE, 0, &out, &err), QD_ESHAPE);
    assert_null(out);
}

/* ||X (w - q)^T||^2 / m of all rows, token by token, q in the basis of X. */
static double error_by_tokens(const layer *l, const float *w, const float *q)
{
    double sum = 0.0;
    for (size_t t = 0; t < l->tokens; t++)
        for (size_t o = 0; o < l->rows; o++) {
            double y = 0.0;
            for (size_t j = 0; j < l->cols; j++)
                y += (double)qd_matf_row(l->x.view, t)[j] * ((double)w[o * l->cols + j] - (double)q[o * l->cols + j]);
            sum += y * y;
        }
    return sum / (double)l->tokens;
}

/* Weights and H turned; the certificate of the codes is that of what the layer puts out in its own basis. */
static void what_is_certified_in_a_basis_holds_outside(void **state)
{
    (void)state;
    static const char *const algorithms[] = { "rtn", "optq" };
    static const size_t widths[] = { 24, 44, 21, 64 };
    qd_error err = { 0 };
    for (size_t k = 0; k < 8; k++) {
        layer_spec spec = { .rows = 9, .cols = widths[k / 2], .bits = 3, .seed = k, .alphabet = "int-asymmetric" };
        layer l = layer_make(spec);
        size_t count = l.rows * l.cols;
        float *w = calloc(2 * count, sizeof *w), *q = w + count;
        memcpy(w, l.w.view.data, count * sizeof *w);
        qd_hadamard *h = make(l.cols, QD_SIGNS_RANDOM, k);
        check_ok(qd_hadamard_weights(h, QD_TURN, qd_matf_const(l.w.view), l.w.view, NULL, &err));
        check_ok(qd_hadamard_gram(h, l.gram.sum.view, NULL, &err));
        layer_grid(&l, &spec);
        layer_factor(&l, &spec);
        layer_round(&l, algorithms[k % 2]);
        qd_grid_dequantize(&l.grid, l.codes, qd_matf_view(q, l.rows, l.cols));
        check_ok(qd_hadamard_weights(h, QD_TURN_BACK, qd_cmatf_view(q, l.rows, l.cols), qd_matf_view(q, l.rows, l.cols),
                                     NULL, &err));
        check_close(l.certificate.error_sq, error_by_tokens(&l, w, q), 1e-5);
        assert_true(l.certificate.identity_residual < 1e-9);
        free(w);
        qd_hadamard_destroy(h);
        layer_free(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_order_of_the_list_is_a_hadamard_matrix),
        cmocka_unit_test(the_plain_matrices_are_those_of_the_reference_numbers),
        cmocka_unit_test(the_fast_product_is_the_dense_one_in_both_directions),
        cmocka_unit_test(signs_are_a_function_of_the_key),
        cmocka_unit_test(moments_turn_on_both_sides),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bytes),
        cmocka_unit_test(no_features_are_refused),
        cmocka_unit_test(what_is_certified_in_a_basis_holds_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
