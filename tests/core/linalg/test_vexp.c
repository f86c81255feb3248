/* test_vexp.c: row exponentials against the C library in double. */
#include "check.h"

#include "base/rng.h"
#include "linalg/vexp.h"

/* exp(x) alone: a row of two, 0 and x: the sum is 1 + exp(x), so x well below 0 would drown; the soft-max of {0, x} has
 * weight exp(x) / (1 + exp(x)) at 1, which keeps it. */
static double relative_error_of_exp(float x)
{
    float row[2] = { 0, x };
    qd_softmax_row(row, 2);
    double want = exp((double)x) / (1 + exp((double)x));
    return fabs((double)row[1] - want) / want;
}

static void the_exponential_is_within_its_promise(void **state)
{
    (void)state;
    double worst = 0;
    for (size_t i = 0; i < 400000; i++)
        worst = fmax(worst, relative_error_of_exp(-(float)i * (86.9f / 400000)));
    /* Half a unit in the last place each from sum, reciprocal and product on top of the exponential's 2e-7. */
    print_message("# largest relative error %.3g\n", worst);
    assert_true(worst < 2e-7 + 3 * 0x1p-24);
}

/* The sum alone, long rows of one value: every lane takes the same path, so the mean is the exponential itself. */
static void the_sum_of_equal_terms_is_the_exponential(void **state)
{
    (void)state;
    for (float x = 0; x > -86; x -= 0.37f) {
        float row[64], max;
        double sum;
        for (size_t i = 0; i < 64; i++)
            row[i] = x + 3;
        row[63] = 3;
        qd_exp_sum_row(row, 64, &max, &sum);
        assert_true(max == 3);
        float shifted = (x + 3) - 3; /* what the function sees */
        check_close_at(sum, 1 + 63 * exp((double)shifted), 2e-7, 0, __FILE__, __LINE__);
    }
}

static void soft_max_is_the_definition_at_every_length(void **state)
{
    (void)state;
    float row[150], copy[150];
    for (size_t count = 1; count <= 140; count++) {
        double top = -INFINITY, sum = 0, total = 0, expected;
        for (size_t i = 0; i < 150; i++)
            row[i] = copy[i] = (float)(qd_rng_uniform(count, i) * 60 - 30);
        for (size_t i = 0; i < count; i++)
            top = fmax(top, (double)row[i]);
        for (size_t i = 0; i < count; i++)
            sum += exp((double)row[i] - top);
        float max;
        qd_exp_sum_row(row, count, &max, &expected);
        assert_true((double)max == top);
        check_close(expected, sum, 4e-7);
        qd_softmax_row(row, count);
        for (size_t i = 0; i < count; i++) {
            /* float32 subtraction of the maximum: half a unit in the last place of up to 60 */
            check_close_at((double)row[i], exp((double)copy[i] - top) / sum, 5e-6, 1e-37, __FILE__, __LINE__);
            total += (double)row[i];
        }
        check_near(total, 1, 1e-6);
        for (size_t i = count; i < 150; i++)
            assert_true(row[i] == copy[i]); /* nothing behind the row is touched */
    }
}

static void extreme_rows_stay_finite(void **state)
{
    (void)state;
    float far[20], equal[20], max;
    double sum;
    for (size_t i = 0; i < 20; i++) {
        far[i] = i == 17 ? 3e38f : -3e38f;
        equal[i] = -1e30f;
    }
    qd_softmax_row(far, 20);
    qd_softmax_row(equal, 20);
    for (size_t i = 0; i < 20; i++) {
        assert_true(far[i] == (i == 17 ? 1.0f : 0.0f));
        check_close((double)equal[i], 0.05, 1e-6);
    }
    float one = -5;
    qd_softmax_row(&one, 1);
    assert_true(one == 1);
    float low[3] = { 0, -87.5f, -200 };
    qd_exp_sum_row(low, 3, &max, &sum);
    check_close(sum, 1, 1e-15);
}

static void a_nan_in_a_row_comes_out_as_nan(void **state)
{
    (void)state;
    for (size_t count = 1; count < 40; count++)
        for (size_t at = 0; at < count; at++) {
            float row[40] = { 0 }, max;
            double sum;
            row[at] = NAN;
            qd_exp_sum_row(row, count, &max, &sum);
            assert_true(isnan(sum));
            qd_softmax_row(row, count);
            assert_true(isnan(row[at]));
        }
}

