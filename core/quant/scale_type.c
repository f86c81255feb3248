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
