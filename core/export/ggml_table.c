/* ggml_table.c: the ggml types that we write, and which grids each of them holds (formats.md §6.6). */
#include <stdio.h>
#include <string.h>

#include "export/ggml_encode.h"

/* Magnitudes 0, 0.5, 1, 1.5, 2, 3, 4, 6 in order, with 8 for the sign: what E2M1's levels, ascending, are stored as. */
static const uint8_t e2m1_stored[] = { 15, 14, 13, 12, 11, 10, 9, 0, 1, 2, 3, 4, 5, 6, 7 };

static const char *const halves[] = { "f16", "half", "f16-signed", NULL };
static const char *const halves_with_offset[] = { "f16", "half", "f16-offset", NULL };
static const char *const plain_halves[] = { "f16", "half", NULL };
static const char *const powers[] = { "e8m0", NULL };
static const char *const none[] = { NULL };

#define ASYMMETRIC "int-asymmetric", QD_ZERO_INTEGER
#define WITH_OFFSET "int-asymmetric", QD_ZERO_FLOAT
#define OFFSET_JSON "{\"kind\": \"int-asymmetric\", \"zero\": \"float\"}"
/* The grid and the same as fields of a job. */
#define GRID(alphabet_and_zero, alphabet_json, bits, group, scale) \
    .grid = { alphabet_and_zero, bits, group, scale }, .implied = (const qd_format_field[]) \
    { \
        { "alphabet", alphabet_json }, { "bits", #bits }, { "group_size", #group }, { "scale/type", "\"" scale "\"" }, \
        { \
            NULL, NULL \
        } \
    }
#define AROUND_ZERO(bits, group, scale) GRID(ASYMMETRIC, "\"int-asymmetric\"", bits, group, scale)
#define FROM_OFFSET(bits, group, scale) GRID(WITH_OFFSET, OFFSET_JSON, bits, group, scale)
#define NAMED(alphabet, bits, group, scale) GRID(alphabet COMMA QD_ZERO_NONE, "\"" alphabet "\"", bits, group, scale)
#define COMMA ,

static const qd_ggml_encoder table[] = {
    { .variant = "q4_0",
      .type = "Q4_0",
      .layout = &qd_ggml_layout_q4_0,
      .kind = QD_GGML_CENTRED,
      .low = -8,
      .high = 7,
      .holds = "integers -8 to 7 times an f16 scale of either sign, in groups of 32",
      .scale_types = halves,
      AROUND_ZERO(4, 32, "f16-signed") },
    { .variant = "q4_1",
      .type = "Q4_1",
      .layout = &qd_ggml_layout_q4_1,
      .kind = QD_GGML_OFFSET,
      .high = 15,
      .holds = "integers 0 to 15 times an f16 scale, less an f16 offset, in groups of 32",
      .scale_types = halves_with_offset,
      FROM_OFFSET(4, 32, "f16-offset") },
    { .variant = "q5_0",
      .type = "Q5_0",
      .layout = &qd_ggml_layout_q5_0,
      .kind = QD_GGML_CENTRED,
      .low = -16,
      .high = 15,
      .holds = "integers -16 to 15 times an f16 scale of either sign, in groups of 32",
      .scale_types = halves,
      AROUND_ZERO(5, 32, "f16-signed") },
    { .variant = "q5_1",
      .type = "Q5_1",
      .layout = &qd_ggml_layout_q5_1,
      .kind = QD_GGML_OFFSET,
      .high = 31,
      .holds = "integers 0 to 31 times an f16 scale, less an f16 offset, in groups of 32",
      .scale_types = halves_with_offset,
      FROM_OFFSET(5, 32, "f16-offset") },
    { .variant = "q8_0",
      .type = "Q8_0",
      .layout = &qd_ggml_layout_q8_0,
      .kind = QD_GGML_CENTRED,
      .low = -128,
      .high = 127,
      .holds = "integers -128 to 127 times an f16 scale, in groups of 32",
      .scale_types = halves,
      NAMED("int", 8, 32, "f16") },
    { .variant = "iq4_nl",
      .type = "IQ4_NL",
      .layout = &qd_ggml_layout_q4_0,
      .kind = QD_GGML_LEVELS,
      .high = 15,
      .holds = "the levels of alphabet 'iq4_nl' times an f16 scale, in groups of 32",
      .scale_types = plain_halves,
      NAMED("iq4_nl", 4, 32, "f16") },
    { .variant = "mxfp4",
      .type = "MXFP4",
      .layout = &qd_ggml_layout_mxfp4,
      .kind = QD_GGML_LEVELS,
      .high = 15,
      .stored = e2m1_stored,
      .holds = "the levels of e2m1 times a power of two, in groups of 32",
      .scale_types = powers,
      NAMED("mxfp4", 4, 32, "e8m0") },
    { .variant = "nvfp4",
      .type = "NVFP4",
      .layout = &qd_ggml_layout_nvfp4,
      .kind = QD_GGML_LEVELS,
      .high = 15,
      .stored = e2m1_stored,
      .holds = "the levels of e2m1 times an E4M3 scale and one power of two, in groups of 16",
      .scale_types = none,
      .own_scale_type = "e4m3",
      .fallback = "mxfp4",
      NAMED("nvfp4", 4, 16, "e4m3") },
    { .variant = "q1_0",
      .type = "Q1_0",
      .layout = &qd_ggml_layout_q1_0,
      .kind = QD_GGML_LEVELS,
      .high = 1,
      .holds = "-1 and 1 times an f16 scale, in groups of 128",
      .scale_types = plain_halves,
      .fallback = "q4_0",
      NAMED("binary", 1, 128, "f16") },
    { .variant = "q2_0",
      .type = "Q2_0",
      .layout = &qd_ggml_layout_q2_0,
      .kind = QD_GGML_CENTRED,
      .low = -1,
      .high = 2,
      .holds = "integers -1 to 2 times an f16 scale of either sign, in groups of 64",
      .scale_types = halves,
      .fallback = "q4_0",
      AROUND_ZERO(2, 64, "f16-signed") },
    { .variant = "q2_k",
      .type = "Q2_K",
      .layout = &qd_ggml_layout_q2_k,
      .kind = QD_GGML_OFFSET,
      .high = 3,
      .units = true,
      .holds =
          "integers 0 to 3 times a scale, less an offset, both multiples of f16 units for 256 weights, in groups of 16",
      .scale_types = plain_halves,
      .own_scale_type = "q2_k",
      .fallback = "q4_0",
      FROM_OFFSET(2, 16, "q2_k") },
    { .variant = "q3_k",
      .type = "Q3_K",
      .layout = &qd_ggml_layout_q3_k,
      .kind = QD_GGML_CENTRED,
      .low = -4,
      .high = 3,
      .units = true,
      .holds = "integers -4 to 3 times a multiple of an f16 unit for 256 weights, in groups of 16",
      .scale_types = halves,
      .own_scale_type = "q3_k",
      .fallback = "q4_0",
      AROUND_ZERO(3, 16, "q3_k") },
    { .variant = "q4_k",
      .type = "Q4_K",
      .layout = &qd_ggml_layout_q4_k,
      .kind = QD_GGML_OFFSET,
      .high = 15,
      .units = true,
      .holds = "integers 0 to 15 times a scale, less an offset, both multiples of f16 units for 256 weights, in groups "
               "of 32",
      .scale_types = plain_halves,
      .own_scale_type = "q4_k",
      .fallback = "q5_0",
      FROM_OFFSET(4, 32, "q4_k") },
    { .variant = "q5_k",
      .type = "Q5_K",
      .layout = &qd_ggml_layout_q5_k,
      .kind = QD_GGML_OFFSET,
      .high = 31,
      .units = true,
      .holds = "integers 0 to 31 times a scale, less an offset, both multiples of f16 units for 256 weights, in groups "
               "of 32",
      .scale_types = plain_halves,
      .own_scale_type = "q4_k",
      .fallback = "q5_1",
      FROM_OFFSET(5, 32, "q4_k") },
    { .variant = "q6_k",
      .type = "Q6_K",
      .layout = &qd_ggml_layout_q6_k,
      .kind = QD_GGML_CENTRED,
      .low = -32,
      .high = 31,
      .units = true,
      .holds = "integers -32 to 31 times a multiple of an f16 unit for 256 weights, in groups of 16",
      .scale_types = halves,
      .own_scale_type = "q6_k",
      .fallback = "q8_0",
      AROUND_ZERO(6, 16, "q6_k") },
    { .variant = "tq1_0",
      .type = "TQ1_0",
      .layout = &qd_ggml_layout_tq1_0,
      .kind = QD_GGML_CENTRED,
      .low = -1,
      .high = 1,
      .holds = "-1, 0 and 1 times an f16 scale, in groups of 256",
      .scale_types = halves,
      .fallback = "q4_0",
      NAMED("ternary", 1.58, 256, "f16") },
    { .variant = "tq2_0",
      .type = "TQ2_0",
      .layout = &qd_ggml_layout_tq2_0,
      .kind = QD_GGML_CENTRED,
      .low = -1,
      .high = 1,
      .holds = "-1, 0 and 1 times an f16 scale, in groups of 256",
      .scale_types = halves,
      .fallback = "q4_0",
      NAMED("ternary", 1.58, 256, "f16") },
};

const qd_ggml_encoder *qd_ggml_encoder_at(size_t variant)
{
    return variant < QD_LENGTH(table) ? &table[variant] : NULL;
}

const qd_ggml_encoder *qd_ggml_encoder_of(const char *type)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (strcmp(table[i].type, type) == 0)
            return &table[i];
    return NULL;
}

