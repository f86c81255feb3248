/* rows.c: see rows.h. Sums go to lanes that are added in one order, and no product is fused with a sum: the same bits by every instruction set. */
#include "linalg/rows.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("O3", "fp-contract=off")
#endif

#define INLINE static inline __attribute__((always_inline))
enum { LANES = 32 };

INLINE double total(const double *lane)
{
    double sum = 0;
    for (size_t l = 0; l < LANES; l++)
        sum += lane[l];
    return sum;
}

/* sum of (x - middle)^2; middle 0 for the plain squares. */
INLINE double squares(const float *x, double middle, size_t count)
{
    double lane[LANES] = { 0 };
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t l = 0; l < LANES; l++) {
            double away = (double)x[i + l] - middle;
            lane[l] += away * away;
        }
    for (size_t l = 0; i < count; i++, l++) {
        double away = (double)x[i] - middle;
        lane[l] += away * away;
    }
    return total(lane);
}

INLINE double mean_of(const float *x, size_t count)
{
    double lane[LANES] = { 0 };
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lane[l] += (double)x[i + l];
    for (size_t l = 0; i < count; i++, l++)
        lane[l] += (double)x[i];
    return total(lane) / (double)count;
}

INLINE void scale_row(const float *x, const float *weight, float inverse, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = weight[i] * (x[i] * inverse);
}

INLINE void rms_norm_body(const float *x, const float *weight, float eps, size_t count, float *out)
{
    float inverse = (float)(1.0 / sqrt(squares(x, 0, count) / (double)count + (double)eps));
    if (x == out) /* compilers vectorize either, but not what may be both */
        scale_row(out, weight, inverse, count, out);
    else
        scale_row(x, weight, inverse, count, out);
}

INLINE void shift_row(const float *x, const float *weight, double mean, double inverse, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = weight[i] * (float)(((double)x[i] - mean) * inverse);
}

INLINE void add_body(float scale, const float *x, size_t count, float *y)
{
    for (size_t i = 0; i < count; i++)
        y[i] += scale * x[i];
}

INLINE void add_wide_body(double scale, const float *x, size_t count, double *y)
{
    for (size_t i = 0; i < count; i++)
        y[i] += scale * (double)x[i];
}

INLINE void layer_norm_body(const float *x, const float *weight, const float *bias, float eps, size_t count, float *out)
{
    double mean = mean_of(x, count);
    double inverse = 1.0 / sqrt(squares(x, mean, count) / (double)count + (double)eps);
    if (x == out)
        shift_row(out, weight, mean, inverse, count, out);
    else
        shift_row(x, weight, mean, inverse, count, out);
    if (bias != NULL)
        add_body(1, bias, count, out);
}

INLINE void rotate_body(const float *cosine, const float *sine, size_t count, float *a, float *b)
{
    for (size_t i = 0; i < count; i++) {
        float x = a[i], y = b[i];
        a[i] = x * cosine[i] - y * sine[i];
        b[i] = y * cosine[i] + x * sine[i];
    }
}

INLINE void distance_body(const float *x, const float *y, size_t count, double *out_difference, double *out_size)
{
    double difference[LANES] = { 0 }, size[LANES] = { 0 };
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t l = 0; l < LANES; l++) {
            double d = (double)x[i + l] - (double)y[i + l];
            difference[l] += d * d;
            size[l] += (double)x[i + l] * (double)x[i + l];
        }
    for (size_t l = 0; i < count; i++, l++) {
        double d = (double)x[i] - (double)y[i];
        difference[l] += d * d;
        size[l] += (double)x[i] * (double)x[i];
    }
    *out_difference = total(difference);
    *out_size = total(size);
}

INLINE void widen_body(const unsigned char *x, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, x + 2 * i, sizeof half);
        uint32_t bits = (uint32_t)half << 16;
        memcpy(&out[i], &bits, sizeof bits);
    }
}

