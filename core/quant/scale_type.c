/* scale_type.c: what a scale may be stored as. */
#include <math.h>
#include <string.h>

#include "linalg/half.h"
#include "quant/grid.h"

static float round_f32(float value)
{
    return value;
}

static float round_bf16(float value)
{
    return qd_bf16_to_float(qd_float_to_bf16(value));
}

static float round_f16(float value)
{
    return qd_f16_to_float(qd_float_to_f16(value));
}

static float fit_f32(double reach, double top)
{
    return (float)(reach / top);
}

static float fit_bf16(double reach, double top)
{
    return round_bf16((float)(reach / top));
}

static float fit_f16(double reach, double top)
{
    return round_f16((float)(reach / top));
}

static float power_of_two(int exponent)
{
    return ldexpf(1.0f, exponent < -127 ? -127 : exponent > 127 ? 127 : exponent);
}

static float round_e8m0(float value)
{
    int exponent;
    float part = frexpf(value, &exponent); /* in [1/2, 1) */
    return power_of_two(part < 0.75f ? exponent - 1 : exponent);
}

/* 2^(floor(log2 reach) - ceil(log2 top) + 1): the shared exponent of the OCP formats. E2M1: top 6, reach / scale in [4, 8)
 * (algorithms.md §2.5: - floor(log2 6)). Integers: top 2^(b-1), reach / scale in [2^(b-2), 2^(b-1)), nothing clips but the last half code;
 * the T = 2^(b-1) of that section would clip half of the range. */
static float fit_e8m0(double reach, double top)
{
    int reach_exponent, top_exponent;
    frexp(reach, &reach_exponent);
    if (frexp(top, &top_exponent) == 0.5)
        top_exponent--;
    return power_of_two(reach_exponent - top_exponent);
}

/* 8 significant bits in the range of binary16: exact in bf16 as well. */
static float round_half(float value)
{
    float rounded = round_bf16(value);
    return fabsf(rounded) > 0x1.FEp15f ? copysignf(INFINITY, rounded) : fabsf(rounded) < 0x1p-17f ? 0.0f : rounded;
}

static float fit_half(double reach, double top)
{
    return round_half((float)(reach / top));
}

/* Three bits of mantissa, exponents from -6, 448 at most: no infinity. */
static float round_e4m3(float value)
{
    int exponent;
    frexpf(value, &exponent); /* in [2^(exponent-1), 2^exponent) */
    float step = ldexpf(1.0f, (exponent - 1 < -6 ? -6 : exponent - 1) - 3);
    return fminf(rintf(value / step) * step, 448.0f);
}

static float fit_e4m3(double reach, double top)
{
    return round_e4m3((float)(reach / top));
}

static const double two_bits[] = { 2, 0 }, three_bits[] = { 3, 0 }, four_or_five_bits[] = { 4, 5, 0 },
                    six_bits[] = { 6, 0 };
/* Where the code 2^(b-1) is the middle. */
static const double whole_bits[] = { 2, 3, 4, 5, 6, 8, 0 };

static const qd_scale_type table[] = {
    { .name = "f32",
      .round = round_f32,
      .fit = fit_f32,
      .dtype = "F32",
      .smallest = 0x1p-126f,
      .summary = "IEEE binary32, 24 significant bits" },
    { .name = "bf16",
      .round = round_bf16,
      .fit = fit_bf16,
      .dtype = "BF16",
      .smallest = 0x1p-126f,
      .summary = "bfloat16: range of f32, 8 significant bits" },
    { .name = "f16",
      .round = round_f16,
      .fit = fit_f16,
      .dtype = "F16",
      .smallest = 0x1p-24f,
      .summary = "IEEE binary16, 11 significant bits, at most 65504" },
    { .name = "e8m0",
      .round = round_e8m0,
      .fit = fit_e8m0,
      .wider = 1,
      .dtype = "BF16",
      .smallest = 0x1p-127f,
      .summary = "powers of two, 2^-127 to 2^127: one byte" },
    { .name = "half",
      .round = round_half,
      .fit = fit_half,
      .dtype = "BF16",
      .smallest = 0x1p-17f,
      .summary = "8 significant bits, 2^-17 to 65280: exact in bf16 and in f16" },
    { .name = "f16-signed",
      .round = round_f16,
      .fit = fit_f16,
      .dtype = "F16",
      .smallest = 0x1p-24f,
      .mirrored = true,
      .bits = whole_bits,
      .summary = "binary16 of either sign: the longer half of the codes goes where the weights are larger (Q4_0, Q5_0, "
                 "Q2_0)" },
    { .name = "f16-offset",
      .round = round_f16,
      .fit = fit_f16,
      .dtype = "F16",
      .smallest = 0x1p-24f,
      .offset = true,
      .bits = whole_bits,
      .summary = "binary16 and an offset in binary16 (Q4_1, Q5_1)" },
    { .name = "e4m3",
      .round = round_e4m3,
      .fit = fit_e4m3,
      .dtype = "BF16",
      .smallest = 0x1p-9f,
      .layer_unit = true,
      .group_size = 16,
      .summary = "E4M3 times a power of two for the layer (NVFP4)" },
    { .name = "q2_k",
      .round = round_f32,
      .fit = fit_f32,
      .dtype = "F32",
      .smallest = 0x1p-24f,
      .offset = true,
      .per_block = 16,
      .scale_high = 15,
      .offset_high = 15,
      .group_size = 16,
      .bits = two_bits,
      .summary = "multiples 1 to 15 of a binary16 unit for 256 weights, offsets 0 to 15 of another (Q2_K)" },
    { .name = "q3_k",
      .round = round_f32,
      .fit = fit_f32,
      .dtype = "F32",
      .smallest = 0x1p-24f,
      .mirrored = true,
      .per_block = 16,
      .scale_high = 31,
      .group_size = 16,
      .bits = three_bits,
      .summary = "multiples 1 to 31, of either sign, of a binary16 unit for 256 weights (Q3_K)" },
    { .name = "q4_k",
      .round = round_f32,
      .fit = fit_f32,
      .dtype = "F32",
      .smallest = 0x1p-24f,
      .offset = true,
      .per_block = 8,
      .scale_high = 63,
      .offset_high = 63,
      .group_size = 32,
      .bits = four_or_five_bits,
      .summary = "multiples 1 to 63 of a binary16 unit for 256 weights, offsets 0 to 63 of another (Q4_K, Q5_K)" },
    { .name = "q6_k",
      .round = round_f32,
      .fit = fit_f32,
      .dtype = "F32",
      .smallest = 0x1p-24f,
      .mirrored = true,
      .per_block = 16,
      .scale_high = 127,
      .group_size = 16,
      .bits = six_bits,
      .summary = "multiples 1 to 127, of either sign, of a binary16 unit for 256 weights (Q6_K)" },
};

const qd_scale_type *qd_scale_type_at(size_t index)
{
    return index < QD_LENGTH(table) ? &table[index] : NULL;
}

const qd_scale_type *qd_scale_type_find(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}
