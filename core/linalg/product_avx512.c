/* product_avx512.c: panels of 48 features for AVX512-BF16, multiplied 8 x 48 at a time in 24 registers. Right ones are [pair of products][48][2],
 * left ones [32 products][48][32]: rows as they come, a line of the cache for each. */
#include "linalg/product_kernels.h"

#ifdef QD_PRODUCT_X86

#include <string.h>

#include "linalg/product_x86.h"

/* 8 rows of three registers, three registers of the right side and one of the left: as many as there are, but four. A right panel of 1024
 * products, two left ones and what they make stay in the second cache; fewer products would move sums more often. */
enum { VECTORS = 3, WIDTH = VECTORS * QD_LANES, ROWS = 8, DEPTH = 1024 };

QD_TARGET_AVX512 static uint32_t pack_left_columns(qd_cmatf x, uint16_t *panel)
{
    __m512i largest = _mm512_setzero_si512();
    for (size_t k = 0; k < x.rows; k += QD_PANEL_STEP)
        for (size_t i = 0; i < WIDTH; i += QD_LANES) {
            __m512i square[QD_LANES];
            largest =
                _mm512_max_epu32(largest, qd_square_of_columns(qd_piece(x, k, i, QD_PANEL_STEP, QD_LANES), square));
            qd_square_turn(square);
            qd_square_store(square, panel + k * WIDTH + i * QD_PANEL_STEP, QD_PANEL_STEP);
        }
    return _mm512_reduce_max_epu32(largest);
}

QD_TARGET_AVX512 static uint32_t pack_columns(qd_cmatf x, qd_panel_side side, uint16_t *panel)
{
    __m512i largest = _mm512_setzero_si512();
    size_t packed = (x.rows + 1) / 2 * 2;
    if (side == QD_PANEL_LEFT)
        return pack_left_columns(x, panel);
    for (size_t k = 0; k < x.rows; k += 2) {
        const float *even = qd_cmatf_row(x, k), *odd = k + 1 < x.rows ? qd_cmatf_row(x, k + 1) : NULL;
        QD_UNROLL for (size_t v = 0; v < VECTORS; v++)
        {
            __mmask16 mask = qd_lanes(x.cols, v * QD_LANES);
            __m512 a = mask == 0 ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, even + v * QD_LANES);
            __m512 b = mask == 0 || odd == NULL ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, odd + v * QD_LANES);
            largest = _mm512_max_epu32(largest, _mm512_max_epu32(qd_magnitude(a), qd_magnitude(b)));
            __builtin_prefetch(even + WIDTH + v * QD_LANES); /* the next panel's, as a rule */
            __builtin_prefetch(even + x.ld + WIDTH + v * QD_LANES);
            _mm512_storeu_si512(panel + k * WIDTH + 2 * v * QD_LANES, qd_interleave(a, b));
        }
    }
    memset(panel + packed * WIDTH, 0, (qd_panel_depth(x.rows) - packed) * WIDTH * sizeof *panel);
    return _mm512_reduce_max_epu32(largest);
}

QD_TARGET_AVX512 static uint32_t pack_left_halves(qd_cmath x, uint16_t *panel)
{
    __m512i largest = _mm512_setzero_si512();
    for (size_t k = 0; k < x.rows; k += QD_PANEL_STEP)
        for (size_t i = 0; i < WIDTH; i += QD_LANES) {
            __m512i square[QD_LANES];
            qd_square_of_half_columns(qd_piece_of_halves(x, k, i, QD_PANEL_STEP, QD_LANES), square, &largest);
            qd_square_turn(square);
            qd_square_store(square, panel + k * WIDTH + i * QD_PANEL_STEP, QD_PANEL_STEP);
        }
    return qd_largest_half(largest);
}

QD_TARGET_AVX512 static uint32_t pack_columns_bf16(qd_cmath x, qd_panel_side side, uint16_t *panel)
{
    enum { LINE = 64 / sizeof(uint16_t) };
    __m512i largest = _mm512_setzero_si512();
    size_t packed = (x.rows + 1) / 2 * 2;
    if (side == QD_PANEL_LEFT)
        return pack_left_halves(x, panel);
    for (size_t k = 0; k < x.rows; k += 2) {
        const uint16_t *even = qd_cmath_row(x, k), *odd = k + 1 < x.rows ? even + x.ld : NULL;
        for (size_t ahead = WIDTH; ahead < 2 * WIDTH; ahead += LINE) { /* of the next panel, as a rule */
            __builtin_prefetch(even + ahead);
            __builtin_prefetch(even + x.ld + ahead);
        }
        QD_UNROLL for (size_t v = 0; v < VECTORS; v++)
        {
            size_t i = v * QD_LANES;
            __mmask16 mask = qd_lanes(x.cols, i);
            const uint16_t *a = mask == 0 ? even : even + i, *b = mask == 0 || odd == NULL ? NULL : odd + i;
            __m512i pairs = qd_as_rounded(qd_interleave_halves(mask, a, b), &largest);
            _mm512_storeu_si512(panel + k * WIDTH + 2 * i, pairs);
        }
    }
    memset(panel + packed * WIDTH, 0, (qd_panel_depth(x.rows) - packed) * WIDTH * sizeof *panel);
    return qd_largest_half(largest);
}

