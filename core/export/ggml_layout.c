/* ggml_layout.c: see ggml_layout.h. */
#include "export/ggml_layout.h"

#include <math.h>
#include <string.h>

#include "linalg/half.h"

/* ---- where weight i of a block has its bits ---- */
/* Two halves of 16 weights, low nibbles and high ones. */
static size_t at_halves(size_t i)
{
    return 8 * (i % 16) + 4 * (i / 16);
}

static size_t at_bit(size_t i)
{
    return i;
}

static size_t at_pair(size_t i)
{
    return 2 * i;
}

static size_t at_byte(size_t i)
{
    return 8 * i;
}

/* Sixteens, each in two halves of 8. */
static size_t at_sixteens(size_t i)
{
    return 8 * (8 * (i / 16) + i % 8) + 4 * (i % 16 / 8);
}

/* Halves of 128 weights in planes of 32: two bits of four planes a byte. */
static size_t at_planes(size_t i)
{
    return 8 * (32 * (i / 128) + i % 32) + 2 * (i % 128 / 32);
}

/* Eight planes of 32, a bit each. */
static size_t at_masks(size_t i)
{
    return 8 * (i % 32) + i / 32;
}

/* Chunks of 64: low nibbles are the first 32 of them. */
static size_t at_chunks(size_t i)
{
    return 8 * (32 * (i / 64) + i % 32) + 4 * (i % 64 / 32);
}

/* Halves of 128 weights: planes 0 and 1 in low nibbles, 2 and 3 in high ones. */
static size_t at_nibble_planes(size_t i)
{
    size_t plane = i % 128 / 32;
    return 8 * (64 * (i / 128) + i % 32 + 32 * (plane % 2)) + 4 * (plane / 2);
}

/* ---- trits: five a byte (formats.md §6.5) ---- */
typedef struct trits {
    size_t base, bytes, first, stride, count; /* byte `base` + m holds weights first + m + stride * n, n < count */
} trits;
static const trits tq1_parts[] = { { 0, 32, 0, 32, 5 }, { 32, 16, 160, 16, 5 }, { 48, 4, 240, 4, 4 } };
enum { TRITS = 5, TRITS_POWER = 243 };

static void put_trits(const uint8_t *code, unsigned char *bytes)
{
    for (const trits *part = tq1_parts; part < tq1_parts + QD_LENGTH(tq1_parts); part++)
        for (size_t m = 0; m < part->bytes; m++) {
            unsigned number = 0;
            for (size_t n = 0; n < TRITS; n++)
                number = 3 * number + (n < part->count ? code[part->first + m + part->stride * n] : 0U);
            bytes[part->base + m] = (unsigned char)((256 * number + TRITS_POWER - 1) / TRITS_POWER);
        }
}

static void get_trits(const unsigned char *bytes, uint8_t *code)
{
    for (const trits *part = tq1_parts; part < tq1_parts + QD_LENGTH(tq1_parts); part++)
        for (size_t m = 0; m < part->bytes; m++) {
            unsigned rest = bytes[part->base + m];
            for (size_t n = 0; n < part->count; n++, rest = 3 * rest % 256)
                code[part->first + m + part->stride * n] = (uint8_t)(3 * rest >> 8);
        }
}

/* ---- scales ---- */
static float get_half(const unsigned char *bytes)
{
    float value;
    qd_f16_to_floats(bytes, 1, &value);
    return value;
}

static qd_code put_half(float value, const char *what, unsigned char *bytes, qd_error *err)
{
    uint16_t half = qd_float_to_f16(value);
    bytes[0] = (unsigned char)(half & 0xff);
    bytes[1] = (unsigned char)(half >> 8);
    if (qd_f16_to_float(half) != value)
        return qd_fail(err, QD_EUNSUPPORTED, "%s %.9g is no value of f16", what, (double)value);
    return QD_OK;
}

static qd_code put_scale(const qd_ggml_layout *l, const qd_ggml_block *block, unsigned char *bytes, qd_error *err)
{
    return put_half(block->scale[0], "scale", bytes + l->scale_at, err);
}

static void get_scale(const qd_ggml_layout *l, const unsigned char *bytes, qd_ggml_block *block)
{
    block->scale[0] = get_half(bytes + l->scale_at);
}

