/* test_ggml_types.c: every block type against a second formulation: where the bits of element i lie (formats.md §6.5),
 * one element at a time, in the order of operations written there. The decoders walk bytes; these walk elements. */
#include "check.h"

#include "linalg/half.h"
#include "model/ggml_types.h"

/* A block's bytes and the element looked at. */
typedef float (*element)(const unsigned char *b, size_t i);

static float half(const unsigned char *at)
{
    uint16_t bits;
    memcpy(&bits, at, sizeof bits);
    return qd_f16_to_float(bits);
}

/* Bits [first, first + count) of the little-endian number at `at`, up to 64 bytes long. */
static int bits(const unsigned char *at, size_t first, size_t count)
{
    int value = 0;
    for (size_t k = 0; k < count; k++)
        value |= (at[(first + k) / 8] >> (first + k) % 8 & 1) << k;
    return value;
}

/* Nibble of element i of 32: byte i % 16, low half first. */
static int nibble(const unsigned char *qs, size_t i)
{
    return bits(qs + i % 16, i / 16 * 4, 4);
}

static const int iq4[16] = { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 };
static const float e2m1[16] = { 0, 0.5f, 1, 1.5f, 2, 3, 4, 6, 0, -0.5f, -1, -1.5f, -2, -3, -4, -6 };

static float q4_0(const unsigned char *b, size_t i)
{
    return (float)(nibble(b + 2, i) - 8) * half(b);
}
static float q4_1(const unsigned char *b, size_t i)
{
    float product = (float)nibble(b + 4, i) * half(b);
    return product + half(b + 2);
}
static float q5_0(const unsigned char *b, size_t i)
{
    return (float)(nibble(b + 6, i) + 16 * bits(b + 2, i, 1) - 16) * half(b);
}
static float q5_1(const unsigned char *b, size_t i)
{
    float product = (float)(nibble(b + 8, i) + 16 * bits(b + 4, i, 1)) * half(b);
    return product + half(b + 2);
}
static float q8_0(const unsigned char *b, size_t i)
{
    int code = b[2 + i] < 128 ? b[2 + i] : b[2 + i] - 256;
    return (float)code * half(b);
}
static float iq4_nl(const unsigned char *b, size_t i)
{
    return (float)iq4[nibble(b + 2, i)] * half(b);
}
/* The product in double is exact; one rounding to float, as a product of floats has. E8M0 255 is 2^128 there. */
static float mxfp4(const unsigned char *b, size_t i)
{
    return (float)((double)e2m1[nibble(b + 1, i)] * ldexp(1, b[0] - 127));
}
static float nvfp4(const unsigned char *b, size_t i)
{
    int code = b[i / 16] & 0x7f, exponent = code / 8, fraction = code % 8;
    double scale = exponent == 0 ? fraction * 0x1p-9 : ldexp(1 + fraction / 8.0, exponent - 7);
    if (b[i / 16] == 0x7f)
        scale = 0;
    return (float)((double)e2m1[bits(b + 4 + i / 16 * 8 + i % 8, i % 16 / 8 * 4, 4)] * scale);
}
static float q1_0(const unsigned char *b, size_t i)
{
    return bits(b + 2, i, 1) ? half(b) : -half(b);
}
static float q2_0(const unsigned char *b, size_t i)
{
    return (float)(bits(b + 2, 2 * i, 2) - 1) * half(b);
}

