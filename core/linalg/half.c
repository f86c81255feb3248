/* half.c: see half.h. */
#include "linalg/half.h"

#include <string.h>

#include "linalg/rows.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3") /* vectorize the runs */
#endif

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float qd_bf16_to_float(uint16_t bits)
{
    return float_of((uint32_t)bits << 16);
}

uint16_t qd_float_to_bf16(float value)
{
    uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((bits >> 16) | 0x40u);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/* The exponent's bias of 15 becomes 127 by a product that is exact, of subnormals too. No branch, so that runs vectorize. */
float qd_f16_to_float(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000u) << 16, magnitude = (uint32_t)(bits & 0x7fffu) << 13;
    uint32_t widened = bits_of(float_of(magnitude) * 0x1p112f);
    widened |= magnitude >= 0x0f800000u ? 0x7f800000u : 0; /* infinite, or no number, and then a quiet one */
    widened |= magnitude > 0x0f800000u ? 0x400000u : 0;
    return float_of(sign | widened);
}

uint16_t qd_float_to_f16(float value)
{
    uint32_t bits = bits_of(value);
    uint16_t sign = (uint16_t)((bits >> 16) & 0x8000u);
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x38800000u) { /* below 2^-14: adding 0.5 lines the bits up at 2^-24 and rounds to even */
        float aligned = float_of(magnitude) + 0.5f;
        return (uint16_t)(sign | (bits_of(aligned) - 0x3f000000u));
    }
    magnitude += 0xfffu + ((magnitude >> 13) & 1u);
    return (uint16_t)(sign | (magnitude - 0x38000000u) >> 13);
}

void qd_bf16_to_floats(const void *from, size_t count, float *out)
{
    qd_rows_best()->widen(from, count, out);
}

void qd_f16_to_floats(const void *from, size_t count, float *out)
{
    const unsigned char *at = from;
    for (size_t i = 0; i < count; i++) {
        uint16_t bits;
        memcpy(&bits, at + 2 * i, sizeof bits);
        out[i] = qd_f16_to_float(bits);
    }
}
