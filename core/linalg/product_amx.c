/* product_amx.c: panels of 32 features for AMX, in tiles of 16 features x 32 products: 1 KiB in a row, so that a load of one reads whole
 * lines. Left tiles are [feature][product], right ones [pair of products][feature][2]; 2 x 2 of them are multiplied in four tile registers.
 *
 * An instruction of AMX sums 32 products by itself before it adds them to a tile register. Sums leave those registers every 512 products, so that
 * a right panel stays in the first cache meanwhile: 8 KiB moved for 64 multiplications of tiles.
 * Source: Intel, Architecture Instruction Set Extensions, chapter 3 (TDPBF16PS, palette 1). */
#include "linalg/product_kernels.h"

#ifdef QD_PRODUCT_X86

#include <cpuid.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "linalg/product_x86.h"

/* The instructions on tiles, in one place: the tests put plain C here. */
#ifndef QD_TILE_LOAD
#define QD_TARGET_AMX __attribute__((target("amx-tile,amx-bf16,prfchw," QD_AVX512_BF16)))
#define QD_TILE_CONFIGURE(configuration) _tile_loadconfig(configuration)
#define QD_TILE_RELEASE() _tile_release()
#define QD_TILE_ZERO(tile) _tile_zero(tile)
#define QD_TILE_LOAD(tile, from, bytes) _tile_loadd(tile, from, bytes)
#define QD_TILE_STORE(tile, to, bytes) _tile_stored(tile, to, bytes)
#define QD_TILE_MULTIPLY(sum, left, right) _tile_dpbf16ps(sum, left, right)
#endif
/* Compilers do not know that a load of a tile reads memory. */
#define MEMORY_IS_READ() __asm__ volatile("" ::: "memory")

enum { TILE = 16, WIDTH = 2 * TILE, DEPTH = 2048, STEP = QD_PANEL_STEP, TILE_VALUES = TILE * STEP, ROW_BYTES = 64 };

/* ---- permission ---- */

/* The kernel lets a process use tiles once it has asked; its threads, also later ones, then may too. */
static bool permitted(void)
{
#ifdef SYS_arch_prctl
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return false;
#endif
}

static bool supported(void)
{
    enum { EXTENDED = 7, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 };
    unsigned a, b, c, d;
    return qd_has_avx512_bf16() && __get_cpuid_count(EXTENDED, 0, &a, &b, &c, &d) != 0 && (d & AMX_BF16) != 0 &&
           (d & AMX_TILE) != 0 && permitted();
}

/* ---- packing ---- */

QD_TARGET_AVX512 static uint32_t pack_columns(qd_cmatf x, qd_panel_side side, uint16_t *panel)
{
    __m512i largest = _mm512_setzero_si512();
    for (size_t k = 0; k < x.rows; k += STEP)
        for (size_t i = 0; i < WIDTH; i += TILE) {
            __m512i square[TILE];
            for (size_t row = k; row < qd_min_size(k + STEP, x.rows); row++) /* of the next panel but one, as a rule */
                __builtin_prefetch(qd_cmatf_row(x, row) + i + 2 * WIDTH);
            largest = _mm512_max_epu32(largest, qd_square_of_columns(qd_piece(x, k, i, STEP, TILE), square));
            if (side == QD_PANEL_LEFT)
                qd_square_turn(square);
            qd_square_store(square, panel + k * WIDTH + i * STEP, STEP);
        }
    return _mm512_reduce_max_epu32(largest);
}

/* Values of a row in the order that unpacking by lanes turns into 16 features, then 16 more; zeros where there is no row. */
QD_TARGET_AVX512 static inline __m512i halves_of_row(qd_cmath x, size_t row, __mmask32 mask, __m512i *largest)
{
    if (row >= x.rows)
        return _mm512_setzero_si512();
    __builtin_prefetch(qd_cmath_row(x, row) + 2 * WIDTH); /* a line, of the next panel but one, as a rule */
    __m512i halves = qd_as_rounded(_mm512_maskz_loadu_epi16(mask, qd_cmath_row(x, row)), largest);
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7), halves);
}

QD_TARGET_AVX512 static void turn_tile(uint16_t *tile)
{
    __m512i square[TILE];
    QD_UNROLL for (size_t p = 0; p < TILE; p++) square[p] = _mm512_loadu_si512(tile + p * STEP);
    qd_square_turn(square);
    qd_square_store(square, tile, STEP);
}

/* Each row's line is read once: rows a multiple of a page apart are all kept in the same few places of the first cache. Left tiles are right ones
 * first, turned where they lie. */
