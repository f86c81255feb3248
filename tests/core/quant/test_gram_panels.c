/* test_gram_panels.c: second moments of inputs rounded to bf16, by every way that this processor has, against sums in float64 over the rounded
 * inputs. */
#include "base/pool.h"
#include "layer.h"
#include "linalg/half.h"
#include "quant/gram_tiles.h"

#include "core/linalg/tiles_emulated.h"

#include "linalg/product_amx.c"

typedef void claim_of_kernel(const qd_product_kernel *kernel);

static void for_each_kernel(claim_of_kernel *claim)
{
    for (size_t k = 0; qd_product_kernel_at(k) != NULL; k++)
        if (qd_product_kernel_at(k)->supported())
            claim(qd_product_kernel_at(k));
#ifdef QD_PRODUCT_X86
    if (qd_has_avx512_bf16()) /* which AMX's panels are packed with */
        claim(&qd_product_emulated);
#endif
}

static void fill(qd_matf x, uint64_t seed)
{
    for (size_t i = 0; i < x.rows; i++)
        for (size_t j = 0; j < x.cols; j++)
            qd_matf_row(x, i)[j] = (float)(normal(seed, i * x.cols + j) * (j % 7 == 2 ? 20.0 : 1.0));
}

static double rounded(float value)
{
    return (double)qd_bf16_to_float(qd_float_to_bf16(value));
}

static double naive(qd_cmatf a, qd_cmatf b, size_t i, size_t j)
{
    double sum = 0.0;
    for (size_t t = 0; t < a.rows; t++)
        sum += rounded(qd_cmatf_row(a, t)[i]) * rounded(qd_cmatf_row(b, t)[j]);
    return sum;
}

static double length(qd_cmatf a, size_t i)
{
    return sqrt(naive(a, a, i, i));
}

static void add(const qd_product_kernel *kernel, qd_matd sum, qd_cmatf left, qd_cmatf right, qd_symmetry symmetry,
                qd_pool *pool)
{
    qd_error err = { 0 };
    size_t count = symmetry == QD_SYMMETRIC ? 1 : 2;
    const qd_gram_inputs inputs = { .count = count, .input = { left, right } };
    check_ok(qd_gram_add_panels(kernel, &inputs, &(qd_gram_sum){ sum, 0, count - 1, symmetry }, 1, pool, &err));
}

/* Below, at and past a pair, a depth, a chunk; features below, at and past a panel and a large tile. */
static const struct {
    size_t tokens, left, right;
} shapes[] = { { 1, 1, 2 },      { 3, 5, 5 },     { 31, 64, 48 },    { 33, 129, 47 },  { 100, 256, 49 },
               { 513, 96, 257 }, { 2048, 33, 3 }, { 2081, 40, 130 }, { 4099, 20, 48 }, { 40, 1250, 1300 } };
enum { SHAPES = QD_LENGTH(shapes) };

static void complete(qd_matd_buf *sum)
{
    qd_gram gram = { .sum = *sum, .part = QD_GRAM_UPPER };
    qd_gram_complete(&gram);
}

static void sums_of(const qd_product_kernel *kernel)
{
    qd_error err = { 0 };
    for (size_t s = 0; s < SHAPES; s++) {
        qd_matf_buf x = { 0 }, y = { 0 };
        qd_matd_buf own = { 0 }, cross = { 0 };
        size_t n = shapes[s].left, m = shapes[s].right;
        check_ok(qd_matf_buf_init(&x, shapes[s].tokens, n, &err));
        check_ok(qd_matf_buf_init(&y, shapes[s].tokens, m, &err));
        fill(x.view, 70 + s);
        fill(y.view, 90 + s);
        check_ok(qd_matd_buf_init(&own, n, n, &err));
        check_ok(qd_matd_buf_init(&cross, n, m, &err));
        qd_cmatf a = qd_matf_const(x.view), b = qd_matf_const(y.view);
        add(kernel, own.view, a, a, QD_SYMMETRIC, NULL);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < i; j++)
                assert_true(qd_matd_row(own.view, i)[j] == 0);
        complete(&own);
        add(kernel, cross.view, a, b, QD_GENERAL, NULL);
        size_t stride = n * m > 3000 ? 17 : 1;
        for (size_t i = 0; i < n; i += 1 + n / 100)
            for (size_t j = i % stride; j < n; j += stride) {
                double h = qd_matd_row(own.view, i)[j];
                assert_true(h == qd_matd_row(own.view, j)[i]);
                check_near(h, naive(a, a, i, j), 2e-6 * length(a, i) * length(a, j));
            }
        for (size_t i = 0; i < n; i += 1 + n / 100)
            for (size_t j = i % stride; j < m; j += stride)
                check_near(qd_matd_row(cross.view, i)[j], naive(a, b, i, j), 2e-6 * length(a, i) * length(b, j));
        qd_matf_buf_fini(&x);
        qd_matf_buf_fini(&y);
        qd_matd_buf_fini(&own);
        qd_matd_buf_fini(&cross);
    }
}

