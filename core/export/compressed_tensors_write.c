/* compressed_tensors_write.c: a rounded layer of integers as packed tensors, and the folder: see compressed_tensors.h. */
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "export/compressed_tensors.h"
#include "export/config_edit.h"
#include "export/unsigned_codes.h"
#include "export/weights.h"
#include "quant/pack.h"

typedef struct layer_job {
    qd_packed_layer layer;
    const qd_linear *linear;
    const qd_rounded *rounded;
    unsigned bits; /* of the container: a narrow grid has one level less, not one bit less */
    const qd_scale_type *scale_type;
    const qd_dtype *scale_dtype; /* of the model */
} layer_job;

qd_code qd_packed_take(const qd_packed_layer *layer, const char *part, const char *dtype, size_t rows, size_t cols,
                       void *data, qd_error *err)
{
    char name[QD_PART_NAME];
    const uint64_t shape[] = { rows, cols };
    snprintf(name, sizeof name, "%s.%s", layer->linear->name, part);
    return qd_shard_writer_take(layer->writer, name, dtype, cols == 0 ? 1 : 2, shape, data, err);
}

static qd_code write_codes(const layer_job *job, qd_error *err)
{
    size_t out = job->linear->out, in = job->linear->in, words = qd_pack_words(in, job->bits);
    uint32_t *packed = NULL;
    QD_AUTO(qd_free_pointer) uint8_t *row = NULL;
    qd_code code = qd_alloc(in, 1, (void **)&row, err);
    if (code == QD_OK)
        code = qd_alloc(out * words, sizeof *packed, (void **)&packed, err);
    if (code != QD_OK)
        return code;
    int32_t offset = qd_unsigned_offset(job->rounded->grid, job->bits);
    for (size_t o = 0; o < out; o++) {
        for (size_t i = 0; i < in; i++)
            row[i] = (uint8_t)(job->rounded->codes[o * in + i] + offset);
        qd_pack_row(row, in, job->bits, packed + o * words);
    }
    return qd_packed_take(&job->layer, "weight_packed", "I32", out, words, packed, err);
}

/* In the model's type, as loaders expect them; in their own where one of them is too small for that (bf16 scales, F16
 * model). */
static qd_code write_scales(const layer_job *job, qd_error *err)
{
    const qd_grid *grid = job->rounded->grid;
    const qd_dtype *dtype = job->scale_dtype, *own = qd_dtype_find(job->scale_type->dtype);
    size_t count = job->linear->out * grid->groups;
    void *data = NULL;
    qd_code code = qd_alloc(count, qd_max_size(dtype->bits, own->bits) / 8, &data, err);
    if (code != QD_OK)
        return code;
    dtype->from_floats(grid->scale.view.data, count, data);
    if (qd_unsigned_lost_scales(job->rounded, job->linear, dtype, data) > 0) {
        dtype = own;
        dtype->from_floats(grid->scale.view.data, count, data);
    }
    return qd_packed_take(&job->layer, "weight_scale", dtype->name, job->linear->out, grid->groups, data, err);
}

/* Column by column: the zeros of one group over all rows are one packed row of the transpose. */
static qd_code write_zeros(const layer_job *job, qd_error *err)
{
    const qd_grid *grid = job->rounded->grid;
    size_t out = job->linear->out, words = qd_pack_words(out, job->bits);
    uint32_t *packed = NULL;
    QD_AUTO(qd_free_pointer) uint8_t *column = NULL;
    QD_AUTO(qd_free_pointer) uint32_t *one = NULL;
    qd_code code = qd_alloc(out, 1, (void **)&column, err);
    if (code == QD_OK)
        code = qd_alloc(words, sizeof *one, (void **)&one, err);
    if (code == QD_OK)
        code = qd_alloc(words * grid->groups, sizeof *packed, (void **)&packed, err);
    if (code != QD_OK)
        return code;
    for (size_t g = 0; g < grid->groups; g++) {
        for (size_t o = 0; o < out; o++)
            column[o] = (uint8_t)qd_matf_row(grid->zero.view, o)[g];
        qd_pack_row(column, out, job->bits, one);
        for (size_t k = 0; k < words; k++)
            packed[k * grid->groups + g] = one[k];
    }
    return qd_packed_take(&job->layer, "weight_zero_point", "I32", words, grid->groups, packed, err);
}