static void one_value_that_is_not_finite_is_found_anywhere(void **state)
{
    (void)state;
    float values[70];
    for (size_t i = 0; i < 70; i++)
        values[i] = i % 2 ? 3.4028235e38f : -1e-45f;
    for (size_t count = 0; count <= 70; count++)
        assert_true(qd_all_finite(values, count));
    const float bad[] = { NAN, INFINITY, -INFINITY };
    for (size_t at = 0; at < 70; at++)
        for (size_t k = 0; k < 3; k++) {
            float kept = values[at];
            values[at] = bad[k];
            assert_false(qd_all_finite(values, 70));
            assert_true(qd_all_finite(values, at));
            values[at] = kept;
        }
}

static void silu_is_the_definition(void **state)
{
    (void)state;
    enum { COUNT = 4001 };
    static float gate[COUNT], up[COUNT], copy[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        gate[i] = copy[i] = ((float)i - 2000) / 20;
        up[i] = (float)(qd_rng_uniform(5, i) * 4 - 2);
    }
    qd_silu_multiply(gate, up, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        double x = (double)copy[i];
        check_close_at((double)gate[i], x / (1 + exp(-x)) * (double)up[i], 6e-7, 1e-35, __FILE__, __LINE__);
    }
    float edges[4] = { 0, -0.0f, 1e30f, -1e30f };
    const float ones[4] = { 1, 1, 1, 1 };
    qd_silu_multiply(edges, ones, 4);
    assert_true(edges[0] == 0 && edges[1] == 0 && edges[2] == 1e30f && edges[3] == 0);
    qd_silu_multiply(edges, ones, 0);
}

/* Every instruction set that this processor has, at lengths that leave every rest. */
static void every_version_gives_the_definitions(void **state)
{
    (void)state;
    for (size_t n = 0; qd_vexp_at(n) != NULL; n++)
        for (size_t count = 1; count < 70 && qd_vexp_at(n)->supported(); count++) {
            const qd_vexp *v = qd_vexp_at(n);
            float x[70], weights[70], gates[70], gelu[70], nearly[70], bent[70], top;
            double sum = 0, got;
            for (size_t i = 0; i < count; i++)
                weights[i] = gates[i] = gelu[i] = nearly[i] = bent[i] = x[i] =
                    (float)(20 * qd_rng_uniform(count, i) - 10);
            v->exp_sum(x, count, &top, &got);
            for (size_t i = 0; i < count; i++)
                sum += exp((double)x[i] - (double)top);
            check_close(got, sum, 4e-7);
            v->softmax(weights, count);
            v->silu(gates, x, count);
            v->gelu(gelu, x, count);
            v->gelu_tanh(nearly, x, count);
            v->tanh(bent, count, 0.2f, 3);
            for (size_t i = 0; i < count; i++) {
                double y = (double)x[i];
                check_close((double)weights[i], exp(y - (double)top) / sum, 2e-6);
                check_close((double)gates[i], y * y / (1 + exp(-y)), 1e-6);
                double u = sqrt(2 / M_PI) * (y + 0.044715 * y * y * y);
                check_near((double)gelu[i], y * y * erfc(-y / sqrt(2)) / 2, 2e-7 * y * y);
                check_near((double)nearly[i], y * y / (1 + exp(-2 * u)), 2e-7 * y * y);
                check_close((double)bent[i], 3 * tanh((double)(0.2f * x[i])), 6e-7);
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_exponential_is_within_its_promise),
        cmocka_unit_test(the_sum_of_equal_terms_is_the_exponential),
        cmocka_unit_test(soft_max_is_the_definition_at_every_length),
        cmocka_unit_test(every_version_gives_the_definitions),
        cmocka_unit_test(extreme_rows_stay_finite),
        cmocka_unit_test(a_nan_in_a_row_comes_out_as_nan),
        cmocka_unit_test(one_value_that_is_not_finite_is_found_anywhere),
        cmocka_unit_test(silu_is_the_definition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