/* What is stored is the value of code 0. */
static qd_code put_offset(const qd_ggml_layout *l, const qd_ggml_block *block, unsigned char *bytes, qd_error *err)
{
    qd_code code = put_scale(l, block, bytes, err);
    return code == QD_OK ? put_half(-block->offset[0], "offset", bytes + l->scale_at + 2, err) : code;
}

static void get_offset(const qd_ggml_layout *l, const unsigned char *bytes, qd_ggml_block *block)
{
    get_scale(l, bytes, block);
    block->offset[0] = -get_half(bytes + l->scale_at + 2);
}

enum { E8M0_BIAS = 127, E8M0_MAX = 254, E4M3_MAX = 0x7e };

static qd_code put_power(const qd_ggml_layout *l, const qd_ggml_block *block, unsigned char *bytes, qd_error *err)
{
    int exponent;
    float part = frexpf(block->scale[0], &exponent);
    if (part != 0.5f || exponent - 1 + E8M0_BIAS < 0 || exponent - 1 + E8M0_BIAS > E8M0_MAX)
        return qd_fail(err, QD_EUNSUPPORTED, "scale %.9g is no power of two from 2^-127 to 2^127",
                       (double)block->scale[0]);
    bytes[l->scale_at] = (unsigned char)(exponent - 1 + E8M0_BIAS);
    return QD_OK;
}

static void get_power(const qd_ggml_layout *l, const unsigned char *bytes, qd_ggml_block *block)
{
    block->scale[0] = ldexpf(1.0f, bytes[l->scale_at] - E8M0_BIAS);
}

/* Subnormals below 2^-6. The sign is not looked at; 0x7f, elsewhere NaN, is 0 here, and 0xff, which nobody writes, is none we use. */
static float e4m3_value(unsigned char byte)
{
    int exponent = byte >> 3 & 15, mantissa = byte & 7;
    if ((byte & 0x7f) > E4M3_MAX)
        return byte == 0x7f ? 0.0f : NAN;
    return exponent == 0 ? ldexpf((float)mantissa, -9) : ldexpf((float)(8 + mantissa), exponent - 10);
}

/* The unit is a tensor of its own: blocks hold scale / unit. */
static qd_code put_small(const qd_ggml_layout *l, const qd_ggml_block *block, unsigned char *bytes, qd_error *err)
{
    for (size_t j = 0; j < l->block / l->span; j++) {
        float wanted = block->scale[j] / block->unit;
        unsigned char low = 0, high = E4M3_MAX; /* values ascend with the byte */
        while (low < high) {
            unsigned char middle = (unsigned char)((low + high) / 2);
            if (e4m3_value(middle) < wanted)
                low = (unsigned char)(middle + 1);
            else
                high = middle;
        }
        if (e4m3_value(low) != wanted || wanted * block->unit != block->scale[j])
            return qd_fail(err, QD_EUNSUPPORTED, "scale %.9g is not %.9g times a value of E4M3",
                           (double)block->scale[j], (double)block->unit);
        bytes[l->scale_at + j] = low;
    }
    return QD_OK;
}

static void get_small(const qd_ggml_layout *l, const unsigned char *bytes, qd_ggml_block *block)
{
    for (size_t j = 0; j < l->block / l->span; j++)
        block->scale[j] = e4m3_value(bytes[l->scale_at + j]) * block->unit;
}

/* value = unit * k, k in low..high. */
static qd_code multiple(float value, float unit, int low, int high, const char *what, int *out, qd_error *err)
{
    float k = unit == 0.0f ? 0.0f : rintf(value / unit);
    if (!(k >= (float)low && k <= (float)high) || k * unit != value)
        return qd_fail(err, QD_EUNSUPPORTED, "%s %.9g is not %.9g times a whole number from %d to %d", what,
                       (double)value, (double)unit, low, high);
    *out = (int)k;
    return QD_OK;
}

static qd_code multiples(const float *values, size_t count, float unit, int low, int high, const char *what, int *out,
                         qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t j = 0; code == QD_OK && j < count; j++)
        code = multiple(values[j], unit, low, high, what, &out[j], err);
    return code;
}

/* Scales and offsets, 0 to `high` of their unit each, and both units at `units`. */
static qd_code both(const qd_ggml_layout *l, const qd_ggml_block *block, int high, unsigned char *units, int *scale,
                    int *offset, qd_error *err)
{
    size_t count = l->block / l->span;
    qd_code code = multiples(block->scale, count, block->unit, 0, high, "scale", scale, err);
    if (code == QD_OK)
        code = multiples(block->offset, count, block->offset_unit, 0, high, "offset", offset, err);
    if (code == QD_OK)
        code = put_half(block->unit, "scale unit", units, err);
    return code == QD_OK ? put_half(block->offset_unit, "offset unit", units + 2, err) : code;
}