QD_TARGET_AVX512 static void pack_rows(qd_cmatf x, qd_panel_side side, uint16_t *panel)
{
    for (size_t i = 0; i < WIDTH; i += QD_LANES)
        for (size_t k = 0; k < x.cols; k += QD_PANEL_STEP) {
            __m512i square[QD_LANES];
            qd_square_of_rows(qd_piece(x, i, k, QD_LANES, QD_PANEL_STEP), square);
            if (side == QD_PANEL_LEFT) {
                qd_square_store(square, panel + k * WIDTH + i * QD_PANEL_STEP, QD_PANEL_STEP);
                continue;
            }
            qd_square_turn(square);
            qd_square_store(square, panel + k * WIDTH + 2 * i, 2 * WIDTH);
        }
}

QD_TARGET_AVX512 static void pack_rows_bf16(qd_cmath x, uint16_t *panel)
{
    for (size_t k = 0; k < x.cols; k += QD_PANEL_STEP)
        for (size_t i = 0; i < WIDTH; i += QD_LANES) {
            __m512i square[QD_LANES];
            qd_square_of_half_rows(qd_piece_of_halves(x, i, k, QD_LANES, QD_PANEL_STEP), square);
            qd_square_store(square, panel + k * WIDTH + i * QD_PANEL_STEP, QD_PANEL_STEP);
        }
}

/* Pairs of a left operand: rows are `row` values apart, the next pair of products `pair`, the next QD_PANEL_STEP products QD_PANEL_STEP * WIDTH.
 * ROWS rows of out, of which `out.rows` exist: one register a vector of a row from the first product to the last. */
QD_TARGET_AVX512 static inline __attribute__((always_inline)) void
multiply_rows(const uint16_t *left, size_t row, size_t pair, const uint16_t *right, size_t k, float beta, qd_matf out)
{
    __m512 sum[ROWS][VECTORS];
    __mmask16 mask[VECTORS] = { qd_lanes(out.cols, 0), qd_lanes(out.cols, QD_LANES), qd_lanes(out.cols, 2 * QD_LANES) };
    QD_UNROLL for (size_t i = 0; i < ROWS; i++) QD_UNROLL for (size_t v = 0; v < VECTORS; v++) sum[i][v] =
        _mm512_setzero_ps();
    for (size_t step = 0; step < k; step += QD_PANEL_STEP, left += QD_PANEL_STEP * WIDTH) {
        const uint16_t *from = left, *end = right + QD_PANEL_STEP * WIDTH;
        for (; right < end; from += pair, right += 2 * WIDTH) {
            __m512bh b[VECTORS];
            QD_UNROLL for (size_t v = 0; v < VECTORS; v++) b[v] =
                (__m512bh)_mm512_loadu_si512(right + 2 * v * QD_LANES);
            QD_UNROLL for (size_t i = 0; i < ROWS; i++)
            {
                int two;
                memcpy(&two, from + i * row, sizeof two);
                __m512bh a = (__m512bh)_mm512_set1_epi32(two);
                QD_UNROLL for (size_t v = 0; v < VECTORS; v++) sum[i][v] = _mm512_dpbf16_ps(sum[i][v], a, b[v]);
            }
        }
    }
    QD_UNROLL for (size_t i = 0; i < ROWS; i++)
    {
        if (i < out.rows)
            QD_UNROLL for (size_t v = 0; v < VECTORS; v++)
            {
                float *to = qd_matf_row(out, i) + v * QD_LANES;
                __m512 before = beta == 0 ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask[v], to);
                _mm512_mask_storeu_ps(to, mask[v], _mm512_add_ps(before, sum[i][v]));
            }
    }
}

QD_TARGET_AVX512 static void multiply(const uint16_t *left, size_t stride, const uint16_t *right, size_t k, float beta,
                                      qd_matf out)
{
    for (size_t i = 0; i < out.rows; i += ROWS)
        multiply_rows(left + i / WIDTH * stride + i % WIDTH * QD_PANEL_STEP, QD_PANEL_STEP, 2, right, k, beta,
                      qd_matf_block(out, i, 0, qd_min_size(ROWS, out.rows - i), out.cols));
}

QD_TARGET_AVX512 static void multiply_rights(const uint16_t *left, size_t stride, const uint16_t *right, size_t k,
                                             float beta, qd_matf out)
{
    for (size_t i = 0; i < out.rows; i += ROWS)
        multiply_rows(left + i / WIDTH * stride + i % WIDTH * 2, 2, 2 * WIDTH, right, k, beta,
                      qd_matf_block(out, i, 0, qd_min_size(ROWS, out.rows - i), out.cols));
}

const qd_product_kernel qd_product_avx512 = {
    .name = "avx512-bf16",
    .supported = qd_has_avx512_bf16,
    .width = WIDTH,
    .left_rows = true,
    .side = 2,
    .depth = DEPTH,
    .least = 1,
    .most = 2,
    .tiles = 12,
    .pack_columns = pack_columns,
    .pack_columns_bf16 = pack_columns_bf16,
    .pack_rows = pack_rows,
    .pack_rows_bf16 = pack_rows_bf16,
    .multiply = multiply,
    .multiply_rights = multiply_rights,
};

#endif