/* Two bits of element i in a plane layout: half h = i / 128, plane p = (i % 128) / 32, byte 32 h + i % 32. */
static int plane(const unsigned char *qs, size_t i)
{
    return bits(qs + i / 128 * 32 + i % 32, 2 * (i % 128 / 32), 2);
}
static float q2_k(const unsigned char *b, size_t i)
{
    float scale = half(b + 80) * (float)(b[i / 16] % 16), low = half(b + 82) * (float)(b[i / 16] / 16);
    float product = scale * (float)plane(b + 16, i);
    return product - low;
}
static float q3_k(const unsigned char *b, size_t i)
{
    size_t j = i / 16;
    int k = bits(b + 96 + j % 8, 4 * (j / 8), 4) + 16 * bits(b + 104 + j % 4, 2 * (j / 4), 2);
    int u = plane(b + 32, i) + 4 * bits(b + i % 32, i / 32, 1);
    float scale = half(b + 108) * (float)(k - 32);
    return scale * (float)(u - 4);
}
/* Pair j of the 12 bytes: as bit strings of the words they lie in. */
static int pair(const unsigned char *s, size_t j, size_t minimum)
{
    if (j < 4)
        return bits(s + j + 4 * minimum, 0, 6);
    return bits(s + 4 + j, 4 * minimum, 4) + 16 * bits(s + j - (minimum ? 0 : 4), 6, 2);
}
static float q4_k(const unsigned char *b, size_t i)
{
    float scale = half(b) * (float)pair(b + 4, i / 32, 0), low = half(b + 2) * (float)pair(b + 4, i / 32, 1);
    float product = scale * (float)bits(b + 16 + i / 64 * 32 + i % 32, i % 64 / 32 * 4, 4);
    return product - low;
}
static float q5_k(const unsigned char *b, size_t i)
{
    float scale = half(b) * (float)pair(b + 4, i / 32, 0), low = half(b + 2) * (float)pair(b + 4, i / 32, 1);
    int u = bits(b + 48 + i / 64 * 32 + i % 32, i % 64 / 32 * 4, 4) + 16 * bits(b + 16 + i % 32, i / 32, 1);
    float product = scale * (float)u;
    return product - low;
}
static float q6_k(const unsigned char *b, size_t i)
{
    size_t h = i / 128, p = i % 128 / 32, l = i % 32;
    int u = bits(b + 64 * h + l + 32 * (p & 1), 4 * (p >> 1), 4) + 16 * bits(b + 128 + 32 * h + l, 2 * p, 2);
    int k = b[192 + i / 16] < 128 ? b[192 + i / 16] : b[192 + i / 16] - 256;
    float scale = half(b + 208) * (float)k;
    return scale * (float)(u - 32);
}
static float iq4_xs(const unsigned char *b, size_t i)
{
    size_t j = i / 32;
    int k = bits(b + 4, 4 * j, 4) + 16 * bits(b + 2, 2 * j, 2);
    float scale = half(b) * (float)(k - 32);
    return scale * (float)iq4[nibble(b + 8 + 16 * j, i % 32)];
}
/* Trit n of a byte: digits of the base-3 fraction byte / 256, taken one after the other. */
static float digit(unsigned byte, size_t n, float d)
{
    unsigned t = 0;
    for (size_t k = 0; k <= n; k++) {
        t = 3 * byte / 256;
        byte = 3 * byte % 256;
    }
    return (float)((int)t - 1) * d;
}
static float tq1_0(const unsigned char *b, size_t i)
{
    float d = half(b + 52);
    if (i < 160)
        return digit(b[i % 32], i / 32, d);
    if (i < 240)
        return digit(b[32 + (i - 160) % 16], (i - 160) / 16, d);
    return digit(b[48 + (i - 240) % 4], (i - 240) / 4, d);
}
static float tq2_0(const unsigned char *b, size_t i)
{
    return (float)(plane(b, i) - 1) * half(b + 64);
}