static void get_units(const unsigned char *units, qd_ggml_block *block)
{
    block->unit = get_half(units);
    block->offset_unit = get_half(units + 2);
}

enum { Q2_UNITS = 80, Q3_UNIT = 108, Q6_UNIT = 208 };

/* Multiples from -n to n - 1: a scale of n units is one of -n of the negative unit. */
static float signed_unit(const qd_ggml_layout *l, const qd_ggml_block *block, int high)
{
    float largest = 0.0f;
    for (size_t j = 0; j < l->block / l->span; j++)
        largest = fmaxf(largest, block->scale[j]);
    return largest > (float)high * block->unit ? -block->unit : block->unit;
}

static qd_code put_nibble_scales(const qd_ggml_layout *l, const qd_ggml_block *block, unsigned char *bytes,
                                 qd_error *err)
{
    int scale[QD_GGML_SPANS_MAX], offset[QD_GGML_SPANS_MAX];
    qd_code code = both(l, block, 15, bytes + Q2_UNITS, scale, offset, err);
    for (size_t j = 0; code == QD_OK && j < l->block / l->span; j++)
        bytes[l->scale_at + j] = (unsigned char)(scale[j] | offset[j] << 4);
    return code;
}

static void get_nibble_scales(const qd_ggml_layout *l, const unsigned char *bytes, qd_ggml_block *block)
{
    get_units(bytes + Q2_UNITS, block);
    for (size_t j = 0; j < l->block / l->span; j++) {
        block->scale[j] = block->unit * (float)(bytes[l->scale_at + j] & 15);
        block->offset[j] = block->offset_unit * (float)(bytes[l->scale_at + j] >> 4);
    }
}

/* Sixteen scales of 6 bits around 32: low nibbles in eight bytes, high pairs in four. */
static qd_code put_centred_scales(const qd_ggml_layout *l, const qd_ggml_block *block, unsigned char *bytes,
                                  qd_error *err)
{
    int scale[QD_GGML_SPANS_MAX];
    unsigned char *to = bytes + l->scale_at;
    float unit = signed_unit(l, block, 31);
    qd_code code = multiples(block->scale, l->block / l->span, unit, -32, 31, "scale", scale, err);
    for (size_t j = 0; code == QD_OK && j < l->block / l->span; j++) {
        unsigned stored = (unsigned)(scale[j] + 32);
        to[j % 8] = (unsigned char)(to[j % 8] | (stored & 15) << 4 * (j / 8));
        to[8 + j % 4] = (unsigned char)(to[8 + j % 4] | (stored >> 4) << 2 * (j / 4));
    }
    return code == QD_OK ? put_half(unit, "scale unit", bytes + Q3_UNIT, err) : code;
}

static void get_centred_scales(const qd_ggml_layout *l, const unsigned char *bytes, qd_ggml_block *block)
{
    const unsigned char *from = bytes + l->scale_at;
    block->unit = get_half(bytes + Q3_UNIT);
    for (size_t j = 0; j < l->block / l->span; j++) {
        int stored = (from[j % 8] >> 4 * (j / 8) & 15) | (from[8 + j % 4] >> 2 * (j / 4) & 3) << 4;
        block->scale[j] = block->unit * (float)(stored - 32);
    }
}

/* Eight pairs of 6 bits in twelve bytes; the units come before them. */
static qd_code put_paired_scales(const qd_ggml_layout *l, const qd_ggml_block *block, unsigned char *bytes,
                                 qd_error *err)
{
    int scale[QD_GGML_SPANS_MAX], offset[QD_GGML_SPANS_MAX];
    unsigned char *to = bytes + l->scale_at;
    qd_code code = both(l, block, 63, bytes, scale, offset, err);
    for (size_t j = 0; code == QD_OK && j < 4; j++) {
        to[j] = (unsigned char)(scale[j] | scale[j + 4] >> 4 << 6);
        to[j + 4] = (unsigned char)(offset[j] | offset[j + 4] >> 4 << 6);
        to[j + 8] = (unsigned char)((scale[j + 4] & 15) | (offset[j + 4] & 15) << 4);
    }
    return code;
}

