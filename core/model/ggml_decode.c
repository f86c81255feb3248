/* ggml_decode.c: see ggml_decode.h. Blocks of fewer than 256 elements. */
#include "model/ggml_decode.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "linalg/half.h"

/* a * b + c stays two roundings, whatever the machine was asked for. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC optimize("O3", "fp-contract=off")
#endif

const signed char qd_ggml_iq4_values[16] = { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 };
/* Twice the values of E2M1: whole numbers; the scale is halved instead. -0 decodes to 0, as it does there. */
static const signed char e2m1_doubled[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };

static uint16_t word_at(const unsigned char *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static float half_at(const unsigned char *at)
{
    return qd_f16_to_float(word_at(at));
}

static uint32_t bits_at(const unsigned char *at)
{
    return (uint32_t)word_at(at) | (uint32_t)word_at(at + 2) << 16;
}

void qd_ggml_q4_0(const void *from, size_t count, float *out)
{
    const unsigned char *at = from;
    for (size_t start = 0; start < count; start += 32, at += 18, out += 32) {
        const float d = half_at(at);
        for (size_t j = 0; j < 16; j++) {
            out[j] = (float)((at[2 + j] & 15) - 8) * d;
            out[j + 16] = (float)((at[2 + j] >> 4) - 8) * d;
        }
    }
}

void qd_ggml_q4_1(const void *from, size_t count, float *out)
{
    const unsigned char *at = from;
    for (size_t start = 0; start < count; start += 32, at += 20, out += 32) {
        const float d = half_at(at), m = half_at(at + 2);
        for (size_t j = 0; j < 16; j++) {
            out[j] = (float)(at[4 + j] & 15) * d + m;
            out[j + 16] = (float)(at[4 + j] >> 4) * d + m;
        }
    }
}

void qd_ggml_q5_0(const void *from, size_t count, float *out)
{
    const unsigned char *at = from;
    for (size_t start = 0; start < count; start += 32, at += 22, out += 32) {
        const float d = half_at(at);
        const uint32_t high = bits_at(at + 2);
        for (size_t j = 0; j < 16; j++) {
            int low_code = (at[6 + j] & 15) | (int)(high >> j & 1) << 4;
            int high_code = (at[6 + j] >> 4) | (int)(high >> (j + 16) & 1) << 4;
            out[j] = (float)(low_code - 16) * d;
            out[j + 16] = (float)(high_code - 16) * d;
        }
    }
}

void qd_ggml_q5_1(const void *from, size_t count, float *out)
{
    const unsigned char *at = from;
    for (size_t start = 0; start < count; start += 32, at += 24, out += 32) {
        const float d = half_at(at), m = half_at(at + 2);
        const uint32_t high = bits_at(at + 4);
        for (size_t j = 0; j < 16; j++) {
            int low_code = (at[8 + j] & 15) | (int)(high >> j & 1) << 4;
            int high_code = (at[8 + j] >> 4) | (int)(high >> (j + 16) & 1) << 4;
            out[j] = (float)low_code * d + m;
            out[j + 16] = (float)high_code * d + m;
        }
    }
}

void qd_ggml_q8_0(const void *from, size_t count, float *out)
{
    const unsigned char *at = from;
    for (size_t start = 0; start < count; start += 32, at += 34, out += 32) {
        const float d = half_at(at);
        for (size_t j = 0; j < 32; j++)
            out[j] = (float)(int8_t)at[2 + j] * d;
    }
}

void qd_ggml_iq4_nl(const void *from, size_t count, float *out)
{
    const unsigned char *at = from;
    for (size_t start = 0; start < count; start += 32, at += 18, out += 32) {
        const float d = half_at(at);
        for (size_t j = 0; j < 16; j++) {
            out[j] = d * (float)qd_ggml_iq4_values[at[2 + j] & 15];
            out[j + 16] = d * (float)qd_ggml_iq4_values[at[2 + j] >> 4];
        }
    }
}

/* 2^(e - 128): half of an E8M0 scale. The two smallest are denormal; 255 is no NaN there but 2^127. */
static float e8m0_half(unsigned char e)
{
    return ldexpf(1, (int)e - 128);
}

void qd_ggml_mxfp4(const void *from, size_t count, float *out)
{
    const unsigned char *at = from;
    for (size_t start = 0; start < count; start += 32, at += 17, out += 32) {
        const float d = e8m0_half(at[0]);
        for (size_t j = 0; j < 16; j++) {
            out[j] = (float)e2m1_doubled[at[1 + j] & 15] * d;
            out[j + 16] = (float)e2m1_doubled[at[1 + j] >> 4] * d;
        }
    }
}

/* Half of an E4M3 scale without sign; the code that would be NaN stands for 0. */
static float e4m3_half(unsigned char code)
{
    int exponent = code >> 3 & 15, fraction = code & 7;
    if (code == 0x7f)
        return 0;
    return exponent == 0 ? ldexpf((float)fraction, -10) : ldexpf((float)(8 + fraction), exponent - 11);
}

void qd_ggml_nvfp4(const void *from, size_t count, float *out)
{
    const unsigned char *at = from;
    for (size_t start = 0; start < count; start += 64, at += 36, out += 64)
        for (size_t g = 0; g < 4; g++) {
            const float d = e4m3_half(at[g]);
            const unsigned char *codes = at + 4 + 8 * g;
            for (size_t j = 0; j < 8; j++) {
                out[16 * g + j] = (float)e2m1_doubled[codes[j] & 15] * d;
                out[16 * g + j + 8] = (float)e2m1_doubled[codes[j] >> 4] * d;
            }
        }
}

void qd_ggml_q1_0(const void *from, size_t count, float *out)
{
    const unsigned char *at = from;
    for (size_t start = 0; start < count; start += 128, at += 18, out += 128) {
        const float d = half_at(at);
        for (size_t j = 0; j < 128; j++)
            out[j] = at[2 + j / 8] >> j % 8 & 1 ? d : -d;
    }
}

void qd_ggml_q2_0(const void *from, size_t count, float *out)
{
    const unsigned char *at = from;
    for (size_t start = 0; start < count; start += 64, at += 18, out += 64) {
        const float d = half_at(at);
        for (size_t j = 0; j < 64; j++)
            out[j] = (float)((at[2 + j / 4] >> 2 * (j % 4) & 3) - 1) * d;
    }
}
