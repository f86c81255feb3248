/* test_rows.c: norms, rotations and sums of rows: every version beside the definitions in double, at lengths that leave every rest. */
#include "check.h"

#include "base/mem.h"
#include "base/rng.h"
#include "linalg/half.h"
#include "linalg/rows.h"

enum { MOST = 150 };
static const float eps = 1e-3f;

static void fill(float *out, uint64_t key, double middle)
{
    for (size_t i = 0; i < MOST; i++)
        out[i] = (float)(middle + 2 * qd_rng_uniform(key, i) - 1);
}

static void check_norms(const qd_rows *f, size_t count)
{
    float x[MOST], weight[MOST], bias[MOST], rms[MOST], layer[MOST], plain[MOST];
    double mean = 0, squares = 0, spread = 0;
    fill(x, count, 5); /* far from 0: a variance from the two means would lose digits */
    fill(weight, 1, 1);
    fill(bias, 2, 0);
    for (size_t i = 0; i < count; i++) {
        mean += (double)x[i] / (double)count;
        squares += (double)x[i] * (double)x[i] / (double)count;
    }
    for (size_t i = 0; i < count; i++)
        spread += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)count;
    f->rms_norm(x, weight, eps, count, rms);
    f->layer_norm(x, weight, bias, eps, count, layer);
    f->layer_norm(x, weight, NULL, eps, count, plain);
    for (size_t i = 0; i < count; i++) {
        double w = (double)weight[i], normed = ((double)x[i] - mean) / sqrt(spread + (double)eps);
        check_close((double)rms[i], w * (double)x[i] / sqrt(squares + (double)eps), 3e-7);
        check_near((double)layer[i], w * normed + (double)bias[i], 5e-7 * (1 + fabs(normed)));
        check_near((double)plain[i], w * normed, 5e-7 * (1 + fabs(normed)));
    }
    memcpy(plain, x, sizeof x);
    f->rms_norm(plain, weight, eps, count, plain); /* in place: the same bits */
    assert_memory_equal(plain, rms, count * sizeof *x);
    f->layer_norm(x, weight, bias, eps, count, x);
    assert_memory_equal(x, layer, count * sizeof *x);
}

static void check_rotation_and_sum(const qd_rows *f, size_t count)
{
    float both[2 * MOST], cosine[MOST], sine[MOST], x[MOST], y[MOST], sum[MOST];
    fill(both, 3, 0);
    fill(both + count, 4, 0);
    fill(x, 5, 0);
    fill(y, 6, 0);
    for (size_t i = 0; i < count; i++) {
        cosine[i] = (float)cos((double)i);
        sine[i] = (float)sin((double)i);
    }
    float before[2 * MOST];
    memcpy(before, both, sizeof both);
    memcpy(sum, y, sizeof y);
    double wide[MOST];
    for (size_t i = 0; i < MOST; i++)
        wide[i] = 2;
    double difference, size, want_difference = 0, want_size = 0;
    for (size_t i = 0; i < count; i++) {
        want_difference += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        want_size += (double)x[i] * (double)x[i];
    }
    f->distance(x, y, count, &difference, &size);
    check_close(difference, want_difference, 1e-13);
    check_close(size, want_size, 1e-13);
    f->rotate(cosine, sine, count, both, both + count); /* the halves of a head */
    f->add(0.3f, x, count, sum);
    f->add_wide(1.0 / 3, x, count, wide);
    for (size_t i = 0; i < count; i++) {
        double a = (double)before[i], b = (double)before[i + count], c = (double)cosine[i], s = (double)sine[i];
        check_near((double)both[i], a * c - b * s, 2e-7);
        check_near((double)both[i + count], b * c + a * s, 2e-7);
        check_near((double)sum[i], (double)y[i] + (double)0.3f * (double)x[i], 2e-7);
        check_near(wide[i], 2 + (double)x[i] / 3, 1e-15);
    }
    assert_true(wide[count] == 2);
    assert_memory_equal(both + 2 * count, before + 2 * count, (2 * MOST - 2 * count) * sizeof *both);
    assert_memory_equal(sum + count, y + count, (MOST - count) * sizeof *sum);
}

/* Ties, what rounds up to the next exponent or to infinity, numbers below the smallest normal one, and what is none. */
static void fill_bits(float *out, size_t count)
{
    static const uint32_t special[] = { 0x3f808000, 0x3f818000, 0x3f808001, 0xbf7fffff, 0x7f7fffff,
                                        0x7f800000, 0xff800000, 0x7f800001, 0xffc12345, 0x00000000,
                                        0x80000000, 0x00008000, 0x00018000, 0x807fffff };
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = i % 2 == 0 ? special[i / 2 % QD_LENGTH(special)] : (uint32_t)qd_rng_bits(11, i);
        memcpy(&out[i], &bits, sizeof bits);
    }
}