static void sums_over_rounded_inputs_and_exactly_symmetric(void **state)
{
    (void)state;
    for_each_kernel(sums_of);
}

static void near_float32_of(const qd_product_kernel *kernel)
{
    enum { TOKENS = 5000, FEATURES = 150 };
    qd_error err = { 0 };
    qd_matf_buf x = { 0 };
    qd_gram plain = { 0 };
    qd_matd_buf sum = { 0 };
    check_ok(qd_matf_buf_init(&x, TOKENS, FEATURES, &err));
    check_ok(qd_matd_buf_init(&sum, FEATURES, FEATURES, &err));
    check_ok(qd_gram_init(&plain, FEATURES, &err));
    fill(x.view, 11);
    for (size_t i = 0; i < (size_t)TOKENS * FEATURES; i++)
        x.view.data[i] = (float)rounded(x.view.data[i]) + 0.5f;
    for (size_t i = 0; i < (size_t)TOKENS * FEATURES; i++)
        x.view.data[i] = (float)rounded(x.view.data[i]);
    check_ok(qd_gram_add(&plain, qd_matf_const(x.view), NULL, &err));
    add(kernel, sum.view, qd_matf_const(x.view), qd_matf_const(x.view), QD_SYMMETRIC, NULL);
    double above = 0, below = 0;
    for (size_t i = 0; i < (size_t)FEATURES * FEATURES; i++) {
        double want = plain.sum.view.data[i], got = sum.view.data[i];
        above += (got - want) * (got - want);
        below += want * want;
    }
    check_near(sqrt(above / below), 0, 1e-6);
    qd_matf_buf_fini(&x);
    qd_matd_buf_fini(&sum);
    qd_gram_fini(&plain);
}

static void within_a_millionth_of_float32_on_the_same_inputs(void **state)
{
    (void)state;
    for_each_kernel(near_float32_of);
}

static void threads_of(const qd_product_kernel *kernel)
{
    enum { TOKENS = 4200, FEATURES = 650, OTHERS = 300 };
    qd_error err = { 0 };
    qd_pool *pool = NULL;
    qd_matf_buf x = { 0 }, y = { 0 };
    check_ok(qd_pool_create(3, &pool, &err));
    check_ok(qd_matf_buf_init(&x, TOKENS, FEATURES, &err));
    check_ok(qd_matf_buf_init(&y, TOKENS, OTHERS, &err));
    fill(x.view, 1);
    fill(y.view, 2);
    for (int symmetry = QD_SYMMETRIC; symmetry <= QD_GENERAL; symmetry++) {
        qd_matd_buf one = { 0 }, three = { 0 };
        qd_cmatf a = qd_matf_const(x.view), b = symmetry == QD_SYMMETRIC ? a : qd_matf_const(y.view);
        check_ok(qd_matd_buf_init(&one, a.cols, b.cols, &err));
        check_ok(qd_matd_buf_init(&three, a.cols, b.cols, &err));
        add(kernel, one.view, a, b, (qd_symmetry)symmetry, NULL);
        add(kernel, three.view, a, b, (qd_symmetry)symmetry, pool);
        assert_memory_equal(one.view.data, three.view.data, sizeof(double) * a.cols * b.cols);
        qd_matd_buf_fini(&one);
        qd_matd_buf_fini(&three);
    }
    qd_matf_buf_fini(&x);
    qd_matf_buf_fini(&y);
    qd_pool_destroy(pool);
}

static void threads_do_not_change_a_byte(void **state)
{
    (void)state;
    for_each_kernel(threads_of);
}

