/* vexp.c: see vexp.h. The bodies are plain loops over 16 lanes, inlined into a version per instruction set. */
#include "linalg/vexp.h"

#include <stdint.h>
#include <string.h>

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

/* One version of the three functions for a target. */
#define VERSION(suffix, attribute) \
    attribute static void softmax_##suffix(float *row, size_t count) \
    { \
        softmax_body(row, count); \
    } \
    attribute static void silu_##suffix(float *gate, const float *up, size_t count) \
    { \
        silu_body(gate, up, count); \
    } \
    attribute static void exp_sum_##suffix(const float *row, size_t count, float *out_max, double *out_sum) \
    { \
        exp_sum_body(row, count, out_max, out_sum); \
    }

VERSION(plain, )
#if defined(__x86_64__)
VERSION(avx2, __attribute__((target("avx2,fma"))))
VERSION(avx512, __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma"))))

static int level(void)
{
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq"))
        return 2;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 1 : 0;
}

void qd_softmax_row(float *row, size_t count)
{
    int have = level();
    (have == 2 ? softmax_avx512 : have == 1 ? softmax_avx2 : softmax_plain)(row, count);
}

void qd_silu_multiply(float *gate, const float *up, size_t count)
{
    int have = level();
    (have == 2 ? silu_avx512 : have == 1 ? silu_avx2 : silu_plain)(gate, up, count);
}

void qd_exp_sum_row(const float *row, size_t count, float *out_max, double *out_sum)
{
    int have = level();
    (have == 2 ? exp_sum_avx512 : have == 1 ? exp_sum_avx2 : exp_sum_plain)(row, count, out_max, out_sum);
}
#else
void qd_softmax_row(float *row, size_t count)
{
    softmax_plain(row, count);
}

void qd_silu_multiply(float *gate, const float *up, size_t count)
{
    silu_plain(gate, up, count);
}

void qd_exp_sum_row(const float *row, size_t count, float *out_max, double *out_sum)
{
    exp_sum_plain(row, count, out_max, out_sum);
}
#endif