/* Of 8 bits, one by one: u - 128. */
static qd_code write_bytes(const layer_job *job, qd_error *err)
{
    size_t out = job->linear->out, in = job->linear->in;
    uint8_t *bytes = NULL;
    qd_code code = qd_alloc(out, in, (void **)&bytes, err);
    if (code != QD_OK)
        return code;
    int32_t offset = qd_unsigned_offset(job->rounded->grid, job->bits);
    for (size_t i = 0; i < out * in; i++)
        bytes[i] = (uint8_t)((job->rounded->codes[i] + offset) ^ 0x80);
    return qd_packed_take(&job->layer, "weight", "I8", out, in, bytes, err);
}

static qd_code write_shape(const layer_job *job, qd_error *err)
{
    int64_t *shape = NULL;
    qd_code code = qd_alloc(2, sizeof *shape, (void **)&shape, err);
    if (code != QD_OK)
        return code;
    shape[0] = (int64_t)job->linear->out;
    shape[1] = (int64_t)job->linear->in;
    return qd_packed_take(&job->layer, "weight_shape", "I64", 2, 0, shape, err);
}

typedef struct target {
    const qd_grid_spec *spec;
    qd_packing packing;
    const qd_dtype *scale_dtype; /* of integers */
} target;

static qd_code write_integers(const layer_job *job, qd_packing packing, qd_error *err)
{
    qd_code code = qd_unsigned_check(job->rounded->grid, job->linear, job->bits, err);
    if (code == QD_OK)
        code = packing == QD_PACK_INT8 ? write_bytes(job, err) : write_codes(job, err);
    if (code == QD_OK)
        code = write_scales(job, err);
    if (code == QD_OK && job->rounded->grid->zero_kind != QD_ZERO_NONE)
        code = write_zeros(job, err);
    return code == QD_OK && packing == QD_PACK_INT ? write_shape(job, err) : code;
}

static qd_code write_layer(const void *ctx, qd_shard_writer *writer, const qd_linear *linear, const qd_rounded *rounded,
                           qd_error *err)
{
    const target *t = ctx;
    const qd_packed_layer layer = { writer, linear, rounded };
    if (rounded->grid->zero_kind != t->spec->zero)
        return qd_fail(err, QD_EINTERNAL, "zero '%s' was decided, '%s' was asked for",
                       qd_zero_kind_name(rounded->grid->zero_kind), qd_zero_kind_name(t->spec->zero));
    if (t->packing == QD_PACK_MXFP4 || t->packing == QD_PACK_NVFP4)
        return qd_packed_write_fp4(&layer, t->packing, err);
    const layer_job job = { layer, linear, rounded, qd_grid_code_bits(t->spec), t->spec->scale_type, t->scale_dtype };
    return write_integers(&job, t->packing, err);
}

qd_code qd_packed_write(const qd_model *model, const qd_grid_spec *spec, size_t variant,
                        const qd_rounded_source *source, const char *dir, qd_error *err)
{
    qd_packing packing = (qd_packing)variant;
    bool integers = packing == QD_PACK_INT || packing == QD_PACK_INT8;
    const target t = { spec, packing, qd_packed_scale_dtype(spec->scale_type, qd_model_borrow_config(model)->dtype) };
    const qd_layer_writer layers = { write_layer, &t };
    if (integers && t.scale_dtype == NULL)
        return qd_fail(err, QD_EINVAL, "scale.type: '%s' is not exact in this model", spec->scale_type->name);
    qd_code code = qd_weights_write(model, source, &layers, dir, err);
    if (code != QD_OK)
        return code;
    QD_AUTO(qd_json_fini) json_t *changes = json_pack("{s:o}", "quantization_config", qd_packed_config(spec, packing));
    if (changes == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    code = qd_packed_ignore(model, json_object_get(json_object_get(changes, "quantization_config"), "ignore"), err);
    return code == QD_OK ? qd_config_json_edit_packed(model, changes, dir, err) : code;
}
