/* ggml_decode_k.c: see ggml_decode.h. Blocks of 256 elements: scales of 16 or 32 elements, themselves codes. */
#include "model/ggml_decode.h"

#include <stdint.h>

#include "linalg/half.h"

/* a * b - c stays two roundings, whatever the machine was asked for. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC optimize("O3", "fp-contract=off")
#endif

enum { BLOCK = 256 };

static float half_at(const unsigned char *at)
{
    return qd_f16_to_float((uint16_t)(at[0] | at[1] << 8));
}

/* scales[16] (low nibble: scale, high: minimum), codes[64], d, dmin. */
void qd_ggml_q2_k(const void *from, size_t count, float *out)
{
    const unsigned char *at = from;
    for (size_t start = 0; start < count; start += BLOCK, at += 84, out += BLOCK) {
        const float d = half_at(at + 80), dmin = half_at(at + 82);
        for (size_t g = 0; g < 16; g++) { /* 16 elements of half g / 8, plane g % 8 / 2 */
            const unsigned char *codes = at + 16 + 32 * (g / 8) + 16 * (g % 2);
            const float scale = d * (float)(at[g] & 15), minimum = dmin * (float)(at[g] >> 4);
            for (size_t l = 0; l < 16; l++)
                out[16 * g + l] = scale * (float)(codes[l] >> g % 8 / 2 * 2 & 3) - minimum;
        }
    }
}

/* high[32], codes[64], scales[12], d. */
void qd_ggml_q3_k(const void *from, size_t count, float *out)
{
    const unsigned char *at = from;
    for (size_t start = 0; start < count; start += BLOCK, at += 110, out += BLOCK) {
        const unsigned char *scales = at + 96;
        const float d = half_at(at + 108);
        for (size_t g = 0; g < 16; g++) {
            const unsigned char *codes = at + 32 + 32 * (g / 8) + 16 * (g % 2), *high = at + 16 * (g % 2);
            int k = (scales[g % 8] >> 4 * (g / 8) & 15) | (scales[8 + g % 4] >> 2 * (g / 4) & 3) << 4;
            const float scale = d * (float)(k - 32);
            for (size_t l = 0; l < 16; l++) {
                int code = (codes[l] >> g % 8 / 2 * 2 & 3) + ((high[l] >> g / 2 & 1) != 0 ? 4 : 0);
                out[16 * g + l] = scale * (float)(code - 4);
            }
        }
    }
}

/* Scale and minimum of 32 elements, 6 bits each, out of the 12 bytes of Q4_K and Q5_K. */
static void six_bits(const unsigned char *s, size_t j, int *out_scale, int *out_minimum)
{
    if (j < 4) {
        *out_scale = s[j] & 63;
        *out_minimum = s[j + 4] & 63;
    } else {
        *out_scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
        *out_minimum = s[j + 4] >> 4 | s[j] >> 6 << 4;
    }
}

/* d, dmin, scales[12], codes[128]. */
void qd_ggml_q4_k(const void *from, size_t count, float *out)
{
    const unsigned char *at = from;
    for (size_t start = 0; start < count; start += BLOCK, at += 144, out += BLOCK) {
        const float d = half_at(at), dmin = half_at(at + 2);
        for (size_t j = 0; j < 8; j++) {
            const unsigned char *codes = at + 16 + 32 * (j / 2);
            int k, m;
            six_bits(at + 4, j, &k, &m);
            const float scale = d * (float)k, minimum = dmin * (float)m;
            for (size_t l = 0; l < 32; l++)
                out[32 * j + l] = scale * (float)(codes[l] >> 4 * (j % 2) & 15) - minimum;
        }
    }
}

