/* format_safetensors.c: dequantized weights in plain safetensors, for grids that no packed container holds. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "export/config_edit.h"
#include "export/format.h"
#include "export/stored.h"
#include "export/weights.h"

enum { CHUNK = 256 };

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

static uint64_t layer_bytes(const qd_grid_spec *spec, size_t variant, const qd_linear *linear, const char *model_dtype)
{
    (void)spec;
    (void)model_dtype;
    return (uint64_t)linear->out * linear->in * qd_dtype_find(dtypes[variant])->bits / 8;
}

/* Values as stored: float32 rounded to the variant's type and widened again. */
static void expected_weight(const qd_rounded *rounded, size_t variant, qd_matf w)
{
    const qd_dtype *dtype = qd_dtype_find(dtypes[variant]);
    qd_rounded_weights(rounded, w);
    for (size_t o = 0; o < w.rows; o++)
        for (size_t i = 0; i < w.cols; i += CHUNK) {
            float stored[CHUNK], *at = qd_matf_row(w, o) + i; /* room for the widest type */
            size_t count = qd_min_size(CHUNK, w.cols - i);
            dtype->from_floats(at, count, stored);
            dtype->to_floats(stored, count, at);
        }
}

static qd_code check_fits(const qd_dtype *dtype, const void *stored, qd_matf values, qd_error *err)
{
    const qd_tensor made = { .name = "weight",
                             .dtype = dtype,
                             .elements = values.rows * values.cols,
                             .data = stored,
                             .bytes = values.rows * values.cols * dtype->bits / 8 };
    qd_code code = qd_tensor_check_finite(&made, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "format 'safetensors': a value does not fit %s", dtype->name);
}

/* The values as the model's files have them: some as their transpose. */
static qd_code arranged_values(const qd_linear *linear, const qd_rounded *rounded, qd_matf_buf *out, qd_error *err)
{
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf values = { 0 };
    if (!linear->in_out) {
        qd_code code = qd_matf_buf_init(out, linear->out, linear->in, err);
        if (code == QD_OK)
            qd_rounded_weights(rounded, out->view);
        return code;
    }
    qd_code code = qd_matf_buf_init(&values, linear->out, linear->in, err);
    if (code == QD_OK)
        code = qd_matf_buf_init(out, linear->in, linear->out, err);
    if (code != QD_OK)
        return code;
    qd_rounded_weights(rounded, values.view);
    for (size_t o = 0; o < linear->out; o++)
        for (size_t i = 0; i < linear->in; i++)
            qd_matf_row(out->view, i)[o] = qd_matf_row(values.view, o)[i];
    return QD_OK;
}

static qd_code write_layer(const void *ctx, qd_shard_writer *writer, const qd_linear *linear, const qd_rounded *rounded,
                           qd_error *err)
{
    const qd_dtype *dtype = ctx;
    size_t count = linear->out * linear->in;
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf values = { 0 };
    void *data = NULL;
    qd_code code = arranged_values(linear, rounded, &values, err);
    if (code == QD_OK)
        code = qd_alloc(count, dtype->bits / 8, &data, err);
    if (code != QD_OK)
        return code;
    dtype->from_floats(values.view.data, count, data);
    code = check_fits(dtype, data, values.view, err);
    if (code != QD_OK) {
        free(data);
        return code;
    }
    char name[QD_PART_NAME];
    const uint64_t shape[] = { values.view.rows, values.view.cols };
    snprintf(name, sizeof name, "%s.weight", linear->name);
    return qd_shard_writer_take(writer, name, dtype->name, 2, shape, data, err);
}

static qd_code write(const qd_model *model, const qd_grid_spec *spec, size_t variant, const qd_rounded_source *source,
                     const char *dir, qd_error *err)
{
    (void)spec;
    const qd_dtype *dtype = qd_dtype_find(dtypes[variant]);
    const qd_layer_writer layers = { write_layer, dtype };
    qd_code code = qd_weights_write(model, source, &layers, dir, err);
    if (code != QD_OK)
        return code;
    /* Loaders turn every tensor into the config's type: the variant's where the other tensors have it too, else
     * float32, which holds both. */
    bool same = strcmp(qd_model_borrow_config(model)->dtype, dtype->name) == 0;
    return qd_config_json_set_dtype(qd_model_borrow_path(model), config_names[same ? variant : 0], dir, err);
}

/* Nothing but our manifest tells such a folder from a source model. */
static qd_code recognize(const json_t *config, const json_t *manifest, size_t *out_variant, qd_error *err)
{
    const char *name = json_string_value(json_object_get(manifest, "format"));
    size_t variant = 0;
    if (name == NULL || json_object_get(config, "quantization_config") != NULL)
        return QD_ENOTFOUND;
    const qd_format *format = qd_format_find(name, &variant);
    if (format == NULL)
        return QD_ENOTFOUND;
    if (format->variants != variants)
        return qd_fail(err, QD_EFORMAT, "manifest.json: format '%s', but config.json has no quantization_config", name);
    *out_variant = variant;
    return QD_OK;
}

static qd_code read_weight(const qd_model *packed, const qd_linear *linear, qd_matf w, qd_error *err)
{
    (void)packed;
    return qd_plain_weight(linear, w, err);
}

static const char *const loaders[] = { "vLLM", "transformers", NULL };

const qd_format qd_format_safetensors = {
    .name = "safetensors",
    .summary = "dequantized weights in plain safetensors: holds any grid, loads everywhere, saves no space",
    .variants = variants,
    .loaders = loaders,
    .library = "transformers",
    .usage = "As any model folder: `vllm serve FOLDER`, or\n\n```python\n"
             "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
             "model = AutoModelForCausalLM.from_pretrained(\"FOLDER\")\n"
             "tokenizer = AutoTokenizer.from_pretrained(\"FOLDER\")\n```\n\n"
             "llama.cpp takes it through its `convert_hf_to_gguf.py`.",
    .constraints = "any grid; variants f32 (exact), bf16, f16 (rounded)",
    .off_grid = true,
    .check = check,
    .check_layer = check_layer,
    .layer_bytes = layer_bytes,
    .write = write,
    .recognize = recognize,
    .read_weight = read_weight,
    .expected_weight = expected_weight,
};
