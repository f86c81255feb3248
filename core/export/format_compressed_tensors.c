/* format_compressed_tensors.c: compressed-tensors `pack-quantized`, 2, 4 or 8 bits (formats.md §4.1-4.3).
 *
 * Per linear layer m: m.weight_packed I32 [O, ceil(I b / 32)] of u = q + 2^(b-1), dense LSB-first by row; m.weight_scale [O, G];
 * m.weight_zero_point I32 [ceil(O b / 32), G], packed along O, when asymmetric; m.weight_shape I64 [2]. A client computes
 * (u - u_zero) scale. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "export/config_edit.h"
#include "export/format.h"
#include "export/shard_writer.h"
#include "quant/pack.h"

enum { PACKED_NAME = 640 };

static qd_code check(const qd_grid_spec *spec, size_t variant, qd_error *err)
{
    (void)variant;
    if (spec->bits != 2 && spec->bits != 4 && spec->bits != 8)
        return qd_fail(err, QD_EINVAL,
                       "bits: %g does not go with format 'compressed-tensors', which holds 2, 4 or 8 bits; use one of "
                       "these, or format "
                       "'safetensors' (dequantized)",
                       spec->bits);
    if (spec->zero == QD_ZERO_FLOAT)
        return qd_fail(err, QD_EINVAL,
                       "alphabet: zero 'float' does not go with format 'compressed-tensors', whose zero points are "
                       "codes; use zero 'none' "
                       "or 'integer', or format 'safetensors' (dequantized)");
    return QD_OK;
}

/* The divisors of `in` that are nearest to `wanted`, as a sentence. */
static void list_divisors(size_t in, char *out, size_t size)
{
    size_t used = 0;
    for (size_t d = 16; d <= in && d <= 1024 && used + 8 < size; d++)
        if (in % d == 0)
            used += (size_t)snprintf(out + used, size - used, "%s%zu", used == 0 ? "" : ", ", d);
    if (used == 0)
        snprintf(out, size, "%zu", in);
}

static qd_code check_scale_type(const qd_grid_spec *spec, const char *model_dtype, qd_error *err)
{
    const char *type = spec->scale_type->dtype;
    if (strcmp(model_dtype, "F32") == 0 || strcmp(model_dtype, type) == 0)
        return QD_OK;
    return qd_fail(err, QD_EINVAL,
                   "scale.type: '%s' cannot be held exactly by this %s model, whose loader turns scales into its own "
                   "type; use '%s'",
                   spec->scale_type->name, model_dtype, strcmp(model_dtype, "F16") == 0 ? "f16" : "bf16");
}

static qd_code check_layer(const qd_grid_spec *spec, size_t variant, const qd_linear *linear, const char *model_dtype,
                           qd_error *err)
{
    (void)variant;
    if (spec->group_size != 0 && linear->in % spec->group_size != 0) {
        char divisors[200];
        list_divisors(linear->in, divisors, sizeof divisors);
        return qd_fail(err, QD_EINVAL,
                       "group_size: %zu does not divide the %zu input features of '%s', as format 'compressed-tensors' "
                       "needs; sizes that do "
                       "are %s, or 0 (the whole row); format 'safetensors' cuts the last group",
                       spec->group_size, linear->in, linear->name, divisors);
    }
    return check_scale_type(spec, model_dtype, err);
}

static unsigned width(const qd_grid *grid)
{
    unsigned bits = 1;
    while ((1 << bits) <= grid->high - grid->low)
        bits++;
    return bits;
}

/* Width of the container: 2, 4 or 8 (a narrow grid has one level less, not one bit less). */
static unsigned container_bits(const qd_grid_spec *spec)
{
    return (unsigned)spec->bits;
}

/* Codes as stored: u = q + 2^(b-1); for asymmetric grids the code itself. */
static uint8_t stored_offset(const qd_grid *grid, unsigned bits)
{
    return grid->zero_kind == QD_ZERO_NONE ? (uint8_t)(grid->low + (1 << (bits - 1))) : (uint8_t)grid->low;
}

static qd_code take(qd_shard_writer *w, const char *linear, const char *part, const char *dtype, uint64_t rows,
                    uint64_t cols, void *data, qd_error *err)
{
    char name[PACKED_NAME];
    const uint64_t shape[] = { rows, cols };
    snprintf(name, sizeof name, "%s.%s", linear, part);
    return qd_shard_writer_take(w, name, dtype, cols == 0 ? 1 : 2, shape, data, err);
}