static void get_paired_scales(const qd_ggml_layout *l, const unsigned char *bytes, qd_ggml_block *block)
{
    const unsigned char *from = bytes + l->scale_at;
    get_units(bytes, block);
    for (size_t j = 0; j < 4; j++) {
        block->scale[j] = block->unit * (float)(from[j] & 63);
        block->scale[j + 4] = block->unit * (float)((from[j + 8] & 15) | from[j] >> 6 << 4);
        block->offset[j] = block->offset_unit * (float)(from[j + 4] & 63);
        block->offset[j + 4] = block->offset_unit * (float)(from[j + 8] >> 4 | from[j + 4] >> 6 << 4);
    }
}

static qd_code put_signed_scales(const qd_ggml_layout *l, const qd_ggml_block *block, unsigned char *bytes,
                                 qd_error *err)
{
    int scale[QD_GGML_SPANS_MAX];
    float unit = signed_unit(l, block, 127);
    qd_code code = multiples(block->scale, l->block / l->span, unit, -128, 127, "scale", scale, err);
    for (size_t j = 0; code == QD_OK && j < l->block / l->span; j++)
        bytes[l->scale_at + j] = (unsigned char)(scale[j] & 0xff);
    return code == QD_OK ? put_half(unit, "scale unit", bytes + Q6_UNIT, err) : code;
}

static void get_signed_scales(const qd_ggml_layout *l, const unsigned char *bytes, qd_ggml_block *block)
{
    block->unit = get_half(bytes + Q6_UNIT);
    for (size_t j = 0; j < l->block / l->span; j++)
        block->scale[j] = block->unit * (float)((bytes[l->scale_at + j] ^ 0x80) - 0x80);
}

/* ---- layouts ---- */
const qd_ggml_layout qd_ggml_layout_q4_0 = { .block = 32,
                                             .bytes = 18,
                                             .span = 32,
                                             .fields = { { 4, 0, 2, at_halves } },
                                             .put_scales = put_scale,
                                             .get_scales = get_scale };
const qd_ggml_layout qd_ggml_layout_q4_1 = { .block = 32,
                                             .bytes = 20,
                                             .span = 32,
                                             .fields = { { 4, 0, 4, at_halves } },
                                             .put_scales = put_offset,
                                             .get_scales = get_offset };
const qd_ggml_layout qd_ggml_layout_q5_0 = { .block = 32,
                                             .bytes = 22,
                                             .span = 32,
                                             .fields = { { 4, 0, 6, at_halves }, { 1, 4, 2, at_bit } },
                                             .put_scales = put_scale,
                                             .get_scales = get_scale };
const qd_ggml_layout qd_ggml_layout_q5_1 = { .block = 32,
                                             .bytes = 24,
                                             .span = 32,
                                             .fields = { { 4, 0, 8, at_halves }, { 1, 4, 4, at_bit } },
                                             .put_scales = put_offset,
                                             .get_scales = get_offset };
const qd_ggml_layout qd_ggml_layout_q8_0 = { .block = 32,
                                             .bytes = 34,
                                             .span = 32,
                                             .fields = { { 8, 0, 2, at_byte } },
                                             .flip = 0x80,
                                             .put_scales = put_scale,
                                             .get_scales = get_scale };
const qd_ggml_layout qd_ggml_layout_mxfp4 = { .block = 32,
                                              .bytes = 17,
                                              .span = 32,
                                              .fields = { { 4, 0, 1, at_halves } },
                                              .put_scales = put_power,
                                              .get_scales = get_power };
const qd_ggml_layout qd_ggml_layout_nvfp4 = { .block = 64,
                                              .bytes = 36,
                                              .span = 16,
                                              .fields = { { 4, 0, 4, at_sixteens } },
                                              .put_scales = put_small,
                                              .get_scales = get_small };
const qd_ggml_layout qd_ggml_layout_q1_0 = { .block = 128,
                                             .bytes = 18,
                                             .span = 128,
                                             .fields = { { 1, 0, 2, at_bit } },
                                             .put_scales = put_scale,
                                             .get_scales = get_scale };
const qd_ggml_layout qd_ggml_layout_q2_0 = { .block = 64,
                                             .bytes = 18,
                                             .span = 64,
                                             .fields = { { 2, 0, 2, at_pair } },
                                             .put_scales = put_scale,
                                             .get_scales = get_scale };