/* d, dmin, scales[12], high[32], codes[128]. */
void qd_ggml_q5_k(const void *from, size_t count, float *out)
{
    const unsigned char *at = from;
    for (size_t start = 0; start < count; start += BLOCK, at += 176, out += BLOCK) {
        const float d = half_at(at), dmin = half_at(at + 2);
        for (size_t j = 0; j < 8; j++) {
            const unsigned char *codes = at + 48 + 32 * (j / 2), *high = at + 16;
            int k, m;
            six_bits(at + 4, j, &k, &m);
            const float scale = d * (float)k, minimum = dmin * (float)m;
            for (size_t l = 0; l < 32; l++) {
                int code = (codes[l] >> 4 * (j % 2) & 15) | (high[l] >> j & 1) << 4;
                out[32 * j + l] = scale * (float)code - minimum;
            }
        }
    }
}

/* low[128], high[64], scales[16] signed, d. */
void qd_ggml_q6_k(const void *from, size_t count, float *out)
{
    const unsigned char *at = from;
    for (size_t start = 0; start < count; start += BLOCK, at += 210, out += BLOCK) {
        const float d = half_at(at + 208);
        for (size_t g = 0; g < 16; g++) {
            size_t half = g / 8, plane = g % 8 / 2, first = 16 * (g % 2);
            const unsigned char *low = at + 64 * half + 32 * (plane % 2) + first, *high = at + 128 + 32 * half + first;
            const float scale = d * (float)(int8_t)at[192 + g];
            for (size_t l = 0; l < 16; l++) {
                int code = (low[l] >> 4 * (plane / 2) & 15) | (high[l] >> 2 * plane & 3) << 4;
                out[16 * g + l] = scale * (float)(code - 32);
            }
        }
    }
}

/* d, high bits of 8 scales in 16, low nibbles in 4 bytes, codes[128]: IQ4_NL with a scale of 6 bits every 32. */
void qd_ggml_iq4_xs(const void *from, size_t count, float *out)
{
    const unsigned char *at = from;
    for (size_t start = 0; start < count; start += BLOCK, at += 136, out += BLOCK) {
        const float d = half_at(at);
        const unsigned high = (unsigned)(at[2] | at[3] << 8);
        for (size_t j = 0; j < 8; j++) {
            const unsigned char *codes = at + 8 + 16 * j;
            int k = (at[4 + j / 2] >> 4 * (j % 2) & 15) | (int)(high >> 2 * j & 3) << 4;
            const float scale = d * (float)(k - 32);
            for (size_t l = 0; l < 16; l++) {
                out[32 * j + l] = scale * (float)qd_ggml_iq4_values[codes[l] & 15];
                out[32 * j + l + 16] = scale * (float)qd_ggml_iq4_values[codes[l] >> 4];
            }
        }
    }
}

/* Digit n of the base-3 fraction byte / 256. */
static float trit(unsigned char byte, size_t n, float d)
{
    static const unsigned char powers[] = { 1, 3, 9, 27, 81 };
    unsigned char rest = (unsigned char)(byte * powers[n]);
    return (float)((rest * 3 >> 8) - 1) * d;
}

/* codes[48] of five trits, high[4] of four, d. */
void qd_ggml_tq1_0(const void *from, size_t count, float *out)
{
    const unsigned char *at = from;
    for (size_t start = 0; start < count; start += BLOCK, at += 54, out += BLOCK) {
        const float d = half_at(at + 52);
        for (size_t n = 0; n < 5; n++) {
            for (size_t m = 0; m < 32; m++)
                out[m + 32 * n] = trit(at[m], n, d);
            for (size_t m = 0; m < 16; m++)
                out[160 + m + 16 * n] = trit(at[32 + m], n, d);
        }
        for (size_t n = 0; n < 4; n++)
            for (size_t m = 0; m < 4; m++)
                out[240 + m + 4 * n] = trit(at[48 + m], n, d);
    }
}

/* codes[64], d. */
void qd_ggml_tq2_0(const void *from, size_t count, float *out)
{
    const unsigned char *at = from;
    for (size_t start = 0; start < count; start += BLOCK, at += 66, out += BLOCK) {
        const float d = half_at(at + 64);
        for (size_t i = 0; i < BLOCK; i++)
            out[i] = (float)((at[32 * (i / 128) + i % 32] >> 2 * (i % 128 / 32) & 3) - 1) * d;
    }
}
