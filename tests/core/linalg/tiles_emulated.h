/* tiles_emulated.h: AMX's instructions on tiles in plain C, for a processor that has none: include it, then linalg/product_amx.c, whose row of
 * the table is then qd_product_emulated.
 * Room: tests. May use: libc.
 * Threads: registers are a thread's own, as in the processor.
 * Source: Intel, Architecture Instruction Set Extensions, chapter 3: LDTILECFG, TILELOADD, TILESTORED, TILEZERO, TDPBF16PS. */
#ifndef QD_TESTS_TILES_EMULATED_H
#define QD_TESTS_TILES_EMULATED_H

#include <assert.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#endif

typedef struct emulated_configuration {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} emulated_configuration;

typedef struct emulated_tile {
    unsigned char row[16][64];
} emulated_tile;

static _Thread_local emulated_configuration emulated_set; /* palette 0: none */
static _Thread_local emulated_tile emulated_tiles[8];

/* Registers start as zeros; what the processor would refuse (#GP) fails here. */
static inline void emulated_configure(const void *configuration)
{
    memcpy(&emulated_set, configuration, sizeof emulated_set);
    assert(emulated_set.palette == 1 && emulated_set.start_row == 0);
    for (size_t i = 0; i < 16; i++) {
        assert(emulated_set.row_bytes[i] <= 64 && emulated_set.rows[i] <= 16);
        assert(i < 8 || (emulated_set.row_bytes[i] == 0 && emulated_set.rows[i] == 0));
    }
    for (size_t i = 0; i < sizeof emulated_set.reserved; i++)
        assert(emulated_set.reserved[i] == 0);
    memset(emulated_tiles, 0, sizeof emulated_tiles);
}

static inline void emulated_release(void)
{
    emulated_set = (emulated_configuration){ 0 };
    memset(emulated_tiles, 0xa5, sizeof emulated_tiles);
}

/* An instruction on a register that is not configured faults (#UD). */
static inline emulated_tile *emulated_at(int tile)
{
    assert(tile < 8 && emulated_set.palette == 1 && emulated_set.rows[tile] > 0 && emulated_set.row_bytes[tile] > 0);
    return &emulated_tiles[tile];
}

static inline void emulated_zero(int tile)
{
    memset(emulated_at(tile), 0, sizeof(emulated_tile));
}

static inline void emulated_load(int tile, const void *from, size_t stride)
{
    emulated_tile *to = emulated_at(tile);
    memset(to, 0, sizeof *to);
    for (size_t i = 0; i < emulated_set.rows[tile]; i++)
        memcpy(to->row[i], (const unsigned char *)from + i * stride, emulated_set.row_bytes[tile]);
}

static inline void emulated_store(int tile, void *to, size_t stride)
{
    const emulated_tile *from = emulated_at(tile);
    for (size_t i = 0; i < emulated_set.rows[tile]; i++)
        memcpy((unsigned char *)to + i * stride, from->row[i], emulated_set.row_bytes[tile]);
}

/* Denormal inputs and sums count as zero. */
static inline float emulated_flush(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits = (bits & 0x7f800000u) == 0 ? bits & 0x80000000u : bits;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* 32 values a row. */
static inline void emulated_widen(const emulated_tile *tile, float out[16][32])
{
    for (size_t i = 0; i < 16; i++)
        for (size_t k = 0; k < 32; k++) {
            uint16_t half;
            memcpy(&half, tile->row[i] + 2 * k, sizeof half);
            uint32_t bits = (uint32_t)half << 16;
            memcpy(&out[i][k], &bits, sizeof bits);
            out[i][k] = emulated_flush(out[i][k]);
        }
}

/* Even and odd products are summed apart over the tile, then together, then added to what was there. */
static inline void emulated_multiply(int sum, int left, int right)
{
    emulated_tile *c = emulated_at(sum);
    size_t pairs = emulated_set.rows[right], columns = emulated_set.row_bytes[sum] / 4u;
    float a[16][32], b[16][32];
    assert(sum != left && sum != right && left != right);
    assert(emulated_set.rows[sum] == emulated_set.rows[left]);
    assert(emulated_set.row_bytes[sum] == emulated_set.row_bytes[right]);
    assert(emulated_set.row_bytes[left] == 4 * pairs);
    emulated_widen(emulated_at(left), a);
    emulated_widen(emulated_at(right), b);
    for (size_t m = 0; m < emulated_set.rows[sum]; m++) {
        float even[16] = { 0 }, odd[16] = { 0 }, before[16];
        for (size_t k = 0; k < pairs; k++)
            for (size_t n = 0; n < columns; n++) {
                even[n] = emulated_flush(even[n] + a[m][2 * k] * b[k][2 * n]);
                odd[n] = emulated_flush(odd[n] + a[m][2 * k + 1] * b[k][2 * n + 1]);
            }
        memcpy(before, c->row[m], sizeof before);
        for (size_t n = 0; n < columns; n++)
            before[n] = emulated_flush(emulated_flush(before[n]) + emulated_flush(even[n] + odd[n]));
        memcpy(c->row[m], before, sizeof before);
    }
}

#define QD_TARGET_AMX
#define QD_TILE_CONFIGURE(configuration) emulated_configure(configuration)
#define QD_TILE_RELEASE() emulated_release()
#define QD_TILE_ZERO(tile) emulated_zero(tile)
#define QD_TILE_LOAD(tile, from, bytes) emulated_load(tile, from, bytes)
#define QD_TILE_STORE(tile, to, bytes) emulated_store(tile, to, bytes)
#define QD_TILE_MULTIPLY(sum, left, right) emulated_multiply(sum, left, right)
#define qd_product_amx qd_product_emulated

#endif
