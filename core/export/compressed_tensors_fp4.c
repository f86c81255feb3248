/* compressed_tensors_fp4.c: the two variants whose codes are E2M1 numbers, MXFP4 and NVFP4: see compressed_tensors.h.
 * Source: formats.md §4.1, §4.2. A code is sign << 3 | index of the magnitude; -0 is 0. */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "export/compressed_tensors.h"

enum { MAGNITUDES = 8, EXPONENT_BIAS = 127, EXPONENT_NAN = 255, E4M3_NAN = 0x7F };

/* Levels ascend from -6 to 6 with 0 in the middle: index 7. */
static uint8_t code_of_level(uint8_t level)
{
    return level < MAGNITUDES - 1 ? (uint8_t)(8 | (MAGNITUDES - 1 - level)) : (uint8_t)(level - (MAGNITUDES - 1));
}

static uint8_t level_of_code(uint8_t code)
{
    uint8_t magnitude = code & 7;
    return code & 8 ? (uint8_t)(MAGNITUDES - 1 - magnitude) : (uint8_t)(MAGNITUDES - 1 + magnitude);
}

/* Sign, four bits of exponent with bias 7, three of mantissa; no infinities. */
static float e4m3_value(uint8_t byte)
{
    int exponent = byte >> 3 & 15, mantissa = byte & 7;
    float size = exponent == 0 ? ldexpf((float)mantissa, -9) : ldexpf((float)(8 + mantissa), exponent - 10);
    return byte & 0x80 ? -size : size;
}

/* The byte of a positive value; -1 where there is none. */
static int e4m3_byte(float value)
{
    int low = 0, high = E4M3_NAN - 1; /* values ascend with bytes */
    while (low < high) {
        int middle = (low + high) / 2;
        if (e4m3_value((uint8_t)middle) < value)
            low = middle + 1;
        else
            high = middle;
    }
    return e4m3_value((uint8_t)low) == value ? low : -1;
}

/* ---- writing ---- */

static qd_code write_codes(const qd_packed_layer *layer, qd_error *err)
{
    size_t out = layer->linear->out, in = layer->linear->in;
    uint8_t *packed = NULL;
    qd_code code = qd_alloc(out, in / 2, (void **)&packed, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; i < out * (in / 2); i++) {
        const uint8_t *pair = layer->rounded->codes + 2 * i;
        packed[i] = (uint8_t)(code_of_level(pair[0]) | code_of_level(pair[1]) << 4);
    }
    return qd_packed_take(layer, "weight_packed", "U8", out, in / 2, packed, err);
}

/* 2^(e - 127). */
static int exponent_byte(float scale)
{
    int exponent;
    return frexpf(scale, &exponent) == 0.5f ? exponent - 1 + EXPONENT_BIAS : -1;
}

static qd_code fill_scales(const qd_packed_layer *layer, qd_packing packing, float unit, uint8_t *out, qd_error *err)
{
    const qd_grid *grid = layer->rounded->grid;
    for (size_t i = 0; i < layer->linear->out * grid->groups; i++) {
        float scale = grid->scale.view.data[i];
        int byte = packing == QD_PACK_MXFP4 ? exponent_byte(scale) : e4m3_byte(scale / unit);
        if (byte < 0 || byte >= EXPONENT_NAN)
            return qd_fail(err, QD_EINTERNAL, "scale %.9g is no %s", (double)scale,
                           packing == QD_PACK_MXFP4 ? "power of two in one byte"
                                                    : "E4M3 number times the layer's unit");
        out[i] = (uint8_t)byte;
    }
    return QD_OK;
}

/* Loaders divide by it: 1 / unit, exact, since the unit is a power of two. */
static qd_code write_global_scale(const qd_packed_layer *layer, float unit, qd_error *err)
{
    float *data = NULL;
    qd_code code = qd_alloc(1, sizeof *data, (void **)&data, err);
    if (code != QD_OK)
        return code;
    *data = 1.0f / unit;
    return qd_packed_take(layer, "weight_global_scale", "F32", 1, 0, data, err);
}