static const struct {
    const char *name;
    uint32_t id, file_type;
    size_t block, bytes;
    element value;
} twins[] = {
    { "Q4_0", 2, 2, 32, 18, q4_0 },         { "Q4_1", 3, 3, 32, 20, q4_1 },      { "Q5_0", 6, 8, 32, 22, q5_0 },
    { "Q5_1", 7, 9, 32, 24, q5_1 },         { "Q8_0", 8, 7, 32, 34, q8_0 },      { "IQ4_NL", 20, 25, 32, 18, iq4_nl },
    { "MXFP4", 39, 38, 32, 17, mxfp4 },     { "NVFP4", 40, 39, 64, 36, nvfp4 },  { "Q1_0", 41, 40, 128, 18, q1_0 },
    { "Q2_0", 42, 41, 64, 18, q2_0 },       { "Q2_K", 10, 10, 256, 84, q2_k },   { "Q3_K", 11, 11, 256, 110, q3_k },
    { "Q4_K", 12, 14, 256, 144, q4_k },     { "Q5_K", 13, 16, 256, 176, q5_k },  { "Q6_K", 14, 18, 256, 210, q6_k },
    { "IQ4_XS", 23, 30, 256, 136, iq4_xs }, { "TQ1_0", 34, 36, 256, 54, tq1_0 }, { "TQ2_0", 35, 37, 256, 66, tq2_0 },
};

/* xorshift64*: the same bytes each run. */
static unsigned char random_byte(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (unsigned char)(*state * UINT64_C(2685821657736338717) >> 56);
}

