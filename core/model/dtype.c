/* dtype.c: see dtype.h. Rows in the order a writer sorts tensors by: widest first (formats.md §1.1, §1.3). */
#include "model/dtype.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/auto.h"
#include "linalg/half.h"
#include "model/dtype_private.h"

void qd_dtype_f64_to_floats(const void *from, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++) {
        double value;
        memcpy(&value, (const unsigned char *)from + 8 * i, sizeof value);
        out[i] = (float)value;
    }
}

void qd_dtype_f32_to_floats(const void *from, size_t count, float *out)
{
    if (count > 0) /* an empty tensor may come with no memory */
        memcpy(out, from, count * sizeof *out);
}

void qd_dtype_floats_to_f32(const float *from, size_t count, void *out)
{
    if (count > 0)
        memcpy(out, from, count * sizeof *from);
}

void qd_dtype_floats_to_bf16(const float *from, size_t count, void *out)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t bits = qd_float_to_bf16(from[i]);
        memcpy((unsigned char *)out + 2 * i, &bits, sizeof bits);
    }
}

void qd_dtype_floats_to_f16(const float *from, size_t count, void *out)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t bits = qd_float_to_f16(from[i]);
        memcpy((unsigned char *)out + 2 * i, &bits, sizeof bits);
    }
}

void qd_dtype_i32_to_floats(const void *from, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++) {
        int32_t value;
        memcpy(&value, (const unsigned char *)from + 4 * i, sizeof value);
        out[i] = (float)value;
    }
}

void qd_dtype_i16_to_floats(const void *from, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++) {
        int16_t value;
        memcpy(&value, (const unsigned char *)from + 2 * i, sizeof value);
        out[i] = (float)value;
    }
}

void qd_dtype_i8_to_floats(const void *from, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (float)((const int8_t *)from)[i];
}

static void u8_to_floats(const void *from, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (float)((const uint8_t *)from)[i];
}

/* The 256 values are few enough to be computed anew: 1 sign, then exponent and fraction. E4M3 ("fn") has no infinity and
 * one NaN a sign; E5M2 is the upper half of an f16. */
static float e4m3_value(unsigned char code)
{
    int exponent = code >> 3 & 15, fraction = code & 7;
    float magnitude = exponent == 0 ? ldexpf((float)fraction, -9) : ldexpf((float)(8 + fraction), exponent - 10);
    if ((code & 0x7f) == 0x7f)
        magnitude = NAN;
    return code & 0x80 ? -magnitude : magnitude;
}

static void e4m3_to_floats(const void *from, size_t count, float *out)
{
    float values[256];
    size_t known = count < QD_LENGTH(values) ? 0 : QD_LENGTH(values);
    for (size_t i = 0; i < known; i++)
        values[i] = e4m3_value((unsigned char)i);
    const unsigned char *at = from;
    for (size_t i = 0; i < count; i++)
        out[i] = known > 0 ? values[at[i]] : e4m3_value(at[i]);
}

static void e5m2_to_floats(const void *from, size_t count, float *out)
{
    const unsigned char *at = from;
    for (size_t i = 0; i < count; i++)
        out[i] = qd_f16_to_float((uint16_t)(at[i] << 8));
}

static const qd_dtype table[] = {
    { "F64", 64, 0, 0, qd_dtype_f64_to_floats, NULL },
    { "I64", 64, 0, 0, NULL, NULL },
    { "U64", 64, 0, 0, NULL, NULL },
    { "C64", 64, 0, 0, NULL, NULL },
    { "F32", 32, 0, 0, qd_dtype_f32_to_floats, qd_dtype_floats_to_f32 },
    { "I32", 32, 0, 0, qd_dtype_i32_to_floats, NULL },
    { "U32", 32, 0, 0, NULL, NULL },
    { "BF16", 16, 0, 0, qd_bf16_to_floats, qd_dtype_floats_to_bf16 },
    { "F16", 16, 0, 0, qd_f16_to_floats, qd_dtype_floats_to_f16 },
    { "I16", 16, 0, 0, qd_dtype_i16_to_floats, NULL },
    { "U16", 16, 0, 0, NULL, NULL },
    { "F8_E5M2", 8, 0, 0, e5m2_to_floats, NULL },
    { "F8_E4M3", 8, 0, 0, e4m3_to_floats, NULL },
    { "F8_E8M0", 8, 0, 0, NULL, NULL },
    { "F8_E4M3FNUZ", 8, 0, 0, NULL, NULL },
    { "F8_E5M2FNUZ", 8, 0, 0, NULL, NULL },
    { "I8", 8, 0, 0, qd_dtype_i8_to_floats, NULL },
    { "U8", 8, 0, 0, u8_to_floats, NULL },
    { "BOOL", 8, 0, 0, NULL, NULL },
    { "F6_E2M3", 6, 0, 0, NULL, NULL },
    { "F6_E3M2", 6, 0, 0, NULL, NULL },
    { "F4", 4, 0, 0, NULL, NULL },
};

const qd_dtype *qd_dtype_at(size_t index)
{
    return index < QD_LENGTH(table) ? &table[index] : NULL;
}

const qd_dtype *qd_dtype_find(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

bool qd_dtype_bytes(const qd_dtype *dtype, uint64_t elements, uint64_t *out)
{
    uint64_t units = dtype->block != 0 ? elements / dtype->block : elements;
    uint64_t bits = dtype->block != 0 ? 8 * dtype->block_bytes : dtype->bits, total;
    if ((dtype->block != 0 && elements % dtype->block != 0) || __builtin_mul_overflow(units, bits, &total) ||
        total % 8 != 0)
        return false;
    *out = total / 8;
    return true;
}

size_t qd_dtype_size(const qd_dtype *dtype, size_t elements)
{
    uint64_t bytes = 0;
    bool whole = qd_dtype_bytes(dtype, elements, &bytes);
    assert(whole);
    return (size_t)bytes;
}
