/* vexp.c: see vexp.h. The bodies are plain loops over 16 lanes, inlined into a version per instruction set. */
#include "linalg/vexp.h"

#include <stdint.h>
#include <string.h>

#include "base/mem.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#endif

#define INLINE static inline __attribute__((always_inline))
enum { LANES = 16 };

/* exp(x) for x <= 88: x = n ln 2 + r, |r| <= ln 2 / 2, minimax polynomial of degree 6 in r, scaled by 2^n. Below -87
 * it is 0. */
INLINE float exp_one(float x)
{
    float clipped = x < -87.0f ? -87.0f : x;
    float shifted = clipped * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the integer part lands in the low bits */
    float n = shifted - 12582912.0f;
    float r = clipped - n * 0.693145752f; /* ln 2 in two parts, the first exact times n */
    r = r - n * 1.42860677e-6f;
    float p = 1.98756915e-4f;
    p = p * r + 1.39819994e-3f;
    p = p * r + 8.33345205e-3f;
    p = p * r + 4.16657962e-2f;
    p = p * r + 1.66666657e-1f;
    p = p * r + 5.00000000e-1f;
    p = p * r * r + r + 1.0f;
    int32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    int32_t exponent = (int32_t)(((uint32_t)bits - 0x4b400000u + 127u) << 23);
    float scale;
    memcpy(&scale, &exponent, sizeof scale);
    return x < -87.0f ? 0.0f : p * scale;
}

bool qd_all_finite(const float *values, size_t count)
{
    uint32_t bad = 0; /* an exponent of all ones; no branch, so that it vectorizes */
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return bad == 0;
}

INLINE float row_max(const float *row, size_t count)
{
    float lane[LANES];
    size_t i = 0;
    for (size_t l = 0; l < LANES; l++)
        lane[l] = row[0];
    for (; i + LANES <= count; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lane[l] = row[i + l] > lane[l] ? row[i + l] : lane[l];
    float max = row[0];
    for (size_t l = 0; l < LANES; l++)
        max = lane[l] > max ? lane[l] : max;
    for (; i < count; i++)
        max = row[i] > max ? row[i] : max;
    return max;
}

INLINE void softmax_body(float *row, size_t count)
{
    float max = row_max(row, count), lane[LANES] = { 0 };
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t l = 0; l < LANES; l++) {
            float e = exp_one(row[i + l] - max);
            row[i + l] = e;
            lane[l] += e;
        }
    float sum = 0;
    for (size_t l = 0; l < LANES; l++)
        sum += lane[l];
    for (; i < count; i++) {
        row[i] = exp_one(row[i] - max);
        sum += row[i];
    }
    float inverse = 1.0f / sum;
    for (i = 0; i < count; i++)
        row[i] *= inverse;
}

INLINE void silu_body(float *gate, const float *up, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float x = gate[i], negative = x > 0 ? -x : x;
        float e = exp_one(negative); /* exp(-|x|) never overflows */
        float sigmoid = (x > 0 ? 1.0f : e) / (1.0f + e);
        gate[i] = x * sigmoid * up[i];
    }
}

/* Phi(-z) = erfc(z / sqrt 2) / 2, and erfc(y) = exp(-y^2) times a polynomial in 1 / (1 + 0.4 y), fitted up to y = 9.5: relative error 6e-8. */
INLINE void gelu_body(float *gate, const float *up, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float x = gate[i], y = 0.707106781f * (x > 0 ? x : -x), t = 1 / (1 + 0.4f * y);
        float p = 4.02674787e-2f;
        p = p * t - 1.35471001e-1f;
        p = p * t + 7.38419667e-2f;
        p = p * t + 9.97297764e-2f;
        p = p * t + 7.15081841e-2f;
        p = p * t + 1.96963117e-1f;
        p = p * t + 2.00958580e-1f;
        p = p * t + 2.26575717e-1f;
        p = p * t + 2.25626305e-1f;
        float below = 0.5f * exp_one(-y * y) * (p * t); /* Phi(-|x|) */
        gate[i] = x * (x > 0 ? 1 - below : below) * up[i];
    }
}

