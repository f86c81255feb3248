/* compressed_tensors_write.c: a rounded layer as packed tensors: see compressed_tensors.h. */
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "export/compressed_tensors.h"
#include "export/config_edit.h"
#include "export/weights.h"
#include "quant/pack.h"

typedef struct layer_job {
    qd_shard_writer *writer;
    const qd_linear *linear;
    const qd_rounded *rounded;
    unsigned bits; /* of the container: a narrow grid has one level less, not one bit less */
    const qd_scale_type *scale_type;
    const qd_dtype *scale_dtype; /* of the model */
} layer_job;

/* cols 0 = rank 1. Takes data. */
static qd_code take(const layer_job *job, const char *part, const char *dtype, size_t rows, size_t cols, void *data,
                    qd_error *err)
{
    char name[QD_PACKED_NAME];
    const uint64_t shape[] = { rows, cols };
    snprintf(name, sizeof name, "%s.%s", job->linear->name, part);
    return qd_shard_writer_take(job->writer, name, dtype, cols == 0 ? 1 : 2, shape, data, err);
}

/* code - low -> u: signed codes start at -2^(b-1), or one above in a narrow grid; unsigned ones are stored as they
 * are. */
static int32_t stored_offset(const layer_job *job)
{
    const qd_grid *grid = job->rounded->grid;
    return grid->zero_kind == QD_ZERO_NONE ? grid->low + (1 << (job->bits - 1)) : grid->low;
}

static qd_code check_range(const layer_job *job, qd_error *err)
{
    const qd_grid *grid = job->rounded->grid;
    int32_t offset = stored_offset(job), top = (1 << job->bits) - 1;
    if (offset < 0 || offset + grid->high - grid->low > top)
        return qd_fail(err, QD_EINTERNAL, "codes %d..%d do not fit %u bits", (int)grid->low, (int)grid->high,
                       job->bits);
    for (size_t i = 0; grid->zero_kind != QD_ZERO_NONE && i < job->linear->out * grid->groups; i++) {
        float zero = grid->zero.view.data[i];
        if (!(zero >= 0.0f && zero <= (float)top) || zero != (float)(int)zero)
            return qd_fail(err, QD_EINTERNAL, "zero point %g is not a code of %u bits", (double)zero, job->bits);
    }
    return QD_OK;
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
    int32_t offset = stored_offset(job);
    for (size_t o = 0; o < out; o++) {
        for (size_t i = 0; i < in; i++)
            row[i] = (uint8_t)(job->rounded->codes[o * in + i] + offset);
        qd_pack_row(row, in, job->bits, packed + o * words);
    }
    return take(job, "weight_packed", "I32", out, words, packed, err);
}

/* All weights of a group stand on its zero, so that its scale is of no consequence. */
static bool group_is_zero(const layer_job *job, size_t o, size_t g)
{
    const qd_grid *grid = job->rounded->grid;
    size_t in = job->linear->in, end = qd_min_size((g + 1) * grid->group_size, in);
    int32_t zero = (int32_t)qd_matf_row(grid->zero.view, o)[g];
    for (size_t i = g * grid->group_size; i < end; i++)
        if (grid->low + job->rounded->codes[o * in + i] != zero)
            return false;
    return true;
}

/* Scales were rounded to their type before anything was rounded to them; here they may only be carried over. */
static bool keeps_scales(const layer_job *job, const qd_dtype *dtype, const void *stored)
{
    const qd_grid *grid = job->rounded->grid;
    for (size_t o = 0; o < job->linear->out; o++)
        for (size_t g = 0; g < grid->groups; g++) {
            float back;
            size_t at = o * grid->groups + g;
            dtype->to_floats((const unsigned char *)stored + at * dtype->bits / 8, 1, &back);
            if (back != grid->scale.view.data[at] && !group_is_zero(job, o, g))
                return false;
        }
    return true;
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
    if (!keeps_scales(job, dtype, data)) {
        dtype = own;
        dtype->from_floats(grid->scale.view.data, count, data);
    }
    return take(job, "weight_scale", dtype->name, job->linear->out, grid->groups, data, err);
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
    return take(job, "weight_zero_point", "I32", words, grid->groups, packed, err);
}

static qd_code write_shape(const layer_job *job, qd_error *err)
{
    int64_t *shape = NULL;
    qd_code code = qd_alloc(2, sizeof *shape, (void **)&shape, err);
    if (code != QD_OK)
        return code;
    shape[0] = (int64_t)job->linear->out;
    shape[1] = (int64_t)job->linear->in;
    return take(job, "weight_shape", "I64", 2, 0, shape, err);
}

typedef struct target {
    const qd_grid_spec *spec;
    const qd_dtype *scale_dtype;
} target;

static qd_code write_layer(const void *ctx, qd_shard_writer *writer, const qd_linear *linear, const qd_rounded *rounded,
                           qd_error *err)
{
    const target *t = ctx;
    if (rounded->grid->zero_kind != t->spec->zero)
        return qd_fail(err, QD_EINTERNAL, "zero '%s' was decided, '%s' was asked for",
                       qd_zero_kind_name(rounded->grid->zero_kind), qd_zero_kind_name(t->spec->zero));
    const layer_job job = { writer, linear, rounded, qd_grid_code_bits(t->spec), t->spec->scale_type, t->scale_dtype };
    qd_code code = check_range(&job, err);
    if (code == QD_OK)
        code = write_codes(&job, err);
    if (code == QD_OK)
        code = write_scales(&job, err);
    if (code == QD_OK && rounded->grid->zero_kind != QD_ZERO_NONE)
        code = write_zeros(&job, err);
    return code == QD_OK ? write_shape(&job, err) : code;
}

qd_code qd_packed_write(const qd_model *model, const qd_grid_spec *spec, size_t variant,
                        const qd_rounded_source *source, const char *dir, qd_error *err)
{
    (void)variant;
    const target t = { spec, qd_packed_scale_dtype(spec->scale_type, qd_model_borrow_config(model)->dtype) };
    const qd_layer_writer layers = { write_layer, &t };
    if (t.scale_dtype == NULL)
        return qd_fail(err, QD_EINVAL, "scale.type: '%s' is not exact in this model", spec->scale_type->name);
    qd_code code = qd_weights_write(model, source, &layers, dir, err);
    if (code != QD_OK)
        return code;
    QD_AUTO(qd_json_fini) json_t *changes = json_pack("{s:o}", "quantization_config", qd_packed_config(spec));
    if (changes == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return qd_config_json_edit(qd_model_borrow_path(model), changes, dir, err);
}
