/* gptq_write.c: rounded layers as GPTQ and AWQ have them: see gptq.h. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "export/gptq.h"
#include "export/unsigned_codes.h"
#include "export/weights.h"
#include "quant/pack.h"

const char *const qd_gptq_parts[] = { "qweight", "qzeros", "scales", "g_idx", NULL };

/* Nibble k of a word is code order[k] of its eight. */
static const uint8_t awq_order[8] = { 0, 2, 4, 6, 1, 3, 5, 7 };

void qd_gptq_pack(qd_gptq_kind kind, unsigned bits, const uint8_t *codes, size_t count, uint32_t *out_words)
{
    if (kind != QD_AWQ_GEMM) {
        qd_pack_row(codes, count, bits, out_words);
        return;
    }
    for (size_t i = 0; i < count; i += 8) {
        uint32_t word = 0;
        for (size_t k = 0; k < 8; k++)
            word |= (uint32_t)(codes[i + awq_order[k]] & 15) << (4 * k);
        out_words[i / 8] = word;
    }
}

void qd_gptq_unpack(qd_gptq_kind kind, unsigned bits, const uint32_t *words, size_t count, uint8_t *out_codes)
{
    if (kind != QD_AWQ_GEMM) {
        qd_unpack_row(words, count, bits, out_codes);
        return;
    }
    for (size_t i = 0; i < count; i += 8)
        for (size_t k = 0; k < 8; k++)
            out_codes[i + awq_order[k]] = words[i / 8] >> (4 * k) & 15;
}

/* ---- which grids ---- */

qd_code qd_gptq_check(const qd_grid_spec *spec, const char *name, qd_error *err)
{
    if (qd_grid_spec_levels(spec) != NULL)
        return qd_fail(err, QD_EINVAL,
                       "alphabet: '%s' does not go with format '%s', which holds integers; use alphabet 'int' or "
                       "'int-asymmetric', or format 'safetensors' (dequantized)",
                       spec->alphabet->name, name);
    if (spec->zero == QD_ZERO_FLOAT)
        return qd_fail(
            err, QD_EINVAL,
            "alphabet: zero 'float' does not go with format '%s', whose zero points are codes; use zero 'none' "
            "or 'integer', or format 'safetensors' (dequantized)",
            name);
    if (!qd_scale_type_is_f16(spec->scale_type))
        return qd_fail(
            err, QD_EINVAL,
            "scale.type: '%s' does not go with format '%s', whose scales are F16; use 'half' (exact in bf16 too) "
            "or 'f16', or format 'compressed-tensors'",
            spec->scale_type->name, name);
    return QD_OK;
}

qd_code qd_gptq_check_layer(const qd_grid_spec *spec, const char *name, const qd_linear *linear, qd_error *err)
{
    unsigned bits = qd_grid_code_bits(spec), multiple = bits == 3 ? 32 : 32 / bits;
    if (linear->in % multiple != 0 || linear->out % multiple != 0)
        return qd_fail(err, QD_EINVAL,
                       "format: '%s' packs %u-bit codes of %u rows or columns together, and '%s' is %zu x %zu; format "
                       "'compressed-tensors' takes any",
                       name, bits, multiple, linear->name, linear->out, linear->in);
    if (spec->group_size != 0 && linear->in % spec->group_size != 0)
        return qd_fail(
            err, QD_EINVAL,
            "group_size: %zu does not divide the %zu input features of '%s', as loaders of format '%s' need; "
            "use a divisor of it, or format 'safetensors' (dequantized)",
            spec->group_size, linear->in, linear->name, name);
    return QD_OK;
}

uint64_t qd_gptq_layer_bytes(const qd_grid_spec *spec, qd_gptq_kind kind, const qd_linear *linear)
{
    qd_grid grid = { 0 };
    unsigned bits = qd_grid_code_bits(spec);
    qd_grid_shape(spec, linear->in, &grid);
    uint64_t scales = 2 * grid.groups * linear->out;
    uint64_t codes =
        kind == QD_AWQ_GEMM ? 4 * linear->in * (linear->out / 8) : 4 * qd_pack_words(linear->in, bits) * linear->out;
    uint64_t zeros =
        kind == QD_AWQ_GEMM ? 4 * grid.groups * (linear->out / 8) : 4 * grid.groups * qd_pack_words(linear->out, bits);
    return codes + zeros + scales;
}