QD_TARGET_AVX512 static uint32_t pack_columns_bf16(qd_cmath x, qd_panel_side side, uint16_t *panel)
{
    __m512i largest = _mm512_setzero_si512();
    __mmask32 mask = (__mmask32)(UINT64_MAX >> (64 - x.cols));
    for (size_t k = 0; k < x.rows; k += STEP, panel += STEP * WIDTH) {
        for (size_t p = 0; p < TILE; p++) {
            __m512i a = halves_of_row(x, k + 2 * p, mask, &largest);
            __m512i b = halves_of_row(x, k + 2 * p + 1, mask, &largest);
            _mm512_storeu_si512(panel + p * STEP, _mm512_unpacklo_epi16(a, b));
            _mm512_storeu_si512(panel + TILE_VALUES + p * STEP, _mm512_unpackhi_epi16(a, b));
        }
        if (side == QD_PANEL_LEFT) {
            turn_tile(panel);
            turn_tile(panel + TILE_VALUES);
        }
    }
    return qd_largest_half(largest);
}

QD_TARGET_AVX512 static void pack_rows(qd_cmatf x, qd_panel_side side, uint16_t *panel)
{
    for (size_t k = 0; k < x.cols; k += STEP)
        for (size_t i = 0; i < WIDTH; i += TILE) {
            __m512i square[TILE];
            qd_square_of_rows(qd_piece(x, i, k, TILE, STEP), square);
            if (side == QD_PANEL_RIGHT)
                qd_square_turn(square);
            qd_square_store(square, panel + k * WIDTH + i * STEP, STEP);
        }
}

QD_TARGET_AVX512 static void pack_rows_bf16(qd_cmath x, uint16_t *panel)
{
    for (size_t k = 0; k < x.cols; k += STEP)
        for (size_t i = 0; i < WIDTH; i += TILE) {
            __m512i square[TILE];
            qd_square_of_half_rows(qd_piece_of_halves(x, i, k, TILE, STEP), square);
            qd_square_store(square, panel + k * WIDTH + i * STEP, STEP);
        }
}

/* ---- multiplying ---- */

typedef struct configuration {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} configuration;

/* All eight registers are whole tiles: 0 to 3 sums, 4 and 5 left, 6 and 7 right. */
static const configuration whole_tiles = {
    .palette = 1,
    .row_bytes = { ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES },
    .rows = { TILE, TILE, TILE, TILE, TILE, TILE, TILE, TILE },
};

/* Left tiles come from the second cache, right ones the first time and places of out from beyond: all are asked for before they are used. Of the
 * time a fifth to a quarter is saved by the first, about a tenth by the others. What lies past an end is not there or does not matter. */
typedef struct ahead {
    const uint16_t *right; /* a part of the right panel that comes next, LINES a step */
    const float *out;      /* the square that comes next: its rows, two a step; NULL for none */
    size_t ld;
} ahead;

enum { STEPS_AHEAD = 4, LINES = 4, LINE_VALUES = 32 };

/* Always inlined, as the next one: a call of a function that only fetches does nothing, compilers find, and leave it out. */
QD_TARGET_AMX static inline __attribute__((always_inline)) void fetch_tile(const uint16_t *tile)
{
    QD_UNROLL for (size_t row = 0; row < TILE; row++) __builtin_prefetch(tile + row * STEP);
}

QD_TARGET_AMX static inline __attribute__((always_inline)) void fetch_next(const ahead *next, size_t step)
{
    enum { TO_WRITE = 1, SECOND_CACHE = 2 };
    const uint16_t *right = next->right + step * LINES * LINE_VALUES;
    QD_UNROLL for (size_t l = 0; l < LINES; l++) __builtin_prefetch(right + l * LINE_VALUES, 0, SECOND_CACHE);
    if (next->out == NULL || step >= TILE)
        return;
    QD_UNROLL for (size_t row = 2 * step; row < 2 * step + 2; row++)
    {
        __builtin_prefetch(next->out + row * next->ld, TO_WRITE);
        __builtin_prefetch(next->out + row * next->ld + TILE, TO_WRITE);
    }
}