/* Both streams' difference and the residual: one input has to be scaled. The first two are bf16 already. */
enum { TOGETHER_TOKENS = 2300, TOGETHER_X = 70, TOGETHER_E = 37 };
typedef struct streams {
    qd_matf_buf m[QD_GRAM_TERM_INPUTS];
    uint16_t halves[2][TOGETHER_TOKENS * TOGETHER_X];
    qd_gram_inputs inputs;
} streams;

static const struct {
    size_t left, right;
} terms[QD_GRAM_TERMS] = { { 0, 0 }, { 2, 0 }, { 2, 1 }, { 1, 0 }, { 1, 1 } };

static qd_symmetry symmetry_of(size_t term)
{
    return terms[term].left == terms[term].right ? QD_SYMMETRIC : QD_GENERAL;
}

static void open_streams(streams *s)
{
    qd_error err = { 0 };
    *s = (streams){ .inputs = { .count = QD_GRAM_TERM_INPUTS } };
    for (size_t k = 0; k < QD_GRAM_TERM_INPUTS; k++) {
        check_ok(qd_matf_buf_init(&s->m[k], TOGETHER_TOKENS, k == 2 ? TOGETHER_E : TOGETHER_X, &err));
        fill(s->m[k].view, 30 + k);
        for (size_t i = 0; k < 2 && i < (size_t)TOGETHER_TOKENS * TOGETHER_X; i++) {
            s->halves[k][i] = qd_float_to_bf16(s->m[k].view.data[i] * (k == 1 ? 0x1p-70f : 1));
            s->m[k].view.data[i] = qd_bf16_to_float(s->halves[k][i]);
        }
        s->inputs.input[k] = qd_matf_const(s->m[k].view);
    }
}

/* Some pieces lie in memory, others are made, as it comes. */
static qd_code read_streams(void *ctx, size_t first, qd_gram_rows *rows, qd_error *err)
{
    const streams *s = ctx;
    (void)err;
    assert_null(rows[2].room); /* whose input has data */
    for (size_t k = 0; k < 2; k++) {
        qd_cmath whole = qd_cmath_view(s->halves[k], TOGETHER_TOKENS, TOGETHER_X);
        assert_ptr_equal(rows[k].x.data, rows[k].room);
        if (first / 64 % 3 == k)
            rows[k].x = qd_cmath_block(whole, first, 0, rows[k].x.rows, TOGETHER_X);
        else
            memcpy(rows[k].room, qd_cmath_row(whole, first), rows[k].x.rows * TOGETHER_X * sizeof(uint16_t));
    }
    return QD_OK;
}

static void check_together(const qd_product_kernel *kernel, const qd_gram_inputs *inputs, const qd_matd_buf *want)
{
    qd_error err = { 0 };
    qd_pool *pool = NULL;
    qd_matd_buf found[QD_GRAM_TERMS] = { 0 };
    qd_gram_sum sums[QD_GRAM_TERMS];
    check_ok(qd_pool_create(3, &pool, &err));
    for (size_t i = 0; i < QD_GRAM_TERMS; i++) {
        check_ok(qd_matd_buf_init(&found[i], want[i].view.rows, want[i].view.cols, &err));
        sums[i] = (qd_gram_sum){ found[i].view, terms[i].left, terms[i].right, symmetry_of(i) };
    }
    check_ok(qd_gram_add_panels(kernel, inputs, sums, QD_GRAM_TERMS, pool, &err));
    for (size_t i = 0; i < QD_GRAM_TERMS; i++) {
        size_t bytes = sizeof(double) * want[i].view.rows * want[i].view.cols;
        assert_memory_equal(found[i].view.data, want[i].view.data, bytes);
        qd_matd_buf_fini(&found[i]);
    }
    qd_pool_destroy(pool);
}