static qd_code write_codes(qd_shard_writer *w, const qd_linear *linear, const qd_rounded *r, unsigned bits,
                           qd_error *err)
{
    size_t words = qd_pack_words(linear->in, bits);
    uint32_t *packed = NULL;
    QD_AUTO(qd_free_pointer) uint8_t *row = NULL;
    qd_code code = qd_alloc(linear->in, 1, (void **)&row, err);
    if (code == QD_OK)
        code = qd_alloc(linear->out * words, sizeof *packed, (void **)&packed, err);
    if (code != QD_OK)
        return code;
    uint8_t offset = stored_offset(r->grid, bits);
    for (size_t o = 0; o < linear->out; o++) {
        for (size_t i = 0; i < linear->in; i++)
            row[i] = (uint8_t)(r->codes[o * linear->in + i] + offset);
        qd_pack_row(row, linear->in, bits, packed + o * words);
    }
    return take(w, linear->name, "weight_packed", "I32", linear->out, words, packed, err);
}

static qd_code write_scales(qd_shard_writer *w, const qd_linear *linear, const qd_grid *grid, const qd_scale_type *type,
                            qd_error *err)
{
    const qd_dtype *dtype = qd_dtype_find(type->dtype);
    size_t count = linear->out * grid->groups;
    void *data = NULL;
    qd_code code = qd_alloc(count, dtype->bits / 8, &data, err);
    if (code != QD_OK)
        return code;
    dtype->from_floats(grid->scale.view.data, count, data);
    return take(w, linear->name, "weight_scale", dtype->name, linear->out, grid->groups, data, err);
}

/* Column by column: the zeros of one group over all rows are one packed row of the transpose. */
static qd_code write_zeros(qd_shard_writer *w, const qd_linear *linear, const qd_grid *grid, unsigned bits,
                           qd_error *err)
{
    size_t words = qd_pack_words(linear->out, bits);
    uint32_t *packed = NULL;
    QD_AUTO(qd_free_pointer) uint8_t *column = NULL;
    QD_AUTO(qd_free_pointer) uint32_t *one = NULL;
    qd_code code = qd_alloc(linear->out, 1, (void **)&column, err);
    if (code == QD_OK)
        code = qd_alloc(words, sizeof *one, (void **)&one, err);
    if (code == QD_OK)
        code = qd_alloc(words * grid->groups, sizeof *packed, (void **)&packed, err);
    if (code != QD_OK)
        return code;
    for (size_t g = 0; g < grid->groups; g++) {
        for (size_t o = 0; o < linear->out; o++)
            column[o] = (uint8_t)qd_matf_row(grid->zero.view, o)[g];
        qd_pack_row(column, linear->out, bits, one);
        for (size_t k = 0; k < words; k++)
            packed[k * grid->groups + g] = one[k];
    }
    return take(w, linear->name, "weight_zero_point", "I32", words, grid->groups, packed, err);
}

static qd_code write_shape(qd_shard_writer *w, const qd_linear *linear, qd_error *err)
{
    int64_t *shape = NULL;
    qd_code code = qd_alloc(2, sizeof *shape, (void **)&shape, err);
    if (code != QD_OK)
        return code;
    shape[0] = (int64_t)linear->out;
    shape[1] = (int64_t)linear->in;
    return take(w, linear->name, "weight_shape", "I64", 2, 0, shape, err);
}

static qd_code write_layer(qd_shard_writer *w, const qd_grid_spec *spec, const qd_linear *linear,
                           const qd_rounded *rounded, qd_error *err)
{
    unsigned bits = container_bits(spec);
    if (width(rounded->grid) > bits)
        return qd_fail(err, QD_EINTERNAL, "'%s': codes of %u bits in a container of %u", linear->name,
                       width(rounded->grid), bits);
    qd_code code = write_codes(w, linear, rounded, bits, err);
    if (code == QD_OK)
        code = write_scales(w, linear, rounded->grid, spec->scale_type, err);
    if (code == QD_OK && spec->zero == QD_ZERO_INTEGER)
        code = write_zeros(w, linear, rounded->grid, bits, err);
    return code == QD_OK ? write_shape(w, linear, err) : code;
}