/* The upper half is the bf16: to nearest, ties to even; what is no number stays one, quietly. No branch, so that runs vectorize. */
INLINE uint32_t nearest(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t up = bits + 0x7fffu + ((bits >> 16) & 1u);
    return (bits & 0x7fffffffu) > 0x7f800000u ? bits | 0x400000u : up;
}

INLINE void narrow_body(const float *x, size_t count, uint16_t *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (uint16_t)(nearest(x[i]) >> 16);
}

INLINE void round_run(const float *x, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = nearest(x[i]) & 0xffff0000u;
        memcpy(&out[i], &bits, sizeof bits);
    }
}

INLINE void round_body(const float *x, size_t count, float *out)
{
    if (x == out)
        round_run(out, count, out);
    else
        round_run(x, count, out);
}

INLINE float widened(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

INLINE void subtract_bf16_body(const uint16_t *x, const uint16_t *y, size_t count, uint16_t *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (uint16_t)(nearest(widened(x[i]) - widened(y[i])) >> 16);
}

/* One version of each function for a target. */
#define VERSION(suffix, attribute, condition) \
    attribute static void rms_norm_##suffix(const float *x, const float *weight, float eps, size_t count, float *out) \
    { \
        rms_norm_body(x, weight, eps, count, out); \
    } \
    attribute static void layer_norm_##suffix(const float *x, const float *weight, const float *bias, float eps, \
                                              size_t count, float *out) \
    { \
        layer_norm_body(x, weight, bias, eps, count, out); \
    } \
    attribute static void rotate_##suffix(const float *cosine, const float *sine, size_t count, float *a, float *b) \
    { \
        rotate_body(cosine, sine, count, a, b); \
    } \
    attribute static void add_##suffix(float scale, const float *x, size_t count, float *y) \
    { \
        add_body(scale, x, count, y); \
    } \
    attribute static void add_wide_##suffix(double scale, const float *x, size_t count, double *y) \
    { \
        add_wide_body(scale, x, count, y); \
    } \
    attribute static void distance_##suffix(const float *x, const float *y, size_t count, double *out_difference, \
                                            double *out_size) \
    { \
        distance_body(x, y, count, out_difference, out_size); \
    } \
    attribute static void widen_##suffix(const void *x, size_t count, float *out) \
    { \
        widen_body(x, count, out); \
    } \
    attribute static void narrow_##suffix(const float *x, size_t count, uint16_t *out) \
    { \
        narrow_body(x, count, out); \
    } \
    attribute static void round_##suffix(const float *x, size_t count, float *out) \
    { \
        round_body(x, count, out); \
    } \
    attribute static void subtract_bf16_##suffix(const uint16_t *x, const uint16_t *y, size_t count, uint16_t *out) \
    { \
        subtract_bf16_body(x, y, count, out); \
    } \
    static bool supports_##suffix(void) \
    { \
        return condition; \
    } \
    static const qd_rows version_##suffix = { \
        #suffix,         supports_##suffix, rms_norm_##suffix, layer_norm_##suffix, \
        rotate_##suffix, add_##suffix,      add_wide_##suffix, distance_##suffix, \
        widen_##suffix,  narrow_##suffix,   round_##suffix,    subtract_bf16_##suffix, \
    };

VERSION(portable, , true)
#if defined(__x86_64__)
VERSION(avx2, __attribute__((target("avx2,fma"))), __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
VERSION(avx512, __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma"))),
        __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq"))
#endif

static const qd_rows *const versions[] = {
#if defined(__x86_64__)
    &version_avx512,
    &version_avx2,
#endif
    &version_portable,
};

const qd_rows *qd_rows_at(size_t index)
{
    return index < QD_LENGTH(versions) ? versions[index] : NULL;
}

const qd_rows *qd_rows_best(void)
{
    size_t i = 0;
    while (!versions[i]->supported())
        i++;
    return versions[i];
}