/* ---- layers ---- */

typedef struct target {
    const qd_grid_spec *spec;
    qd_gptq_kind kind;
} target;

typedef struct layer_job {
    qd_shard_writer *writer;
    const qd_linear *linear;
    const qd_rounded *rounded;
    qd_gptq_kind kind;
    unsigned bits;
} layer_job;

static qd_code take(const layer_job *job, const char *part, const char *dtype, size_t rows, size_t cols, void *data,
                    qd_error *err)
{
    char name[QD_PART_NAME];
    const uint64_t shape[] = { rows, cols };
    snprintf(name, sizeof name, "%s.%s", job->linear->name, part);
    return qd_shard_writer_take(job->writer, name, dtype, cols == 0 ? 1 : 2, shape, data, err);
}

/* Along I: the packed row of an output is a column of the tensor. */
static void fill_columns(const layer_job *job, uint8_t *line, uint32_t *one, uint32_t *packed)
{
    size_t out = job->linear->out, in = job->linear->in, words = qd_pack_words(in, job->bits);
    int32_t offset = qd_unsigned_offset(job->rounded->grid, job->bits);
    for (size_t o = 0; o < out; o++) {
        for (size_t i = 0; i < in; i++)
            line[i] = (uint8_t)(job->rounded->codes[o * in + i] + offset);
        qd_gptq_pack(job->kind, job->bits, line, in, one);
        for (size_t k = 0; k < words; k++)
            packed[k * out + o] = one[k];
    }
}

/* Along O: the codes of one input feature are a row of the tensor. */
static void fill_rows(const layer_job *job, uint8_t *line, uint32_t *packed)
{
    size_t out = job->linear->out, in = job->linear->in, words = out / 8;
    int32_t offset = qd_unsigned_offset(job->rounded->grid, job->bits);
    for (size_t i = 0; i < in; i++) {
        for (size_t o = 0; o < out; o++)
            line[o] = (uint8_t)(job->rounded->codes[o * in + i] + offset);
        qd_gptq_pack(job->kind, job->bits, line, out, packed + i * words);
    }
}

static qd_code write_codes(const layer_job *job, qd_error *err)
{
    size_t out = job->linear->out, in = job->linear->in;
    bool along_out = job->kind == QD_AWQ_GEMM;
    size_t rows = along_out ? in : qd_pack_words(in, job->bits), cols = along_out ? out / 8 : out;
    uint32_t *packed = NULL;
    QD_AUTO(qd_free_pointer) uint8_t *line = NULL;
    QD_AUTO(qd_free_pointer) uint32_t *one = NULL;
    qd_code code = qd_alloc(qd_max_size(in, out), 1, (void **)&line, err);
    if (code == QD_OK)
        code = qd_alloc(qd_pack_words(in, job->bits), sizeof *one, (void **)&one, err);
    if (code == QD_OK)
        code = qd_alloc(rows * cols, sizeof *packed, (void **)&packed, err);
    if (code != QD_OK)
        return code;
    if (along_out)
        fill_rows(job, line, packed);
    else
        fill_columns(job, line, one, packed);
    return take(job, "qweight", "I32", rows, cols, packed, err);
}

static qd_code check_zeros(const layer_job *job, int32_t least, qd_error *err)
{
    const qd_grid *grid = job->rounded->grid;
    for (size_t o = 0; o < job->linear->out; o++)
        for (size_t g = 0; g < grid->groups; g++)
            if (qd_unsigned_zero(grid, job->bits, o, g) < least)
                return qd_fail(err, QD_EINVAL, "a zero point is 0, which 'gptq:v1' cannot hold; 'gptq:v2' can");
    return QD_OK;
}