const qd_ggml_layout qd_ggml_layout_q2_k = { .block = 256,
                                             .bytes = 84,
                                             .span = 16,
                                             .fields = { { 2, 0, 16, at_planes } },
                                             .put_scales = put_nibble_scales,
                                             .get_scales = get_nibble_scales };
const qd_ggml_layout qd_ggml_layout_q3_k = { .block = 256,
                                             .bytes = 110,
                                             .span = 16,
                                             .fields = { { 2, 0, 32, at_planes }, { 1, 2, 0, at_masks } },
                                             .scale_at = 96,
                                             .put_scales = put_centred_scales,
                                             .get_scales = get_centred_scales };
const qd_ggml_layout qd_ggml_layout_q4_k = { .block = 256,
                                             .bytes = 144,
                                             .span = 32,
                                             .fields = { { 4, 0, 16, at_chunks } },
                                             .scale_at = 4,
                                             .put_scales = put_paired_scales,
                                             .get_scales = get_paired_scales };
const qd_ggml_layout qd_ggml_layout_q5_k = { .block = 256,
                                             .bytes = 176,
                                             .span = 32,
                                             .fields = { { 4, 0, 48, at_chunks }, { 1, 4, 16, at_masks } },
                                             .scale_at = 4,
                                             .put_scales = put_paired_scales,
                                             .get_scales = get_paired_scales };
const qd_ggml_layout qd_ggml_layout_q6_k = { .block = 256,
                                             .bytes = 210,
                                             .span = 16,
                                             .fields = { { 4, 0, 0, at_nibble_planes }, { 2, 4, 128, at_planes } },
                                             .scale_at = 192,
                                             .put_scales = put_signed_scales,
                                             .get_scales = get_signed_scales };
const qd_ggml_layout qd_ggml_layout_tq1_0 = { .block = 256,
                                              .bytes = 54,
                                              .span = 256,
                                              .put_codes = put_trits,
                                              .get_codes = get_trits,
                                              .scale_at = 52,
                                              .put_scales = put_scale,
                                              .get_scales = get_scale };
const qd_ggml_layout qd_ggml_layout_tq2_0 = { .block = 256,
                                              .bytes = 66,
                                              .span = 256,
                                              .fields = { { 2, 0, 0, at_planes } },
                                              .scale_at = 64,
                                              .put_scales = put_scale,
                                              .get_scales = get_scale };

static void put_field(const qd_ggml_layout *l, const qd_ggml_field *f, const uint8_t *code, unsigned char *bytes)
{
    unsigned mask = (1U << f->bits) - 1;
    for (size_t i = 0; i < l->block; i++) {
        size_t at = f->at(i);
        unsigned part = (unsigned)((code[i] ^ l->flip) >> f->from) & mask;
        bytes[f->base + at / 8] = (unsigned char)(bytes[f->base + at / 8] | part << at % 8);
    }
}

qd_code qd_ggml_pack(const qd_ggml_layout *layout, const qd_ggml_block *block, unsigned char *bytes, qd_error *err)
{
    memset(bytes, 0, layout->bytes);
    if (layout->put_codes != NULL)
        layout->put_codes(block->code, bytes);
    for (size_t f = 0; f < QD_LENGTH(layout->fields) && layout->fields[f].bits > 0; f++)
        put_field(layout, &layout->fields[f], block->code, bytes);
    return layout->put_scales(layout, block, bytes, err);
}

void qd_ggml_unpack(const qd_ggml_layout *layout, const unsigned char *bytes, qd_ggml_block *block)
{
    memset(block->code, 0, layout->block);
    if (layout->get_codes != NULL)
        layout->get_codes(bytes, block->code);
    for (size_t f = 0; f < QD_LENGTH(layout->fields) && layout->fields[f].bits > 0; f++) {
        const qd_ggml_field *field = &layout->fields[f];
        for (size_t i = 0; i < layout->block; i++) {
            size_t at = field->at(i);
            unsigned part = (unsigned)bytes[field->base + at / 8] >> at % 8 & ((1U << field->bits) - 1);
            block->code[i] = (uint8_t)(block->code[i] | part << field->from);
        }
    }
    for (size_t i = 0; i < layout->block; i++)
        block->code[i] ^= layout->flip;
    layout->get_scales(layout, bytes, block);
}