/* quantization_config of formats.md §4.3, complete. */
static json_t *quantization_config(const qd_grid_spec *spec)
{
    json_t *weights = json_pack("{s:i, s:s, s:b, s:s, s:o, s:b, s:n, s:n, s:s, s:{}}", "num_bits",
                                (int)container_bits(spec), "type", "int", "symmetric", spec->zero == QD_ZERO_NONE,
                                "strategy", spec->group_size == 0 ? "channel" : "group", "group_size",
                                spec->group_size == 0 ? json_null() : json_integer((json_int_t)spec->group_size),
                                "dynamic", 0, "actorder", "block_structure", "observer", "minmax", "observer_kwargs");
    return json_pack("{s:{s:s, s:s, s:s, s:n, s:n, s:[s], s:{s:{s:[s], s:n, s:n, s:o}}}}", "quantization_config",
                     "quant_method", "compressed-tensors", "format", "pack-quantized", "quantization_status",
                     "compressed", "global_compression_ratio", "kv_cache_scheme", "ignore", "lm_head", "config_groups",
                     "group_0", "targets", "Linear", "input_activations", "output_activations", "weights", weights);
}

static bool is_linear_weight(const qd_model *model, const qd_tensor *tensor)
{
    for (size_t i = 0; i < qd_model_linear_count(model); i++)
        if (qd_model_linear_at(model, i)->weight == tensor)
            return true;
    return false;
}

static qd_code write_weights(const qd_model *model, const qd_grid_spec *spec, const qd_rounded_source *source,
                             qd_shard_writer *w, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < qd_model_tensor_count(model); i++)
        if (!is_linear_weight(model, qd_model_tensor_at(model, i)))
            code = qd_shard_writer_copy(w, qd_model_tensor_at(model, i), err);
    for (size_t i = 0; code == QD_OK && i < qd_model_linear_count(model); i++) {
        qd_rounded rounded;
        code = source->layer(source->ctx, i, &rounded, err);
        if (code == QD_OK)
            code = write_layer(w, spec, qd_model_linear_at(model, i), &rounded, err);
    }
    return code == QD_OK ? qd_shard_writer_finish(w, err) : code;
}

