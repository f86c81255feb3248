/* product_x86.h: what the ways for x86-64 share: 16 features x 16 pairs of products in registers, rounded to bf16, and turned.
 * Room: core/linalg, private to product_avx512.c and product_amx.c. May use: base.
 * Threads: pure functions. */
#ifndef QD_LINALG_PRODUCT_X86_H
#define QD_LINALG_PRODUCT_X86_H

#include <immintrin.h>

#include "base/mem.h"
#include "linalg/product_kernels.h"

#define QD_AVX512_BF16 "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"
#define QD_TARGET_AVX512 __attribute__((target(QD_AVX512_BF16)))
#ifdef __clang__
#define QD_UNROLL _Pragma("unroll")
#else
#define QD_UNROLL _Pragma("GCC unroll 16")
#endif

enum { QD_LANES = 16 };

static inline bool qd_has_avx512_bf16(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bf16");
}

/* Of `count` lanes from `at` on. */
static inline __mmask16 qd_lanes(size_t count, size_t at)
{
    return count <= at ? 0 : count - at >= QD_LANES ? 0xffff : (__mmask16)((1u << (count - at)) - 1);
}

/* [16 of a], [16 of b], rounded -> [16][a, b] */
QD_TARGET_AVX512 static inline __m512i qd_interleave(__m512 a, __m512 b)
{
    static const uint16_t order[32] = { 0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                        8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31 };
    return _mm512_permutexvar_epi16(_mm512_loadu_si512(order), (__m512i)_mm512_cvtne2ps_pbh(b, a));
}

QD_TARGET_AVX512 static inline __m512i qd_magnitude(__m512 x)
{
    return _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff));
}

/* Row p = products 2 p and 2 p + 1 of 16 features; x is K x features, at most 32 x 16. */
QD_TARGET_AVX512 static inline __m512i qd_square_of_columns(qd_cmatf x, __m512i out[QD_LANES])
{
    __m512i largest = _mm512_setzero_si512();
    __mmask16 mask = qd_lanes(x.cols, 0);
    for (size_t p = 0; p < QD_LANES; p++) {
        __m512 a = 2 * p < x.rows ? _mm512_maskz_loadu_ps(mask, qd_cmatf_row(x, 2 * p)) : _mm512_setzero_ps();
        __m512 b = 2 * p + 1 < x.rows ? _mm512_maskz_loadu_ps(mask, qd_cmatf_row(x, 2 * p + 1)) : _mm512_setzero_ps();
        largest = _mm512_max_epu32(largest, _mm512_max_epu32(qd_magnitude(a), qd_magnitude(b)));
        out[p] = qd_interleave(a, b);
    }
    return largest;
}

/* Of 32 bf16: what a rounding makes of them, which takes what is below the normal for 0 and makes quiet what is no number. `largest`: of 32
 * magnitudes so far. */
QD_TARGET_AVX512 static inline __m512i qd_as_rounded(__m512i halves, __m512i *largest)
{
    __m512i magnitude = _mm512_and_si512(halves, _mm512_set1_epi16(0x7fff));
    __mmask32 tiny = _mm512_cmplt_epu16_mask(magnitude, _mm512_set1_epi16(0x80));
    __mmask32 none = _mm512_cmpgt_epu16_mask(magnitude, _mm512_set1_epi16(0x7f80));
    *largest = _mm512_max_epu16(*largest, magnitude);
    halves = _mm512_mask_sub_epi16(halves, tiny, halves, magnitude); /* leaves the sign */
    return _mm512_mask_blend_epi16(none, halves, _mm512_or_si512(halves, _mm512_set1_epi16(0x40)));
}

/* The bits of the largest of 32 magnitudes, as a float's. */
QD_TARGET_AVX512 static inline uint32_t qd_largest_half(__m512i largest)
{
    __m512i high = _mm512_and_si512(largest, _mm512_set1_epi32((int)0xffff0000u));
    return _mm512_reduce_max_epu32(_mm512_max_epu32(high, _mm512_slli_epi32(largest, 16)));
}

/* The values of two rows that the mask names -> [16][a, b]; b: NULL for zeros. */
QD_TARGET_AVX512 static inline __m512i qd_interleave_halves(__mmask16 mask, const uint16_t *a, const uint16_t *b)
{
    __m512i even = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, a));
    __m512i odd = b == NULL ? _mm512_setzero_si512() : _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, b));
    return _mm512_or_si512(even, _mm512_slli_epi32(odd, 16));
}