static void together_of(const qd_product_kernel *kernel)
{
    streams s;
    qd_error err = { 0 };
    qd_matd_buf one[QD_GRAM_TERMS] = { 0 };
    open_streams(&s);
    for (size_t i = 0; i < QD_GRAM_TERMS; i++) {
        qd_cmatf left = s.inputs.input[terms[i].left], right = s.inputs.input[terms[i].right];
        check_ok(qd_matd_buf_init(&one[i], left.cols, right.cols, &err));
        add(kernel, one[i].view, left, right, symmetry_of(i), NULL);
        assert_true(fabs(one[i].view.data[0]) > 0);
    }
    check_together(kernel, &s.inputs, one); /* of floats; then of halves */
    s.inputs.input[0].data = s.inputs.input[1].data = NULL;
    s.inputs.read = read_streams;
    s.inputs.ctx = &s;
    check_together(kernel, &s.inputs, one);
    for (size_t i = 0; i < QD_GRAM_TERMS; i++)
        qd_matd_buf_fini(&one[i]);
    for (size_t k = 0; k < QD_GRAM_TERM_INPUTS; k++)
        qd_matf_buf_fini(&s.m[k]);
}

static void sums_made_together_are_those_made_one_by_one(void **state)
{
    (void)state;
    for_each_kernel(together_of);
}

static void tiny_of(const qd_product_kernel *kernel)
{
    static const double scales[] = { 1e-45, 1e-42, 1e-30, 1e-20, 1e-10, 1e18 };
    for (size_t s = 0; s < QD_LENGTH(scales); s++) {
        float x[6] = { 1, 2, -3, 4, 5, 6 }, y[6] = { 7, -8, 9, 1, 5, 3 };
        double own[9] = { 0 }, cross[9] = { 0 };
        for (size_t i = 0; i < 6; i++)
            x[i] = (float)((double)x[i] * scales[s]);
        qd_cmatf a = qd_cmatf_view(x, 2, 3), b = qd_cmatf_view(y, 2, 3);
        add(kernel, (qd_matd){ 3, 3, 3, own }, a, a, QD_SYMMETRIC, NULL);
        add(kernel, (qd_matd){ 3, 3, 3, cross }, a, b, QD_GENERAL, NULL);
        for (size_t i = 0; i < 3; i++)
            for (size_t j = 0; j < 3; j++) { /* 2^-8 an input: cancellation makes some of it more */
                double h = 0, g = 0;
                for (size_t t = 0; t < 2; t++) {
                    h += (double)qd_cmatf_row(a, t)[i] * (double)qd_cmatf_row(a, t)[j];
                    g += (double)qd_cmatf_row(a, t)[i] * (double)qd_cmatf_row(b, t)[j];
                }
                if (j >= i) /* the triangle that is made */
                    check_near(own[3 * i + j] / h, 1.0, 0.05);
                check_near(cross[3 * i + j] / g, 1.0, 0.05);
            }
    }
}

static void tiny_inputs_are_not_dead(void **state)
{
    (void)state;
    for_each_kernel(tiny_of);
}

/* By the door that the engine uses. */
static qd_gram moments(size_t features)
{
    qd_error err = { 0 };
    qd_gram gram = { 0 };
    check_ok(qd_gram_init(&gram, features, &err));
    gram.arithmetic = QD_ARITHMETIC_BFLOAT16;
    return gram;
}

/* Inputs with all their bits: the error against exact sums is some millionths, and a fiftieth of that of one bf16 term. */
static void two_terms_are_exact_to_some_millionths(void **state)
{
    (void)state;
    enum { TOKENS = 3000, LEFT = 70, RIGHT = 45 };
    static const qd_arithmetic all[] = { QD_ARITHMETIC_TWO_TERMS, QD_ARITHMETIC_FLOAT32, QD_ARITHMETIC_BFLOAT16 };
    qd_error err = { 0 };
    qd_pool *pool = NULL;
    qd_matf_buf x = { 0 }, y = { 0 };
    double error[QD_LENGTH(all)] = { 0 };
    check_ok(qd_pool_create(2, &pool, &err));
    check_ok(qd_matf_buf_init(&x, TOKENS, LEFT, &err));
    check_ok(qd_matf_buf_init(&y, TOKENS, RIGHT, &err));
    fill(x.view, 21);
    fill(y.view, 22);
    for (size_t a = 0; a < QD_LENGTH(all); a++) {
        qd_gram own = { 0 }, cross = { 0 };
        double above = 0, below = 0;
        check_ok(qd_gram_init(&own, LEFT, &err));
        check_ok(qd_gram_init_cross(&cross, LEFT, RIGHT, &err));
        own.arithmetic = cross.arithmetic = all[a];
        const qd_gram_inputs inputs = { .count = 2, .input = { qd_matf_const(x.view), qd_matf_const(y.view) } };
        const qd_gram_term both[] = { { &own, 0, 0 }, { &cross, 0, 1 } };
        check_ok(qd_gram_add_terms(&inputs, both, 2, pool, &err));
        qd_gram_complete(&own);
        for (size_t i = 0; i < LEFT; i++)
            for (size_t j = 0; j < LEFT + RIGHT; j++) {
                double want = 0,
                       got = j < LEFT ? qd_matd_row(own.sum.view, i)[j] : qd_matd_row(cross.sum.view, i)[j - LEFT];
                for (size_t t = 0; t < TOKENS; t++)
                    want += (double)qd_matf_row(x.view, t)[i] *
                            (double)(j < LEFT ? qd_matf_row(x.view, t)[j] : qd_matf_row(y.view, t)[j - LEFT]);
                above += (got - want) * (got - want);
                below += want * want;
                assert_true(j >= LEFT || got == qd_matd_row(own.sum.view, j)[i]);
            }
        error[a] = sqrt(above / below);
        qd_gram_fini(&own);
        qd_gram_fini(&cross);
    }
    check_near(error[0], 0, 5e-6);
    assert_true(error[0] < error[2] / 50);
    qd_matf_buf_fini(&x);
    qd_matf_buf_fini(&y);
    qd_pool_destroy(pool);
}