INLINE void gelu_tanh_body(float *gate, const float *up, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float x = gate[i], twice = x * (1.59576912f + 0.0713548163f * x * x); /* 2u */
        float e = exp_one(twice > 0 ? -twice : twice);
        gate[i] = x * ((x > 0 ? 1.0f : e) / (1.0f + e)) * up[i];
    }
}

/* Below 5/8 a polynomial, so that small values keep their digits; beyond it by the exponential. */
INLINE void tanh_body(float *x, size_t count, float factor, float scale)
{
    for (size_t i = 0; i < count; i++) {
        float value = factor * x[i], size = value > 0 ? value : -value, square = value * value;
        float p = -5.70498686e-3f;
        p = p * square + 2.06390880e-2f;
        p = p * square - 5.37397154e-2f;
        p = p * square + 1.33314416e-1f;
        p = p * square - 3.33332807e-1f;
        float e = exp_one(-2 * size), far = (1 - e) / (1 + e);
        x[i] = scale * (size < 0.625f ? value + value * square * p : value > 0 ? far : -far);
    }
}

INLINE void exp_sum_body(const float *row, size_t count, float *out_max, double *out_sum)
{
    float max = row_max(row, count);
    double lane[LANES] = { 0 }, sum = 0;
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lane[l] += (double)exp_one(row[i + l] - max);
    for (size_t l = 0; l < LANES; l++)
        sum += lane[l];
    for (; i < count; i++)
        sum += (double)exp_one(row[i] - max);
    *out_max = max;
    *out_sum = sum;
}

/* One version of each function for a target. */
#define VERSION(suffix, attribute, condition) \
    attribute static void softmax_##suffix(float *row, size_t count) \
    { \
        softmax_body(row, count); \
    } \
    attribute static void silu_##suffix(float *gate, const float *up, size_t count) \
    { \
        silu_body(gate, up, count); \
    } \
    attribute static void gelu_##suffix(float *gate, const float *up, size_t count) \
    { \
        gelu_body(gate, up, count); \
    } \
    attribute static void gelu_tanh_##suffix(float *gate, const float *up, size_t count) \
    { \
        gelu_tanh_body(gate, up, count); \
    } \
    attribute static void tanh_##suffix(float *x, size_t count, float factor, float scale) \
    { \
        tanh_body(x, count, factor, scale); \
    } \
    attribute static void exp_sum_##suffix(const float *row, size_t count, float *out_max, double *out_sum) \
    { \
        exp_sum_body(row, count, out_max, out_sum); \
    } \
    static bool supports_##suffix(void) \
    { \
        return condition; \
    } \
    static const qd_vexp version_##suffix = { #suffix,       supports_##suffix,  softmax_##suffix, silu_##suffix, \
                                              gelu_##suffix, gelu_tanh_##suffix, tanh_##suffix,    exp_sum_##suffix };

VERSION(portable, , true)
#if defined(__x86_64__)
VERSION(avx2, __attribute__((target("avx2,fma"))), __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
VERSION(avx512, __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma"))),
        __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq"))
#endif

static const qd_vexp *const versions[] = {
#if defined(__x86_64__)
    &version_avx512,
    &version_avx2,
#endif
    &version_portable,
};

const qd_vexp *qd_vexp_at(size_t index)
{
    return index < QD_LENGTH(versions) ? versions[index] : NULL;
}

static const qd_vexp *best(void)
{
    size_t i = 0;
    while (!versions[i]->supported())
        i++;
    return versions[i];
}

void qd_softmax_row(float *row, size_t count)
{
    best()->softmax(row, count);
}

void qd_silu_multiply(float *gate, const float *up, size_t count)
{
    best()->silu(gate, up, count);
}

void qd_gelu_multiply(float *gate, const float *up, size_t count)
{
    best()->gelu(gate, up, count);
}

void qd_gelu_tanh_multiply(float *gate, const float *up, size_t count)
{
    best()->gelu_tanh(gate, up, count);
}

void qd_tanh_row(float *x, size_t count, float factor, float scale)
{
    best()->tanh(x, count, factor, scale);
}

void qd_exp_sum_row(const float *row, size_t count, float *out_max, double *out_sum)
{
    best()->exp_sum(row, count, out_max, out_sum);
}
