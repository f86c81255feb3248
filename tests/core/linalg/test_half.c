/* test_half.c: both 16-bit types over all their 65536 values, and the rounding around every boundary. */
#include "check.h"

#include "base/rng.h"
#include "linalg/half.h"

typedef struct kind {
    const char *name;
    int exponent_bits, fraction_bits;
    float (*widen)(uint16_t bits);
    uint16_t (*narrow)(float value);
    void (*widen_run)(const void *from, size_t count, float *out);
} kind;

static const kind kinds[] = {
    { "bf16", 8, 7, qd_bf16_to_float, qd_float_to_bf16, qd_bf16_to_floats },
    { "f16", 5, 10, qd_f16_to_float, qd_float_to_f16, qd_f16_to_floats },
};

/* The value by the definition of IEEE 754, in double: exact. */
static double value_of(const kind *k, uint32_t bits)
{
    int bias = (1 << (k->exponent_bits - 1)) - 1;
    int exponent = (int)(bits >> k->fraction_bits) & ((1 << k->exponent_bits) - 1);
    double fraction = (double)(bits & ((1u << k->fraction_bits) - 1));
    double sign = bits & 0x8000 ? -1 : 1;
    if (exponent == (1 << k->exponent_bits) - 1)
        return fraction == 0 ? sign * INFINITY : (double)NAN;
    if (exponent == 0)
        return sign * ldexp(fraction, 1 - bias - k->fraction_bits);
    return sign * ldexp(1 + ldexp(fraction, -k->fraction_bits), exponent - bias);
}

static int same_value(double a, double b)
{
    return isnan(a) ? isnan(b) : a == b && signbit(a) == signbit(b);
}

static void all_values_widen_exactly_and_come_back(void **state)
{
    const kind *k = *state;
    for (uint32_t bits = 0; bits < 65536; bits++) {
        float wide = k->widen((uint16_t)bits);
        assert_true(same_value((double)wide, value_of(k, bits)));
        uint16_t back = k->narrow(wide);
        if (isnan(wide)) {
            assert_true(isnan(value_of(k, back)));
            assert_int_equal(back & 0x8000, bits & 0x8000);
            assert_true(back & (1 << (k->fraction_bits - 1))); /* quiet */
        } else
            assert_int_equal(back, bits);
    }
}

static void a_run_at_an_odd_address_is_the_single_values(void **state)
{
    const kind *k = *state;
    enum { COUNT = 65536 };
    unsigned char *bytes = malloc(2 * COUNT + 1);
    float *out = malloc((COUNT + 1) * sizeof *out);
    for (uint32_t bits = 0; bits < COUNT; bits++) {
        uint16_t half = (uint16_t)bits;
        memcpy(bytes + 1 + 2 * bits, &half, 2);
    }
    out[COUNT] = 42;
    k->widen_run(bytes + 1, COUNT, out);
    for (uint32_t bits = 0; bits < COUNT; bits++)
        assert_true(same_value((double)out[bits], value_of(k, bits)));
    assert_true(out[COUNT] == 42);
    k->widen_run(bytes + 1, 0, out + COUNT);
    assert_true(out[COUNT] == 42);
    free(bytes);
    free(out);
}

/* Between every two neighbours: just below, at, and just above the middle. The tie goes to the even one. */
static void ties_go_to_even_between_all_neighbours(void **state)
{
    const kind *k = *state;
    uint32_t infinity = ((1u << k->exponent_bits) - 1) << k->fraction_bits;
    for (uint32_t low = 0; low + 1 < infinity; low++)
        for (uint32_t sign = 0; sign < 2; sign++) {
            double factor = sign ? -1 : 1;
            float middle = (float)((value_of(k, low) + value_of(k, low + 1)) / 2 * factor); /* exact in float32 */
            uint32_t even = (low & 1) == 0 ? low : low + 1, mark = sign << 15;
            float away = (float)(factor * INFINITY);
            assert_int_equal(k->narrow(middle), even | mark);
            assert_int_equal(k->narrow(nextafterf(middle, 0.0f)), low | mark);
            assert_int_equal(k->narrow(nextafterf(middle, away)), (low + 1) | mark);
        }
}

static void overflow_becomes_infinity_at_half_a_step_beyond_the_largest(void **state)
{
    const kind *k = *state;
    uint16_t infinity = (uint16_t)(((1u << k->exponent_bits) - 1) << k->fraction_bits),
             largest = (uint16_t)(infinity - 1);
    double step = value_of(k, largest) - value_of(k, largest - 1u);
    float edge = (float)(value_of(k, largest) + step / 2);
    assert_int_equal(k->narrow(edge), infinity);
    assert_int_equal(k->narrow(-edge), infinity | 0x8000);
    assert_int_equal(k->narrow(nextafterf(edge, 0)), largest);
    assert_int_equal(k->narrow(INFINITY), infinity);
    assert_int_equal(k->narrow(3.4028235e38f), infinity);
    assert_int_equal(k->narrow(1e-45f), 0);
    assert_int_equal(k->narrow(-1e-45f), 0x8000);
}

/* Random float32 bit patterns: the result is the nearest of the two neighbours. */
static void random_values_round_to_the_nearest(void **state)
{
    const kind *k = *state;
    for (uint64_t i = 0; i < 300000; i++) {
        uint32_t bits = (uint32_t)qd_rng_bits(21, i);
        float value;
        memcpy(&value, &bits, sizeof value);
        uint16_t got = k->narrow(value);
        double rounded = value_of(k, got);
        if (isnan(value)) {
            assert_true(isnan(rounded));
            continue;
        }
        if (isinf(rounded)) {
            assert_true(fabs((double)value) >= value_of(k, (uint32_t)(got & 0x7fff) - 1));
            continue;
        }
        double error = fabs(rounded - (double)value);
        if ((got & 0x7fff) != 0)
            assert_true(error <= fabs(value_of(k, got - 1u) - (double)value));
        double above = value_of(k, got + 1u);
        assert_true(isinf(above) || error <= fabs(above - (double)value));
    }
}

int main(void)
{
#define BOTH(claim, function) \
    { "bf16: " claim, function, NULL, NULL, (void *)(uintptr_t)&kinds[0] }, \
    { \
        "f16: " claim, function, NULL, NULL, (void *)(uintptr_t)&kinds[1] \
    }
    const struct CMUnitTest tests[] = {
        BOTH("all values widen exactly and come back", all_values_widen_exactly_and_come_back),
        BOTH("a run at an odd address is the single values", a_run_at_an_odd_address_is_the_single_values),
        BOTH("ties go to even between all neighbours", ties_go_to_even_between_all_neighbours),
        BOTH("overflow becomes infinity", overflow_becomes_infinity_at_half_a_step_beyond_the_largest),
        BOTH("random values round to the nearest", random_values_round_to_the_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