const qd_ggml_encoder *qd_ggml_encoder_for(const qd_ggml_encoder *encoder, size_t cols)
{
    if (cols % encoder->layout->block == 0)
        return encoder;
    for (size_t i = 0; encoder->fallback != NULL && i < QD_LENGTH(table); i++)
        if (strcmp(table[i].variant, encoder->fallback) == 0)
            return cols % table[i].layout->block == 0 ? &table[i] : NULL;
    return NULL;
}

/* ---- which grids ---- */
static bool fits_codes(const qd_ggml_encoder *e, const qd_grid_spec *spec)
{
    const qd_levels *levels = qd_grid_spec_levels(spec);
    int32_t low, high;
    if (e->kind == QD_GGML_LEVELS)
        return levels != NULL && levels == qd_alphabet_find(e->grid.alphabet)->levels;
    if (levels != NULL)
        return false;
    qd_grid_range(spec, &low, &high);
    if (e->kind == QD_GGML_OFFSET) {
        bool offset = spec->zero == QD_ZERO_FLOAT && spec->scale_type->offset;
        /* Zeros of n bits times scales of 11 are offsets of 11 + n bits: exact only in a layout whose unit is the scale. */
        bool whole = spec->zero == QD_ZERO_NONE || (spec->zero == QD_ZERO_INTEGER && e->units && high <= e->high);
        return (offset || whole) && high - low <= e->high;
    }
    if (spec->zero == QD_ZERO_FLOAT)
        return false;
    if (spec->zero == QD_ZERO_NONE)
        return (low >= e->low && high <= e->high) || (-high >= e->low && -low <= e->high);
    int least = -e->low < e->high ? -e->low : e->high, largest = -e->low < e->high ? e->high : -e->low;
    /* Zeros in the middle, or free ones: whole codes away from the zero either way. */
    return spec->scale_type->mirrored ? (high + 1) / 2 <= largest && high / 2 <= least : high <= least;
}