static void check_halves(const qd_rows *f, size_t count)
{
    float x[MOST], wide[MOST], rounded[MOST], want[MOST];
    uint16_t half[MOST + 1];
    unsigned char odd[1 + sizeof half];
    fill_bits(x, MOST);
    memset(half, 0x55, sizeof half);
    f->narrow(x, count, half);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(half[i], qd_float_to_bf16(x[i]));
        want[i] = qd_bf16_to_float(half[i]);
    }
    assert_int_equal(half[count], 0x5555);
    memcpy(odd + 1, half, sizeof half);
    f->widen(odd + 1, count, wide);
    f->round(x, count, rounded);
    f->round(x, count, x);
    assert_memory_equal(wide, want, count * sizeof *want);
    assert_memory_equal(rounded, want, count * sizeof *want);
    assert_memory_equal(x, want, count * sizeof *want);
}

/* Any bits beside others, and beside their own: zeros, infinities and no numbers among them. */
static void check_difference(const qd_rows *f, size_t count)
{
    float bits[2 * MOST];
    uint16_t x[MOST], y[MOST], found[MOST + 1];
    fill_bits(bits, 2 * MOST);
    for (size_t i = 0; i < MOST; i++) {
        x[i] = qd_float_to_bf16(bits[i]);
        y[i] = i % 5 == 0 ? x[i] : (uint16_t)(x[i] ^ (i % 5 == 1 ? 0x8000u : (uint16_t)qd_rng_bits(13, i)));
    }
    memset(found, 0x55, sizeof found);
    f->subtract_bf16(x, y, count, found);
    for (size_t i = 0; i < count; i++) {
        float want = qd_bf16_to_float(x[i]) - qd_bf16_to_float(y[i]);
        if (isnan(want))
            assert_true(isnan(qd_bf16_to_float(found[i])));
        else
            assert_int_equal(found[i], qd_float_to_bf16(want));
    }
    assert_int_equal(found[count], 0x5555);
}

static void every_version_gives_the_definitions(void **state)
{
    (void)state;
    for (size_t n = 0; qd_rows_at(n) != NULL; n++)
        for (size_t count = 1; count < MOST / 2 && qd_rows_at(n)->supported(); count++) {
            check_norms(qd_rows_at(n), 2 * count - 1);
            check_rotation_and_sum(qd_rows_at(n), count);
            check_halves(qd_rows_at(n), 2 * count - 1);
            check_difference(qd_rows_at(n), 2 * count - 1);
        }
    assert_true(qd_rows_best()->supported());
}

static const qd_rows *portable(void)
{
    const qd_rows *last = NULL;
    for (size_t n = 0; qd_rows_at(n) != NULL; n++)
        last = qd_rows_at(n);
    return last;
}

static void check_same_bits(const qd_rows *f, const qd_rows *plain, size_t count)
{
    float x[MOST], y[MOST], cosine[MOST], sine[MOST], found[2][4][MOST];
    double distance[2][2];
    const qd_rows *both[2] = { f, plain };
    fill(x, 7, 5);
    fill(y, 8, 0);
    fill(cosine, 9, 0);
    fill(sine, 10, 0);
    memset(found, 0, sizeof found);
    for (size_t i = 0; i < 2; i++) {
        both[i]->rms_norm(x, y, eps, count, found[i][0]);
        both[i]->layer_norm(x, y, sine, eps, count, found[i][1]);
        both[i]->distance(x, y, count, &distance[i][0], &distance[i][1]);
        memcpy(found[i][2], x, sizeof x);
        memcpy(found[i][3], y, sizeof y);
        both[i]->rotate(cosine, sine, count, found[i][2], found[i][3]);
        both[i]->add(0.3f, x, count, found[i][3]);
    }
    assert_memory_equal(found[0], found[1], sizeof found[0]);
    assert_memory_equal(distance[0], distance[1], sizeof distance[0]);
}

static void every_version_gives_the_same_bits(void **state)
{
    (void)state;
    for (size_t n = 0; qd_rows_at(n) != NULL; n++)
        for (size_t count = 1; count < MOST && qd_rows_at(n)->supported(); count++)
            check_same_bits(qd_rows_at(n), portable(), count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_version_gives_the_definitions),
        cmocka_unit_test(every_version_gives_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
