/* test_gram.c: second moments against plain sums in float64. */
#include "base/pool.h"
#include "layer.h"

static void fill(qd_matf x, uint64_t seed)
{
    for (size_t i = 0; i < x.rows; i++)
        for (size_t j = 0; j < x.cols; j++)
            qd_matf_row(x, i)[j] = (float)(normal(seed, i * x.cols + j) * (j % 7 == 2 ? 20.0 : 1.0));
}

/* Tokens below, at and past a chunk; features below, at and past a tile. */
static const struct {
    size_t tokens, features;
} shapes[] = { { 1, 1 },    { 3, 5 },     { 9, 64 },    { 50, 129 }, { 100, 256 },
               { 70, 257 }, { 2048, 33 }, { 4099, 40 }, { 30, 530 } };
enum { SHAPES = QD_LENGTH(shapes) };

static double naive(qd_cmatf a, qd_cmatf b, size_t i, size_t j)
{
    double sum = 0.0;
    for (size_t t = 0; t < a.rows; t++)
        sum += (double)qd_cmatf_row(a, t)[i] * (double)qd_cmatf_row(b, t)[j];
    return sum / (double)a.rows;
}

static void mean_of_outer_products_and_exactly_symmetric(void **state)
{
    (void)state;
    qd_error err = { 0 };
    for (size_t s = 0; s < SHAPES; s++) {
        size_t n = shapes[s].features;
        qd_matf_buf x = { 0 };
        qd_gram gram = { 0 };
        check_ok(qd_matf_buf_init(&x, shapes[s].tokens, n, &err));
        fill(x.view, 70 + s);
        check_ok(qd_gram_init(&gram, n, &err));
        check_ok(qd_gram_add(&gram, qd_matf_const(x.view), NULL, &err));
        assert_int_equal(gram.tokens, shapes[s].tokens);
        check_ok(qd_gram_finish(&gram, &err));
        size_t stride = n > 60 ? 13 : 1;
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j += stride) {
                double h = qd_matd_row(gram.sum.view, i)[j];
                assert_true(h == qd_matd_row(gram.sum.view, j)[i]);
                double size = sqrt(qd_matd_row(gram.sum.view, i)[i] * qd_matd_row(gram.sum.view, j)[j]);
                check_near(h, naive(qd_matf_const(x.view), qd_matf_const(x.view), i, j), 2e-6 * size + 1e-30);
            }
        qd_matf_buf_fini(&x);
        qd_gram_fini(&gram);
    }
}

static void cross_moments_have_the_float_stream_in_rows(void **state)
{
    (void)state;
    qd_error err = { 0 };
    for (size_t s = 0; s < SHAPES; s++) {
        size_t n = shapes[s].features;
        qd_matf_buf x = { 0 }, y = { 0 };
        qd_gram gram = { 0 };
        check_ok(qd_matf_buf_init(&x, shapes[s].tokens, n, &err));
        check_ok(qd_matf_buf_init(&y, shapes[s].tokens, n, &err));
        fill(x.view, 80 + s);
        fill(y.view, 90 + s);
        check_ok(qd_gram_init(&gram, n, &err));
        check_ok(qd_gram_add_cross(&gram, qd_matf_const(x.view), qd_matf_const(y.view), NULL, &err));
        check_ok(qd_gram_finish(&gram, &err));
        size_t stride = n > 60 ? 13 : 1;
        for (size_t i = 0; i < n; i++)
            for (size_t j = i % stride; j < n; j += stride) {
                double size = (i % 7 == 2 ? 20.0 : 1.0) * (j % 7 == 2 ? 20.0 : 1.0);
                check_near(qd_matd_row(gram.sum.view, i)[j], naive(qd_matf_const(x.view), qd_matf_const(y.view), i, j),
                           1e-5 * size);
            }
        qd_matf_buf_fini(&x);
        qd_matf_buf_fini(&y);
        qd_gram_fini(&gram);
    }
}