/* As qd_square_of_columns, of bf16. */
QD_TARGET_AVX512 static inline void qd_square_of_half_columns(qd_cmath x, __m512i out[QD_LANES], __m512i *largest)
{
    __mmask16 mask = qd_lanes(x.cols, 0);
    for (size_t p = 0; p < QD_LANES; p++) {
        out[p] = _mm512_setzero_si512();
        if (2 * p >= x.rows)
            continue;
        const uint16_t *a = qd_cmath_row(x, 2 * p), *b = 2 * p + 1 < x.rows ? qd_cmath_row(x, 2 * p + 1) : NULL;
        out[p] = qd_as_rounded(qd_interleave_halves(mask, a, b), largest);
    }
}

/* Row i = 32 products of feature i; x is features x K, at most 16 x 32. */
QD_TARGET_AVX512 static inline void qd_square_of_rows(qd_cmatf x, __m512i out[QD_LANES])
{
    __mmask16 low = qd_lanes(x.cols, 0), high = qd_lanes(x.cols, QD_LANES);
    enum { AHEAD = 4 * QD_PANEL_STEP };
    QD_UNROLL for (size_t i = 0; i < QD_LANES; i++)
    {
        bool there = i < x.rows;
        const float *from = x.data + (there ? i * x.ld : 0);
        __builtin_prefetch(from + AHEAD);
        __builtin_prefetch(from + AHEAD + QD_LANES);
        __m512 a = _mm512_maskz_loadu_ps(there ? low : 0, from);
        __m512 b = _mm512_maskz_loadu_ps(there ? high : 0, high != 0 ? from + QD_LANES : from);
        out[i] = (__m512i)_mm512_cvtne2ps_pbh(b, a);
    }
}

/* The same of values that are bf16 already. */
QD_TARGET_AVX512 static inline void qd_square_of_half_rows(qd_cmath x, __m512i out[QD_LANES])
{
    enum { AHEAD = 4 * QD_PANEL_STEP };
    __mmask32 mask = x.cols >= QD_PANEL_STEP ? 0xffffffffu : ((__mmask32)1 << x.cols) - 1;
    QD_UNROLL for (size_t i = 0; i < QD_LANES; i++)
    {
        bool there = i < x.rows;
        const uint16_t *from = x.data + (there ? i * x.ld : 0);
        __builtin_prefetch(from + AHEAD);
        out[i] = _mm512_maskz_loadu_epi16(there ? mask : 0, from);
    }
}

/* 16 x 16 words: row i of r becomes column i. */
QD_TARGET_AVX512 static inline void qd_square_turn(__m512i r[QD_LANES])
{
    __m512i s[QD_LANES];
    QD_UNROLL for (size_t i = 0; i < QD_LANES; i += 2)
    {
        s[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        s[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    QD_UNROLL for (size_t i = 0; i < QD_LANES; i += 4) QD_UNROLL for (size_t h = 0; h < 2; h++)
    {
        r[i + 2 * h] = _mm512_unpacklo_epi64(s[i + h], s[i + h + 2]);
        r[i + 2 * h + 1] = _mm512_unpackhi_epi64(s[i + h], s[i + h + 2]);
    }
    QD_UNROLL for (size_t i = 0; i < QD_LANES; i += 8) QD_UNROLL for (size_t c = 0; c < 4; c++)
    {
        s[i + c] = _mm512_shuffle_i32x4(r[i + c], r[i + c + 4], 0x88);
        s[i + c + 4] = _mm512_shuffle_i32x4(r[i + c], r[i + c + 4], 0xdd);
    }
    QD_UNROLL for (size_t c = 0; c < 8; c++)
    {
        r[c] = _mm512_shuffle_i32x4(s[c], s[c + 8], 0x88);
        r[c + 8] = _mm512_shuffle_i32x4(s[c], s[c + 8], 0xdd);
    }
}

/* Rows of a square, so many values apart. */
QD_TARGET_AVX512 static inline void qd_square_store(const __m512i square[QD_LANES], uint16_t *to, size_t stride)
{
    QD_UNROLL for (size_t i = 0; i < QD_LANES; i++) _mm512_storeu_si512(to + i * stride, square[i]);
}

/* A piece of a matrix, which may lie beyond its end: then it has no rows or no columns, and points to the beginning. */
static inline qd_cmatf qd_piece(qd_cmatf x, size_t i, size_t j, size_t rows, size_t cols)
{
    if (i >= x.rows || j >= x.cols)
        return (qd_cmatf){ 0, 0, x.ld, x.data };
    return qd_cmatf_block(x, i, j, qd_min_size(rows, x.rows - i), qd_min_size(cols, x.cols - j));
}

static inline qd_cmath qd_piece_of_halves(qd_cmath x, size_t i, size_t j, size_t rows, size_t cols)
{
    if (i >= x.rows || j >= x.cols)
        return (qd_cmath){ 0, 0, x.ld, x.data };
    return qd_cmath_block(x, i, j, qd_min_size(rows, x.rows - i), qd_min_size(cols, x.cols - j));
}

#endif
