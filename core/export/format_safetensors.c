/* format_safetensors.c: dequantized weights in plain safetensors, for grids that no packed container holds. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "export/config_edit.h"
#include "export/format.h"
#include "export/shard_writer.h"

static const char *const variants[] = { "f32", "bf16", "f16", NULL };
/* dtype in the file and in config.json, by variant. */
static const char *const dtypes[] = { "F32", "BF16", "F16" };
static const char *const config_names[] = { "float32", "bfloat16", "float16" };

static qd_code check(const qd_grid_spec *spec, size_t variant, qd_error *err)
{
    (void)spec;
    (void)variant;
    (void)err;
    return QD_OK; /* any grid has float32 values */
}

static qd_code check_layer(const qd_grid_spec *spec, size_t variant, const qd_linear *linear, const char *model_dtype,
                           qd_error *err)
{
    (void)linear;
    (void)model_dtype;
    return check(spec, variant, err);
}

/* Values as stored: float32 rounded to the variant's type and widened again. */
static void expected_weight(const qd_rounded *rounded, size_t variant, qd_matf w)
{
    const qd_dtype *dtype = qd_dtype_find(dtypes[variant]);
    qd_grid_dequantize(rounded->grid, rounded->codes, w);
    for (size_t o = 0; variant != 0 && o < w.rows; o++)
        for (size_t i = 0; i < w.cols; i++) {
            unsigned char stored[8];
            float *at = qd_matf_row(w, o) + i;
            dtype->from_floats(at, 1, stored);
            dtype->to_floats(stored, 1, at);
        }
}

static qd_code write_layer(qd_shard_writer *w, const qd_linear *linear, const qd_rounded *rounded, size_t variant,
                           qd_error *err)
{
    const qd_dtype *dtype = qd_dtype_find(dtypes[variant]);
    size_t count = linear->out * linear->in;
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf values = { 0 };
    void *data = NULL;
    qd_code code = qd_matf_buf_init(&values, linear->out, linear->in, err);
    if (code == QD_OK)
        code = qd_alloc(count, dtype->bits / 8, &data, err);
    if (code != QD_OK)
        return code;
    qd_grid_dequantize(rounded->grid, rounded->codes, values.view);
    dtype->from_floats(values.view.data, count, data);
    const uint64_t shape[] = { linear->out, linear->in };
    return qd_shard_writer_take(w, linear->weight->name, dtype->name, 2, shape, data, err);
}

static const qd_linear *linear_of(const qd_model *model, const qd_tensor *tensor, size_t *out_index)
{
    for (size_t i = 0; i < qd_model_linear_count(model); i++)
        if (qd_model_linear_at(model, i)->weight == tensor) {
            *out_index = i;
            return qd_model_linear_at(model, i);
        }
    return NULL;
}

static qd_code write_weights(const qd_model *model, size_t variant, const qd_rounded_source *source, qd_shard_writer *w,
                             qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < qd_model_tensor_count(model); i++) {
        size_t index = 0;
        const qd_tensor *tensor = qd_model_tensor_at(model, i);
        const qd_linear *linear = linear_of(model, tensor, &index);
        qd_rounded rounded;
        if (linear == NULL)
            code = qd_shard_writer_copy(w, tensor, err);
        else {
            code = source->layer(source->ctx, index, &rounded, err);
            if (code == QD_OK)
                code = write_layer(w, linear, &rounded, variant, err);
        }
    }
    return code == QD_OK ? qd_shard_writer_finish(w, err) : code;
}

static qd_code write(const qd_model *model, const qd_grid_spec *spec, size_t variant, const qd_rounded_source *source,
                     const char *dir, qd_error *err)
{
    (void)spec;
    const char *key = NULL;
    QD_AUTO(qd_shard_writer_fini) qd_shard_writer writer = { 0 };
    qd_code code = qd_config_dtype_key(qd_model_borrow_dir(model), &key, err);
    if (code == QD_OK)
        code = qd_shard_writer_init(&writer, dir, 0, err);
    if (code == QD_OK)
        code = write_weights(model, variant, source, &writer, err);
    if (code != QD_OK)
        return code;
    QD_AUTO(qd_json_fini) json_t *changes = json_pack("{s:s}", key, config_names[variant]);
    return qd_config_edit(qd_model_borrow_dir(model), changes, dir, err);
}

static qd_code read_weight(const qd_model *packed, const qd_linear *linear, qd_matf w, qd_error *err)
{
    (void)packed;
    if (linear->weight == NULL)
        return qd_fail(err, QD_EFORMAT, "tensor '%s.weight' is missing", linear->name);
    qd_code code = qd_tensor_check_finite(linear->weight, err);
    return code == QD_OK ? qd_tensor_to_floats(linear->weight, w.data, err) : code;
}

const qd_format qd_format_safetensors = {
    .name = "safetensors",
    .summary = "dequantized weights in plain safetensors: holds any grid, loads everywhere, saves no space",
    .variants = variants,
    .constraints = "any grid; variants f32 (exact), bf16, f16 (rounded)",
    .check = check,
    .check_layer = check_layer,
    .write = write,
    .read_weight = read_weight,
    .expected_weight = expected_weight,
};