static bool same(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

/* Random bytes are blocks: scales of any sign and size, denormals, infinities and NaN among them. */
static void blocks_decode_as_their_elements_say(void **state)
{
    (void)state;
    enum { BLOCKS = 997 };
    uint64_t seed = 20260701;
    for (size_t t = 0; t < QD_LENGTH(twins); t++) {
        const qd_ggml_type *type = qd_ggml_type_named(twins[t].name);
        assert_non_null(type);
        size_t count = BLOCKS * twins[t].block, size = BLOCKS * twins[t].bytes;
        unsigned char *bytes = malloc(size + 1) /* odd address: */, *blocks = bytes + 1;
        float *values = malloc(count * sizeof *values);
        for (size_t i = 0; i < size; i++)
            blocks[i] = random_byte(&seed);
        type->dtype.to_floats(blocks, count, values);
        for (size_t i = 0; i < count; i++) {
            float want = twins[t].value(blocks + i / twins[t].block * twins[t].bytes, i % twins[t].block);
            if (!same(values[i], want))
                fail_msg("%s: element %zu is %.9g, not %.9g", twins[t].name, i, (double)values[i], (double)want);
        }
        free(values);
        free(bytes);
    }
}

/* Each scale byte with each code: nothing is left to chance where there are few. */
static void floats_of_four_bits_decode_with_every_scale(void **state)
{
    (void)state;
    for (unsigned e = 0; e < 256; e++) {
        unsigned char mx[17] = { (unsigned char)e },
                      nv[36] = { (unsigned char)e, (unsigned char)e, (unsigned char)e, (unsigned char)e };
        float values[64];
        for (size_t j = 0; j < 16; j++)
            mx[1 + j] = (unsigned char)(j | (15 - j) << 4);
        for (size_t j = 0; j < 32; j++)
            nv[4 + j] = (unsigned char)(j % 16 | (15 - j % 16) << 4);
        qd_ggml_type_named("MXFP4")->dtype.to_floats(mx, 32, values);
        for (size_t i = 0; i < 32; i++)
            assert_true(same(values[i], mxfp4(mx, i)));
        qd_ggml_type_named("NVFP4")->dtype.to_floats(nv, 64, values);
        for (size_t i = 0; i < 64; i++)
            assert_true(same(values[i], nvfp4(nv, i)));
    }
}

static void types_have_the_ids_and_sizes_of_the_format(void **state)
{
    (void)state;
    size_t count = 0, blocks = 0;
    for (const qd_ggml_type *type; (type = qd_ggml_type_at(count)) != NULL; count++) {
        assert_ptr_equal(qd_ggml_type_find(type->id), type);
        assert_ptr_equal(qd_ggml_type_named(type->dtype.name), type);
        const qd_dtype *dtype = qd_ggml_type_dtype(type);
        assert_string_equal(dtype->name, type->dtype.name);
        if (type->dtype.block == 0) { /* the row that safetensors has as well */
            assert_ptr_equal(dtype, qd_dtype_find(type->dtype.name));
            assert_int_equal(dtype->bits, type->dtype.bits);
            assert_ptr_equal(dtype->to_floats, type->dtype.to_floats);
            assert_ptr_equal(dtype->from_floats, type->dtype.from_floats);
        }
        blocks += type->dtype.block != 0;
    }
    assert_int_equal(blocks, QD_LENGTH(twins));
    for (size_t t = 0; t < QD_LENGTH(twins); t++) {
        const qd_ggml_type *type = qd_ggml_type_find(twins[t].id);
        assert_string_equal(type->dtype.name, twins[t].name);
        assert_int_equal(type->file_type, twins[t].file_type);
        assert_int_equal(type->dtype.block, twins[t].block);
        assert_int_equal(type->dtype.block_bytes, twins[t].bytes);
    }
    assert_null(qd_ggml_type_at(count));
    assert_null(qd_ggml_type_find(31)); /* removed from the format */
    assert_null(qd_ggml_type_named("q4_0"));
}

static void bytes_of_elements_are_whole_blocks(void **state)
{
    (void)state;
    const qd_dtype *q4_k = &qd_ggml_type_named("Q4_K")->dtype, *f4 = qd_dtype_find("F4"), *f64 = qd_dtype_find("F64");
    uint64_t bytes = 7;
    assert_true(qd_dtype_bytes(q4_k, 512, &bytes) && bytes == 288);
    assert_false(qd_dtype_bytes(q4_k, 255, &bytes));
    assert_false(qd_dtype_bytes(q4_k, UINT64_MAX - 255, &bytes)); /* a multiple of 256 */
    assert_false(qd_dtype_bytes(f4, 3, &bytes));
    assert_true(qd_dtype_bytes(f4, 4, &bytes) && bytes == 2);
    assert_false(qd_dtype_bytes(f64, UINT64_MAX / 8, &bytes));
    assert_true(qd_dtype_bytes(q4_k, 0, &bytes) && bytes == 0);
    assert_int_equal(qd_dtype_size(f64, 3), 24);
}

/* E4M3 has neither infinity nor more than one NaN a sign; E5M2 is the upper half of an f16. */
static void eight_bit_floats_are_the_values_of_their_bits(void **state)
{
    (void)state;
    unsigned char codes[256];
    float e4m3[256], e5m2[256], alone;
    for (size_t i = 0; i < 256; i++)
        codes[i] = (unsigned char)i;
    qd_dtype_find("F8_E4M3")->to_floats(codes, 256, e4m3);
    qd_dtype_find("F8_E5M2")->to_floats(codes, 256, e5m2);
    for (size_t i = 0; i < 256; i++) {
        double sign = i < 128 ? 1 : -1, exponent = (double)(i % 128 / 8), fraction = (double)(i % 8);
        double want = exponent == 0 ? fraction / 512 : (1 + fraction / 8) * exp2(exponent - 7);
        assert_true(i % 128 == 127 ? isnan(e4m3[i]) : same(e4m3[i], (float)(sign * want)));
        qd_dtype_find("F8_E4M3")->to_floats(codes + i, 1, &alone); /* one by one: another way through */
        assert_true(same(alone, e4m3[i]));
        exponent = (double)(i % 128 / 4);
        fraction = (double)(i % 4);
        want = exponent == 0 ? fraction / 65536 : (1 + fraction / 4) * exp2(exponent - 15);
        if (exponent == 31)
            assert_true(fraction == 0 ? isinf(e5m2[i]) && (e5m2[i] > 0) == (sign > 0) : isnan(e5m2[i]));
        else
            assert_true(same(e5m2[i], (float)(sign * want)));
    }
    assert_float_equal(e4m3[126], 448, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_decode_as_their_elements_say),
        cmocka_unit_test(floats_of_four_bits_decode_with_every_scale),
        cmocka_unit_test(types_have_the_ids_and_sizes_of_the_format),
        cmocka_unit_test(bytes_of_elements_are_whole_blocks),
        cmocka_unit_test(eight_bit_floats_are_the_values_of_their_bits),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("ggml_types", tests, NULL, NULL);
}