static bool fits_groups(const qd_ggml_encoder *e, const qd_grid_spec *spec)
{
    const qd_scale_type *own = e->own_scale_type == NULL ? NULL : qd_scale_type_find(e->own_scale_type);
    if (own != NULL && spec->scale_type == own)
        return spec->group_size == e->grid.group_size;
    size_t filled = e->units ? e->layout->block : e->layout->span;
    return spec->group_size % filled == 0;
}

static bool fits_scales(const qd_ggml_encoder *e, const qd_grid_spec *spec)
{
    if (e->own_scale_type != NULL && spec->scale_type == qd_scale_type_find(e->own_scale_type))
        return true;
    for (const char *const *name = e->scale_types; *name != NULL; name++)
        if (spec->scale_type == qd_scale_type_find(*name))
            return true;
    return false;
}

static bool fits(const qd_ggml_encoder *e, const qd_grid_spec *spec)
{
    return fits_codes(e, spec) && fits_scales(e, spec) && fits_groups(e, spec);
}

/* "use format 'gguf:q5_0' ...": those that hold the grid as it is. */
static void list_others(const qd_grid_spec *spec, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < QD_LENGTH(table) && used + 20 < size; i++)
        if (fits(&table[i], spec))
            used += (size_t)snprintf(out + used, size - used, "'gguf:%s', ", table[i].variant);
}

static qd_code refuse(const qd_ggml_encoder *e, const qd_grid_spec *spec, const char *what, qd_error *err)
{
    char others[160];
    list_others(spec, others, sizeof others);
    return qd_fail(err, QD_EINVAL,
                   "%s does not go with format 'gguf:%s', which holds %s; leave alphabet, bits, group_size and "
                   "scale.type out for its "
                   "own grid, or use format %s'safetensors'",
                   what, e->variant, e->holds, others);
}

qd_code qd_ggml_encoder_check(const qd_ggml_encoder *encoder, const qd_grid_spec *spec, qd_error *err)
{
    char what[160];
    if (!fits_codes(encoder, spec)) {
        bool levels = qd_grid_spec_levels(spec) != NULL || encoder->kind == QD_GGML_LEVELS,
             zero = spec->zero == QD_ZERO_FLOAT;
        if (levels || zero)
            snprintf(what, sizeof what, "alphabet: '%s' with zero '%s' and scale.type '%s'", spec->alphabet->name,
                     qd_zero_kind_name(spec->zero), spec->scale_type->name);
        else
            snprintf(what, sizeof what, "bits: %g of alphabet '%s' with zero '%s'", spec->bits, spec->alphabet->name,
                     qd_zero_kind_name(spec->zero));
        return refuse(encoder, spec, what, err);
    }
    if (!fits_scales(encoder, spec)) {
        snprintf(what, sizeof what, "scale.type: '%s'", spec->scale_type->name);
        return refuse(encoder, spec, what, err);
    }
    if (!fits_groups(encoder, spec)) {
        snprintf(what, sizeof what, "group_size: %zu", spec->group_size);
        return refuse(encoder, spec, what, err);
    }
    return QD_OK;
}