static void small_integers_are_exact_in_any_pieces(void **state)
{
    (void)state;
    qd_error err = { 0 };
    enum { TOKENS = 5000, FEATURES = 9 };
    qd_matf_buf x = { 0 };
    qd_gram gram = { 0 };
    check_ok(qd_matf_buf_init(&x, TOKENS, FEATURES, &err));
    for (size_t i = 0; i < (size_t)TOKENS * FEATURES; i++)
        x.view.data[i] = (float)(qd_rng_bits(3, i) % 2); /* 0/1 rows */
    check_ok(qd_gram_init(&gram, FEATURES, &err));
    for (size_t t = 0, step = 1; t < TOKENS; t += step, step = qd_min_size(2 * step + 1, TOKENS - t))
        check_ok(qd_gram_add(&gram, qd_cmatf_block(qd_matf_const(x.view), t, 0, step, FEATURES), NULL, &err));
    assert_int_equal(gram.tokens, TOKENS);
    check_ok(qd_gram_finish(&gram, &err));
    for (size_t i = 0; i < FEATURES; i++)
        for (size_t j = 0; j < FEATURES; j++)
            assert_true(qd_matd_row(gram.sum.view, i)[j] == naive(qd_matf_const(x.view), qd_matf_const(x.view), i, j));
    qd_matf_buf_fini(&x);
    qd_gram_fini(&gram);
}

static void threads_do_not_change_a_byte(void **state)
{
    (void)state;
    qd_error err = { 0 };
    enum { TOKENS = 3000, FEATURES = 600 };
    qd_pool *pool = NULL;
    qd_matf_buf x = { 0 }, y = { 0 };
    check_ok(qd_pool_create(2, &pool, &err));
    check_ok(qd_matf_buf_init(&x, TOKENS, FEATURES, &err));
    check_ok(qd_matf_buf_init(&y, TOKENS, FEATURES, &err));
    fill(x.view, 1);
    fill(y.view, 2);
    qd_gram one = { 0 }, two = { 0 };
    for (int cross = 0; cross < 2; cross++) {
        check_ok(qd_gram_init(&one, FEATURES, &err));
        check_ok(qd_gram_init(&two, FEATURES, &err));
        qd_cmatf a = qd_matf_const(x.view), b = qd_matf_const(y.view);
        check_ok(cross ? qd_gram_add_cross(&one, a, b, NULL, &err) : qd_gram_add(&one, a, NULL, &err));
        check_ok(cross ? qd_gram_add_cross(&two, a, b, pool, &err) : qd_gram_add(&two, a, pool, &err));
        assert_memory_equal(one.sum.view.data, two.sum.view.data, sizeof(double) * FEATURES * FEATURES);
        qd_gram_fini(&one);
        qd_gram_fini(&two);
    }
    qd_matf_buf_fini(&x);
    qd_matf_buf_fini(&y);
    qd_pool_destroy(pool);
}

/* Three products go into each sum: of one tile and few tokens, so that threads would come to add to it at once. */
static void threads_do_not_change_a_byte_of_two_terms(void **state)
{
    (void)state;
    enum { TOKENS = 32, LEFT = 96, RIGHT = 96, TIMES = 3000 };
    qd_error err = { 0 };
    qd_pool *pool = NULL;
    qd_matf_buf x = { 0 }, y = { 0 };
    qd_gram own[2] = { 0 }, cross[2] = { 0 };
    check_ok(qd_pool_create(3, &pool, &err));
    check_ok(qd_matf_buf_init(&x, TOKENS, LEFT, &err));
    check_ok(qd_matf_buf_init(&y, TOKENS, RIGHT, &err));
    fill(x.view, 3);
    fill(y.view, 4);
    const qd_gram_inputs inputs = { .count = 2, .input = { qd_matf_const(x.view), qd_matf_const(y.view) } };
    for (size_t i = 0; i < 2; i++) {
        check_ok(qd_gram_init(&own[i], LEFT, &err));
        check_ok(qd_gram_init_cross(&cross[i], LEFT, RIGHT, &err));
        own[i].arithmetic = cross[i].arithmetic = QD_ARITHMETIC_TWO_TERMS;
        const qd_gram_term both[] = { { &own[i], 0, 0 }, { &cross[i], 0, 1 } };
        for (size_t time = 0; time < TIMES; time++)
            check_ok(qd_gram_add_terms(&inputs, both, 2, i == 0 ? NULL : pool, &err));
    }
    assert_memory_equal(own[0].sum.view.data, own[1].sum.view.data, sizeof(double) * LEFT * LEFT);
    assert_memory_equal(cross[0].sum.view.data, cross[1].sum.view.data, sizeof(double) * LEFT * RIGHT);
    for (size_t i = 0; i < 2; i++) {
        qd_gram_fini(&own[i]);
        qd_gram_fini(&cross[i]);
    }
    qd_matf_buf_fini(&x);
    qd_matf_buf_fini(&y);
    qd_pool_destroy(pool);
}