static void small_integers_are_exact_in_any_pieces(void **state)
{
    (void)state;
    qd_error err = { 0 };
    enum { TOKENS = 5000, FEATURES = 51 };
    qd_matf_buf x = { 0 };
    qd_gram gram = moments(FEATURES);
    check_ok(qd_matf_buf_init(&x, TOKENS, FEATURES, &err));
    for (size_t i = 0; i < (size_t)TOKENS * FEATURES; i++)
        x.view.data[i] = (float)(qd_rng_bits(3, i) % 2);
    for (size_t t = 0, step = 1; t < TOKENS; t += step, step = qd_min_size(2 * step + 1, TOKENS - t))
        check_ok(qd_gram_add(&gram, qd_cmatf_block(qd_matf_const(x.view), t, 0, step, FEATURES), NULL, &err));
    assert_int_equal(gram.tokens, TOKENS);
    check_ok(qd_gram_finish(&gram, &err));
    for (size_t i = 0; i < FEATURES; i++)
        for (size_t j = 0; j < FEATURES; j++)
            assert_true(qd_matd_row(gram.sum.view, i)[j] ==
                        naive(qd_matf_const(x.view), qd_matf_const(x.view), i, j) / TOKENS);
    qd_matf_buf_fini(&x);
    qd_gram_fini(&gram);
}

static void bad_input_is_named(void **state)
{
    (void)state;
    static const float bad[] = { NAN, INFINITY, 1e30f }; /* the last overflows when squared */
    for (size_t i = 0; i < 3; i++) {
        qd_error err = { 0 };
        qd_gram gram = moments(3), cross = moments(3);
        float x[6] = { 1, 2, 3, 4, bad[i], 6 }, y[6] = { 1, 2, 3, 4, 5, 1e30f };
        check_ok(qd_gram_add(&gram, qd_cmatf_view(x, 2, 3), NULL, &err));
        check_fails(qd_gram_finish(&gram, &err), QD_ENUMERIC);
        check_contains(err.text, ", 1) is not finite");
        check_ok(qd_gram_add_cross(&cross, qd_cmatf_view(x, 2, 3), qd_cmatf_view(y, 2, 3), NULL, &err));
        check_fails(qd_gram_finish(&cross, &err), QD_ENUMERIC);
        check_contains(err.text, "(1, ");
        qd_gram_fini(&gram);
        qd_gram_fini(&cross);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_over_rounded_inputs_and_exactly_symmetric),
        cmocka_unit_test(within_a_millionth_of_float32_on_the_same_inputs),
        cmocka_unit_test(threads_do_not_change_a_byte),
        cmocka_unit_test(sums_made_together_are_those_made_one_by_one),
        cmocka_unit_test(tiny_inputs_are_not_dead),
        cmocka_unit_test(two_terms_are_exact_to_some_millionths),
        cmocka_unit_test(small_integers_are_exact_in_any_pieces),
        cmocka_unit_test(bad_input_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