/* v1 stores z - 1: clients add 1. */
static qd_code write_zeros(const layer_job *job, qd_error *err)
{
    const qd_grid *grid = job->rounded->grid;
    size_t out = job->linear->out, words = qd_pack_words(out, job->bits);
    int32_t less = job->kind == QD_GPTQ_V1;
    uint32_t *packed = NULL;
    QD_AUTO(qd_free_pointer) uint8_t *line = NULL;
    qd_code code = check_zeros(job, less, err);
    if (code == QD_OK)
        code = qd_alloc(out, 1, (void **)&line, err);
    if (code == QD_OK)
        code = qd_alloc(grid->groups * words, sizeof *packed, (void **)&packed, err);
    if (code != QD_OK)
        return code;
    for (size_t g = 0; g < grid->groups; g++) {
        for (size_t o = 0; o < out; o++)
            line[o] = (uint8_t)(qd_unsigned_zero(grid, job->bits, o, g) - less);
        qd_gptq_pack(job->kind, job->bits, line, out, packed + g * words);
    }
    return take(job, "qzeros", "I32", grid->groups, words, packed, err);
}

static qd_code write_scales(const layer_job *job, qd_error *err)
{
    const qd_grid *grid = job->rounded->grid;
    const qd_dtype *f16 = qd_dtype_find("F16");
    size_t out = job->linear->out, groups = grid->groups;
    QD_AUTO(qd_free_pointer) uint16_t *by_row = NULL;
    uint16_t *stored = NULL;
    qd_code code = qd_alloc(out * groups, sizeof *by_row, (void **)&by_row, err);
    if (code != QD_OK)
        return code;
    f16->from_floats(grid->scale.view.data, out * groups, by_row);
    size_t lost = qd_unsigned_lost_scales(job->rounded, job->linear, f16, by_row);
    if (lost > 0)
        return qd_fail(err, QD_EINVAL, "%zu of %zu scales are not exact in F16", lost, out * groups);
    code = qd_alloc(out * groups, sizeof *stored, (void **)&stored, err);
    if (code != QD_OK)
        return code;
    for (size_t o = 0; o < out; o++)
        for (size_t g = 0; g < groups; g++)
            stored[g * out + o] = by_row[o * groups + g];
    return take(job, "scales", "F16", groups, out, stored, err);
}

static qd_code write_order(const layer_job *job, qd_error *err)
{
    int32_t *groups = NULL;
    qd_code code = qd_alloc(job->linear->in, sizeof *groups, (void **)&groups, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; i < job->linear->in; i++)
        groups[i] = (int32_t)(i / job->rounded->grid->group_size);
    return take(job, "g_idx", "I32", job->linear->in, 0, groups, err);
}

static qd_code write_layer(const void *ctx, qd_shard_writer *writer, const qd_linear *linear, const qd_rounded *rounded,
                           qd_error *err)
{
    const target *t = ctx;
    const layer_job job = { writer, linear, rounded, t->kind, qd_grid_code_bits(t->spec) };
    qd_code code = qd_unsigned_check(rounded->grid, linear, job.bits, err);
    if (code == QD_OK)
        code = write_codes(&job, err);
    if (code == QD_OK)
        code = write_zeros(&job, err);
    if (code == QD_OK)
        code = write_scales(&job, err);
    return code == QD_OK && t->kind != QD_AWQ_GEMM ? write_order(&job, err) : code;
}

qd_code qd_gptq_write_weights(const qd_model *model, const qd_grid_spec *spec, qd_gptq_kind kind,
                              const qd_rounded_source *source, const char *dir, qd_error *err)
{
    const target t = { spec, kind };
    const qd_layer_writer layers = { write_layer, &t };
    return qd_weights_write(model, source, &layers, dir, err);
}

void qd_gptq_expected_weight(const qd_rounded *rounded, size_t variant, qd_matf w)
{
    (void)variant;
    qd_grid_dequantize(rounded->grid, rounded->codes, w);
}