/* 32 x 32 of out, all of which exist. */
QD_TARGET_AMX static void multiply_square(const uint16_t *left, const uint16_t *right, size_t k, float beta, float *out,
                                          size_t ld, const ahead *next)
{
    size_t bytes = ld * sizeof *out;
    float *below = out + TILE * ld;
    MEMORY_IS_READ();
    if (beta == 0) {
        QD_TILE_ZERO(0);
        QD_TILE_ZERO(1);
        QD_TILE_ZERO(2);
        QD_TILE_ZERO(3);
    } else {
        QD_TILE_LOAD(0, out, bytes);
        QD_TILE_LOAD(1, out + TILE, bytes);
        QD_TILE_LOAD(2, below, bytes);
        QD_TILE_LOAD(3, below + TILE, bytes);
    }
    for (size_t step = 0; step < k / STEP; step++, left += 2 * TILE_VALUES, right += 2 * TILE_VALUES) {
        QD_TILE_LOAD(6, right, ROW_BYTES);
        QD_TILE_LOAD(7, right + TILE_VALUES, ROW_BYTES);
        QD_TILE_LOAD(4, left, ROW_BYTES);
        fetch_tile(left + STEPS_AHEAD * 2 * TILE_VALUES);
        fetch_tile(right + STEPS_AHEAD * 2 * TILE_VALUES);
        QD_TILE_MULTIPLY(0, 4, 6);
        QD_TILE_MULTIPLY(1, 4, 7);
        QD_TILE_LOAD(5, left + TILE_VALUES, ROW_BYTES);
        fetch_tile(left + STEPS_AHEAD * 2 * TILE_VALUES + TILE_VALUES);
        fetch_tile(right + STEPS_AHEAD * 2 * TILE_VALUES + TILE_VALUES);
        QD_TILE_MULTIPLY(2, 5, 6);
        fetch_next(next, step);
        QD_TILE_MULTIPLY(3, 5, 7);
    }
    QD_TILE_STORE(0, out, bytes);
    QD_TILE_STORE(1, out + TILE, bytes);
    QD_TILE_STORE(2, below, bytes);
    QD_TILE_STORE(3, below + TILE, bytes);
    MEMORY_IS_READ();
}

static void copy(qd_cmatf from, qd_matf to)
{
    for (size_t i = 0; i < from.rows; i++)
        memcpy(qd_matf_row(to, i), qd_cmatf_row(from, i), from.cols * sizeof(float));
}

/* At the edges: through a whole square. */
static void multiply_edge(const uint16_t *left, const uint16_t *right, size_t k, float beta, qd_matf out,
                          const ahead *next)
{
    _Alignas(64) float square[WIDTH * WIDTH] = { 0 };
    qd_matf whole = qd_matf_view(square, WIDTH, WIDTH);
    if (beta != 0)
        copy(qd_matf_const(out), whole);
    multiply_square(left, right, k, beta, square, WIDTH, next);
    copy(qd_cmatf_block(qd_matf_const(whole), 0, 0, out.rows, out.cols), out);
}

/* Registers are free again behind: nobody else's switch of threads has to save them. */
QD_TARGET_AMX static void begin(void)
{
    QD_TILE_CONFIGURE(&whole_tiles);
}

QD_TARGET_AMX static void end(void)
{
    QD_TILE_RELEASE();
}

/* What comes next on the right side is taken to lie behind `right`, as in a linear layer. */
QD_TARGET_AMX static void multiply(const uint16_t *left, size_t stride, const uint16_t *right, size_t k, float beta,
                                   qd_matf out)
{
    for (size_t i = 0; i < out.rows; i += WIDTH, left += stride) {
        size_t rows = qd_min_size(WIDTH, out.rows - i);
        bool another = i + 2 * WIDTH <= out.rows;
        ahead next = { right + k * WIDTH + i / WIDTH * (k / STEP) * LINES * LINE_VALUES,
                       another ? qd_matf_row(out, i + WIDTH) : NULL, out.ld };
        if (rows == WIDTH && out.cols == WIDTH)
            multiply_square(left, right, k, beta, qd_matf_row(out, i), out.ld, &next);
        else
            multiply_edge(left, right, k, beta, qd_matf_block(out, i, 0, rows, out.cols), &next);
    }
}

const qd_product_kernel qd_product_amx = {
    .name = "amx-bf16",
    .supported = supported,
    .width = WIDTH,
    .left_rows = true,
    .side = 8,
    .depth = DEPTH,
    .least = 5, /* of 576 features: four along a side, which two threads share evenly */
    .most = 16,
    .tiles = 4,
    .pack_columns = pack_columns,
    .pack_columns_bf16 = pack_columns_bf16,
    .pack_rows = pack_rows,
    .pack_rows_bf16 = pack_rows_bf16,
    .begin = begin,
    .end = end,
    .multiply = multiply,
};

#endif