qd_code qd_packed_write_fp4(const qd_packed_layer *layer, qd_packing packing, qd_error *err)
{
    const qd_grid *grid = layer->rounded->grid;
    float unit = grid->unit.view.rows > 0 ? grid->unit.view.data[0] : 1.0f;
    uint8_t *scales = NULL;
    if (grid->levels.count != 2 * MAGNITUDES - 1 || layer->linear->in % grid->group_size != 0 ||
        grid->group_size != (packing == QD_PACK_MXFP4 ? 32 : 16))
        return qd_fail(err, QD_EINTERNAL, "%zu levels in groups of %zu were decided", grid->levels.count,
                       grid->group_size);
    qd_code code = qd_alloc(layer->linear->out, grid->groups, (void **)&scales, err);
    if (code != QD_OK)
        return code;
    code = fill_scales(layer, packing, unit, scales, err);
    if (code == QD_OK)
        code = write_codes(layer, err);
    if (code != QD_OK) {
        free(scales);
        return code;
    }
    code = qd_packed_take(layer, "weight_scale", packing == QD_PACK_MXFP4 ? "U8" : "F8_E4M3", layer->linear->out,
                          grid->groups, scales, err);
    return code == QD_OK && packing == QD_PACK_NVFP4 ? write_global_scale(layer, unit, err) : code;
}

/* ---- reading ---- */

static qd_code read_exponents(const qd_model *packed, const qd_linear *linear, qd_stored *s, qd_error *err)
{
    const qd_tensor *t = NULL;
    qd_code code = qd_part_need(packed, linear, "weight_scale", "U8", linear->out, s->grid.groups, &t, err);
    for (size_t i = 0; code == QD_OK && i < t->elements; i++) {
        if (t->data[i] == EXPONENT_NAN)
            return qd_fail(err, QD_ENUMERIC, "tensor '%s': element %zu is NaN", t->name, i);
        s->grid.scale.view.data[i] = ldexpf(1.0f, t->data[i] - EXPONENT_BIAS);
    }
    return code;
}

/* A power of two leaves a grid of ours: then it is the layer's unit. */
static qd_code set_unit(qd_stored *s, size_t out, float global, qd_error *err)
{
    int exponent;
    if (frexpf(global, &exponent) != 0.5f)
        return QD_OK;
    qd_code code = qd_matf_buf_init(&s->grid.unit, out, 1, err);
    for (size_t o = 0; code == QD_OK && o < out; o++)
        s->grid.unit.view.data[o] = 1.0f / global;
    return code;
}

static qd_code read_small_floats(const qd_model *packed, const qd_linear *linear, qd_stored *s, qd_error *err)
{
    const qd_tensor *t = NULL, *whole = NULL;
    float global = 0;
    qd_code code = qd_part_need(packed, linear, "weight_scale", "F8_E4M3", linear->out, s->grid.groups, &t, err);
    if (code == QD_OK)
        code = qd_part_need(packed, linear, "weight_global_scale", "F32", 1, 0, &whole, err);
    if (code == QD_OK)
        code = qd_part_floats(whole, &global, err);
    if (code == QD_OK && !(global > 0.0f))
        code = qd_fail(err, QD_EFORMAT, "tensor '%s': %g is not above 0", whole->name, (double)global);
    for (size_t i = 0; code == QD_OK && i < t->elements; i++) {
        float scale = e4m3_value(t->data[i]) / global;
        if ((t->data[i] & E4M3_NAN) == E4M3_NAN || !isfinite(scale))
            return qd_fail(err, QD_ENUMERIC, "tensor '%s': element %zu is not finite", t->name, i);
        s->grid.scale.view.data[i] = scale;
    }
    return code == QD_OK ? set_unit(s, linear->out, global, err) : code;
}

qd_code qd_packed_read_fp4(const qd_model *packed, const qd_linear *linear, const qd_packed_scheme *scheme,
                           qd_stored *out, qd_error *err)
{
    const qd_grid_spec spec = qd_stored_spec("e2m1", 4, scheme->group_size, "F32");
    const qd_tensor *t = NULL;
    size_t in = linear->in;
    if (in % 2 != 0)
        return qd_fail(err, QD_EFORMAT, "'%s': %zu input features are not whole bytes", linear->name, in);
    qd_code code = qd_stored_init(out, &spec, linear, err);
    if (code == QD_OK)
        code = qd_part_need(packed, linear, "weight_packed", "U8", linear->out, in / 2, &t, err);
    for (size_t i = 0; code == QD_OK && i < t->elements; i++) {
        out->codes[2 * i] = level_of_code(t->data[i] & 15);
        out->codes[2 * i + 1] = level_of_code(t->data[i] >> 4);
    }
    if (code != QD_OK)
        return code;
    return scheme->packing == QD_PACK_MXFP4 ? read_exponents(packed, linear, out, err)
                                            : read_small_floats(packed, linear, out, err);
}