static void tiny_inputs_are_not_dead(void **state)
{
    (void)state;
    static const double scales[] = { 1e-45, 1e-42, 1e-30, 1e-20, 1e-10, 1e18 };
    qd_error err = { 0 };
    for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
        float x[6] = { 1, 2, -3, 4, 5, 6 }, y[6] = { 7, -8, 9, 1, 5, 3 };
        for (size_t i = 0; i < 6; i++)
            x[i] = (float)((double)x[i] * scales[s]);
        qd_cmatf a = qd_cmatf_view(x, 2, 3), b = qd_cmatf_view(y, 2, 3);
        qd_gram gram = { 0 }, cross = { 0 };
        check_ok(qd_gram_init(&gram, 3, &err));
        check_ok(qd_gram_init(&cross, 3, &err));
        check_ok(qd_gram_add(&gram, a, NULL, &err));
        check_ok(qd_gram_add_cross(&cross, a, b, NULL, &err));
        check_ok(qd_gram_finish(&gram, &err));
        check_ok(qd_gram_finish(&cross, &err));
        for (size_t i = 0; i < 3; i++)
            for (size_t j = 0; j < 3; j++) {
                double h = naive(a, a, i, j), g = naive(a, b, i, j);
                check_near(qd_matd_row(gram.sum.view, i)[j] / h, 1.0, 1e-6);
                check_near(qd_matd_row(cross.sum.view, i)[j] / g, 1.0, 1e-6);
            }
        qd_gram_fini(&gram);
        qd_gram_fini(&cross);
    }
}

static void bad_input_is_named(void **state)
{
    (void)state;
    static const float bad[] = { NAN, INFINITY, 1e30f }; /* the last overflows when squared */
    for (size_t i = 0; i < 3; i++) {
        qd_error err = { 0 };
        qd_gram gram = { 0 };
        float x[6] = { 1, 2, 3, 4, bad[i], 6 };
        check_ok(qd_gram_init(&gram, 3, &err));
        check_ok(qd_gram_add(&gram, qd_cmatf_view(x, 2, 3), NULL, &err));
        check_fails(qd_gram_finish(&gram, &err), QD_ENUMERIC);
        check_contains(err.text, ", 1) is not finite");
        qd_gram_fini(&gram);
    }
}

static void wrong_shapes_and_no_tokens_are_refused(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_gram gram = { 0 };
    const float x[6] = { 0 };
    check_ok(qd_gram_init(&gram, 3, &err));
    check_fails(qd_gram_finish(&gram, &err), QD_ENUMERIC);
    check_contains(err.text, "no tokens");
    check_fails(qd_gram_add(&gram, qd_cmatf_view(x, 3, 2), NULL, &err), QD_ESHAPE);
    check_fails(qd_gram_add_cross(&gram, qd_cmatf_view(x, 2, 3), qd_cmatf_view(x, 1, 3), NULL, &err), QD_ESHAPE);
    check_contains(err.text, "tokens");
    check_ok(qd_gram_add(&gram, qd_cmatf_view(x, 0, 3), NULL, &err));
    assert_int_equal(gram.tokens, 0);
    qd_gram_fini(&gram);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mean_of_outer_products_and_exactly_symmetric),
        cmocka_unit_test(cross_moments_have_the_float_stream_in_rows),
        cmocka_unit_test(small_integers_are_exact_in_any_pieces),
        cmocka_unit_test(threads_do_not_change_a_byte),
        cmocka_unit_test(threads_do_not_change_a_byte_of_two_terms),
        cmocka_unit_test(tiny_inputs_are_not_dead),
        cmocka_unit_test(bad_input_is_named),
        cmocka_unit_test(wrong_shapes_and_no_tokens_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