static qd_code write(const qd_model *model, const qd_grid_spec *spec, size_t variant, const qd_rounded_source *source,
                     const char *dir, qd_error *err)
{
    (void)variant;
    QD_AUTO(qd_shard_writer_fini) qd_shard_writer writer = { 0 };
    QD_AUTO(qd_json_fini) json_t *changes = quantization_config(spec);
    if (changes == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    qd_code code = qd_shard_writer_init(&writer, dir, 0, err);
    if (code == QD_OK)
        code = write_weights(model, spec, source, &writer, err);
    return code == QD_OK ? qd_config_edit(qd_model_borrow_dir(model), changes, dir, err) : code;
}

/* ---- reading ---- */

/* A part of a packed layer with the dtype and shape it must have; cols 0 = any. */
static qd_code find_part(const qd_model *packed, const qd_linear *linear, const char *part, size_t rows,
                         const qd_tensor **out, qd_error *err)
{
    char name[PACKED_NAME];
    snprintf(name, sizeof name, "%s.%s", linear->name, part);
    const qd_tensor *t = qd_model_tensor(packed, name);
    if (t == NULL)
        return qd_fail(err, QD_EFORMAT, "tensor '%s' is missing", name);
    if (t->rank != 2 || t->shape[0] != rows || t->shape[1] == 0)
        return qd_fail(err, QD_EFORMAT, "tensor '%s': [%zu, ...] is wanted", name, rows);
    *out = t;
    return QD_OK;
}

/* b from the number of words: only 2, 4 and 8 divide 32, so the width is unique. */
static qd_code infer_bits(const qd_tensor *packed, const qd_linear *linear, unsigned *out, qd_error *err)
{
    static const unsigned widths[] = { 2, 4, 8 };
    for (size_t i = 0; i < QD_LENGTH(widths); i++)
        if (strcmp(packed->dtype->name, "I32") == 0 && packed->shape[1] == qd_pack_words(linear->in, widths[i])) {
            *out = widths[i];
            return QD_OK;
        }
    return qd_fail(err, QD_EFORMAT, "tensor '%s': %llu words a row hold neither 2, 4 nor 8 bits of %zu features",
                   packed->name, (unsigned long long)packed->shape[1], linear->in);
}

/* zeros (O x G, as codes): 2^(b-1) everywhere when the file has none. */
static qd_code read_zeros(const qd_model *model, const qd_linear *linear, unsigned bits, size_t groups, uint8_t *zeros,
                          qd_error *err)
{
    char name[PACKED_NAME];
    snprintf(name, sizeof name, "%s.weight_zero_point", linear->name);
    memset(zeros, 1 << (bits - 1), linear->out * groups);
    if (qd_model_tensor(model, name) == NULL)
        return QD_OK;
    size_t words = qd_pack_words(linear->out, bits);
    const qd_tensor *t = NULL;
    QD_AUTO(qd_free_pointer) uint32_t *one = NULL;
    QD_AUTO(qd_free_pointer) uint8_t *column = NULL;
    qd_code code = find_part(model, linear, "weight_zero_point", words, &t, err);
    if (code == QD_OK && (t->shape[1] != groups || strcmp(t->dtype->name, "I32") != 0))
        code = qd_fail(err, QD_EFORMAT, "tensor '%s': I32 [%zu, %zu] is wanted", t->name, words, groups);
    if (code == QD_OK)
        code = qd_alloc(words, sizeof *one, (void **)&one, err);
    if (code == QD_OK)
        code = qd_alloc(linear->out, 1, (void **)&column, err);
    for (size_t g = 0; code == QD_OK && g < groups; g++) {
        for (size_t k = 0; k < words; k++)
            memcpy(&one[k], t->data + 4 * (k * groups + g), 4);
        qd_unpack_row(one, linear->out, bits, column);
        for (size_t o = 0; o < linear->out; o++)
            zeros[o * groups + g] = column[o];
    }
    return code;
}

typedef struct packed_layer {
    const qd_tensor *codes;
    float *scales;  /* O x G */
    uint8_t *zeros; /* O x G */
    size_t groups, group_size;
    unsigned bits;
} packed_layer;

static qd_code read_parts(const qd_model *model, const qd_linear *linear, packed_layer *p, qd_error *err)
{
    const qd_tensor *scale = NULL;
    qd_code code = find_part(model, linear, "weight_packed", linear->out, &p->codes, err);
    if (code == QD_OK)
        code = infer_bits(p->codes, linear, &p->bits, err);
    if (code == QD_OK)
        code = find_part(model, linear, "weight_scale", linear->out, &scale, err);
    if (code != QD_OK)
        return code;
    p->groups = (size_t)scale->shape[1];
    if (linear->in % p->groups != 0)
        return qd_fail(err, QD_EFORMAT, "tensor '%s': %zu groups do not divide %zu features", scale->name, p->groups,
                       linear->in);
    p->group_size = linear->in / p->groups;
    code = qd_tensor_check_finite(scale, err);
    if (code == QD_OK)
        code = qd_alloc(linear->out * p->groups, sizeof *p->scales, (void **)&p->scales, err);
    if (code == QD_OK)
        code = qd_tensor_to_floats(scale, p->scales, err);
    if (code == QD_OK)
        code = qd_alloc(linear->out * p->groups, 1, (void **)&p->zeros, err);
    return code == QD_OK ? read_zeros(model, linear, p->bits, p->groups, p->zeros, err) : code;
}

static qd_code unpack_rows(const packed_layer *p, const qd_linear *linear, qd_matf w, qd_error *err)
{
    size_t words = qd_pack_words(linear->in, p->bits);
    QD_AUTO(qd_free_pointer) uint32_t *row = NULL;
    QD_AUTO(qd_free_pointer) uint8_t *codes = NULL;
    qd_code code = qd_alloc(words, sizeof *row, (void **)&row, err);
    if (code == QD_OK)
        code = qd_alloc(linear->in, 1, (void **)&codes, err);
    for (size_t o = 0; code == QD_OK && o < linear->out; o++) {
        memcpy(row, p->codes->data + 4 * o * words, 4 * words);
        qd_unpack_row(row, linear->in, p->bits, codes);
        for (size_t i = 0; i < linear->in; i++) {
            size_t g = o * p->groups + i / p->group_size;
            qd_matf_row(w, o)[i] = (float)((int)codes[i] - (int)p->zeros[g]) * p->scales[g];
        }
    }
    return code;
}

static qd_code read_weight(const qd_model *packed, const qd_linear *linear, qd_matf w, qd_error *err)
{
    packed_layer p = { 0 };
    qd_code code = read_parts(packed, linear, &p, err);
    if (code == QD_OK)
        code = unpack_rows(&p, linear, w, err);
    free(p.scales);
    free(p.zeros);
    return code;
}

static void expected_weight(const qd_rounded *rounded, size_t variant, qd_matf w)
{
    (void)variant;
    qd_grid_dequantize(rounded->grid, rounded->codes, w);
}

const qd_format qd_format_compressed_tensors = {
    .name = "compressed-tensors",
    .summary = "compressed-tensors pack-quantized: loads in vLLM and transformers",
    .constraints = "2, 4 or 8 bits; zero none or integer; group_size divides every row",
    .check = check,
    .check_layer = check_layer,
    .write = write,
    .read_weight = read_weight,
    .expected_weight = expected_weight,
};
