/* format_compressed_tensors.c: compressed-tensors in four variants: what each holds and its config.json.
 * Layout: compressed_tensors.h; source: formats.md §4.1-4.4. */
#include <string.h>

#include "base/json.h"
#include "export/compressed_tensors.h"
#include "export/config_edit.h"
#include "quant/pack.h"

#define INSTEAD "format 'safetensors' (dequantized)"

/* ---- which grids ---- */

static qd_code check_integers(const qd_grid_spec *spec, const char *name, qd_error *err)
{
    if (qd_grid_spec_levels(spec) != NULL)
        return qd_fail(err, QD_EINVAL,
                       "alphabet: '%s' does not go with format '%s', which holds integers; use alphabet 'int' or "
                       "'int-asymmetric', or " INSTEAD,
                       spec->alphabet->name, name);
    if (spec->zero == QD_ZERO_FLOAT)
        return qd_fail(err, QD_EINVAL,
                       "alphabet: zero 'float' does not go with format '%s', whose zero points are codes; use zero "
                       "'none' or 'integer', or " INSTEAD,
                       name);
    if (!qd_scale_type_is_free(spec->scale_type))
        return qd_fail(err, QD_EINVAL,
                       "scale.type: '%s' does not go with format '%s', whose scales are numbers by themselves; use "
                       "'bf16', 'f16' or 'half'",
                       spec->scale_type->name, name);
    return QD_OK;
}

static qd_code check_packed(const qd_grid_spec *spec, qd_error *err)
{
    unsigned bits = qd_grid_code_bits(spec); /* three levels are codes of 2 bits */
    qd_code code = check_integers(spec, "compressed-tensors", err);
    if (code != QD_OK || (bits >= 2 && bits <= 8))
        return code;
    return qd_fail(err, QD_EINVAL,
                   "bits: %g does not go with format 'compressed-tensors', which holds 1.58 and 2 to 8 bits",
                   spec->bits);
}

/* W8A8: clients round activations as well, token by token, and know one scale a row. */
static qd_code check_bytes(const qd_grid_spec *spec, qd_error *err)
{
    static const char name[] = "compressed-tensors:int-quantized";
    qd_code code = check_integers(spec, name, err);
    if (code != QD_OK)
        return code;
    if (spec->bits != 8)
        return qd_fail(err, QD_EINVAL,
                       "bits: %g does not go with format '%s', which holds 8; use 8, or format "
                       "'compressed-tensors:pack-quantized'",
                       spec->bits, name);
    if (spec->zero != QD_ZERO_NONE)
        return qd_fail(
            err, QD_EINVAL,
            "alphabet: zero '%s' does not go with format '%s', which has none; use alphabet 'int', or format "
            "'compressed-tensors:pack-quantized'",
            qd_zero_kind_name(spec->zero), name);
    if (spec->group_size != 0)
        return qd_fail(err, QD_EINVAL,
                       "group_size: %zu does not go with format '%s', which has one scale a row; use 0, or format "
                       "'compressed-tensors:pack-quantized'",
                       spec->group_size, name);
    return QD_OK;
}

/* The two kinds of scaled E2M1. */
static qd_code check_fp4(const qd_grid_spec *spec, qd_packing packing, qd_error *err)
{
    bool mx = packing == QD_PACK_MXFP4;
    const char *name = mx ? "compressed-tensors:mxfp4-pack-quantized" : "compressed-tensors:nvfp4-pack-quantized";
    const char *scale = mx ? "e8m0" : "e4m3";
    size_t group = mx ? 32 : 16;
    const qd_levels *levels = qd_grid_spec_levels(spec);
    if (levels == NULL || levels != qd_alphabet_find("e2m1")->levels)
        return qd_fail(err, QD_EINVAL,
                       "alphabet: '%s' does not go with format '%s', which holds %s; use that, or " INSTEAD,
                       spec->alphabet->name, name, mx ? "'mxfp4'" : "'nvfp4'");
    if (spec->group_size != group)
        return qd_fail(err, QD_EINVAL, "group_size: %zu does not go with format '%s', which has groups of %zu",
                       spec->group_size, name, group);
    if (spec->scale_type != qd_scale_type_find(scale))
        return qd_fail(err, QD_EINVAL, "scale.type: '%s' does not go with format '%s', whose scales are '%s'",
                       spec->scale_type->name, name, scale);
    return QD_OK;
}

static qd_code check(const qd_grid_spec *spec, size_t variant, qd_error *err)
{
    switch ((qd_packing)variant) {
    case QD_PACK_INT:
        return check_packed(spec, err);
    case QD_PACK_INT8:
        return check_bytes(spec, err);
    case QD_PACK_MXFP4:
    case QD_PACK_NVFP4:
        return check_fp4(spec, (qd_packing)variant, err);
    }
    return qd_fail(err, QD_EINTERNAL, "format 'compressed-tensors' has no variant %zu", variant);
}

static const qd_format_field *implied(size_t variant)
{
    static const qd_format_field bytes[] = { { "bits", "8" }, { "group_size", "0" }, { NULL, NULL } };
    static const qd_format_field mxfp4[] = { { "alphabet", "\"mxfp4\"" }, { NULL, NULL } };
    static const qd_format_field nvfp4[] = { { "alphabet", "\"nvfp4\"" }, { NULL, NULL } };
    static const qd_format_field *const fields[] = { NULL, bytes, mxfp4, nvfp4 };
    return fields[variant];
}

static const char *note(const qd_grid_spec *spec, size_t variant)
{
    unsigned bits = qd_grid_code_bits(spec);
    if (variant == QD_PACK_INT8)
        return "Loaders round the inputs of every layer to 8 bits as well, token by token (W8A8).";
    if (variant != QD_PACK_INT)
        return NULL;
    if (bits != 2 && bits != 4 && bits != 8)
        return "Codes are packed densely, as compressed-tensors has it from 0.18.0 on: earlier versions read another "
               "layout of 3, 5, 6 and 7 bits.";
    return spec->zero == QD_ZERO_NONE ? NULL
                                      : "With zero points transformers needs `quantization_config="
                                        "CompressedTensorsConfig(dequantize=True)`: compressed-tensors 0.20.0 cannot "
                                        "load them packed.";
}

/* The divisors of `in` that are usable as group sizes, as a list. */
static void list_divisors(size_t in, char *out, size_t size)
{
    size_t used = 0;
    for (size_t d = 16; d <= in && d <= 1024 && used + 8 < size; d++)
        if (in % d == 0)
            used += (size_t)snprintf(out + used, size - used, "%s%zu", used == 0 ? "" : ", ", d);
    if (used == 0)
        snprintf(out, size, "%zu", in);
}

/* A loader copies scales into parameters of the model's type (formats.md §4.4): store what survives that, refuse the
 * rest. bf16 values in an F16 model: 8 significant bits fit 11, and scales below 2^-17 are rare (they stay BF16, see
 * write_scales). */
const qd_dtype *qd_packed_scale_dtype(const qd_scale_type *type, const char *model_dtype)
{
    if (strcmp(model_dtype, "F32") == 0)
        return qd_dtype_find(type->dtype);
    bool kept =
        strcmp(model_dtype, type->dtype) == 0 || (strcmp(model_dtype, "F16") == 0 && strcmp(type->dtype, "BF16") == 0);
    return kept ? qd_dtype_find(model_dtype) : NULL;
}

static qd_code check_layer(const qd_grid_spec *spec, size_t variant, const qd_linear *linear, const char *model_dtype,
                           qd_error *err)
{
    bool integers = variant == QD_PACK_INT || variant == QD_PACK_INT8;
    if (spec->group_size != 0 && linear->in % spec->group_size != 0) {
        char divisors[200];
        list_divisors(linear->in, divisors, sizeof divisors);
        return qd_fail(err, QD_EINVAL,
                       "group_size: %zu does not divide the %zu input features of '%s', as format "
                       "'compressed-tensors' needs; sizes that do are %s, or 0 (the whole row); format 'safetensors' "
                       "(dequantized) takes any",
                       spec->group_size, linear->in, linear->name, divisors);
    }
    if (integers && qd_packed_scale_dtype(spec->scale_type, model_dtype) == NULL)
        return qd_fail(err, QD_EINVAL,
                       "scale.type: '%s' does not go with format 'compressed-tensors' of this %s model, whose loaders "
                       "round scales to the model's type; use '%s', or format 'safetensors' (dequantized)",
                       spec->scale_type->name, model_dtype, strcmp(model_dtype, "F16") == 0 ? "f16" : "bf16");
    return QD_OK;
}

/* By the shapes of compressed_tensors.h. */
static uint64_t layer_bytes(const qd_grid_spec *spec, size_t variant, const qd_linear *linear, const char *model_dtype)
{
    enum { GLOBAL_SCALE_BYTES = 4 };
    qd_grid grid = { 0 };
    qd_grid_shape(spec, linear->in, &grid);
    uint64_t out = linear->out, scales = out * grid.groups, bits = qd_grid_code_bits(spec);
    if (variant == QD_PACK_MXFP4 || variant == QD_PACK_NVFP4)
        return out * (linear->in / 2) + scales + (variant == QD_PACK_NVFP4 ? GLOBAL_SCALE_BYTES : 0);
    const qd_dtype *type = qd_packed_scale_dtype(spec->scale_type, model_dtype);
    uint64_t scale_bytes = scales * (type == NULL ? 2 : type->bits / 8);
    if (variant == QD_PACK_INT8)
        return out * linear->in + scale_bytes;
    uint64_t zero_bytes = spec->zero == QD_ZERO_NONE ? 0 : 4 * qd_pack_words(linear->out, (unsigned)bits) * grid.groups;
    return 4 * out * qd_pack_words(linear->in, (unsigned)bits) + scale_bytes + zero_bytes;
}

static uint64_t repeated_bytes(size_t variant, const qd_linear *linear)
{
    enum { SHAPE_BYTES = 16 };
    (void)linear;
    return variant == QD_PACK_INT ? SHAPE_BYTES : 0;
}

/* ---- config.json ---- */

/* formats.md §4.3, complete; no scale_dtype or zp_dtype with integers, which older loaders refuse. */
static json_t *describe_weights(const qd_grid_spec *spec, qd_packing packing)
{
    bool is_float = packing == QD_PACK_MXFP4 || packing == QD_PACK_NVFP4;
    const char *strategy = packing == QD_PACK_NVFP4 ? "tensor_group" : spec->group_size == 0 ? "channel" : "group";
    const char *dtype = packing == QD_PACK_MXFP4 ? "torch.uint8" : "torch.float8_e4m3fn";
    json_t *weights =
        json_pack("{s:i, s:s, s:b, s:s, s:o, s:b, s:n, s:n, s:s, s:{}}", "num_bits", (int)qd_grid_code_bits(spec),
                  "type", is_float ? "float" : "int", "symmetric", spec->zero == QD_ZERO_NONE, "strategy", strategy,
                  "group_size", spec->group_size == 0 ? json_null() : json_integer((json_int_t)spec->group_size),
                  "dynamic", 0, "actorder", "block_structure", "observer", "minmax", "observer_kwargs");
    if (is_float) {
        json_object_set_new(weights, "scale_dtype", json_string(dtype));
        json_object_set_new(weights, "zp_dtype", json_string(dtype));
    }
    return weights;
}

json_t *qd_packed_config(const qd_grid_spec *spec, qd_packing packing)
{
    json_t *inputs = packing != QD_PACK_INT8 ? json_null()
                                             : json_pack("{s:i, s:s, s:b, s:s, s:b}", "num_bits", 8, "type", "int",
                                                         "symmetric", 1, "strategy", "token", "dynamic", 1);
    return json_pack("{s:s, s:s, s:s, s:n, s:n, s:[s], s:{s:{s:[s], s:o, s:n, s:o}}}", "quant_method",
                     "compressed-tensors", "format", qd_packing_names[packing], "quantization_status", "compressed",
                     "global_compression_ratio", "kv_cache_scheme", "ignore", "lm_head", "config_groups", "group_0",
                     "targets", "Linear", "input_activations", inputs, "output_activations", "weights",
                     describe_weights(spec, packing));
}

static qd_code recognize(const json_t *config, const json_t *manifest, size_t *out_variant, qd_error *err)
{
    (void)manifest;
    const json_t *method = json_object_get(qd_quantization_of(config), "quant_method");
    if (!json_is_string(method) || strcmp(json_string_value(method), "compressed-tensors") != 0)
        return QD_ENOTFOUND;
    qd_packed_scheme scheme;
    qd_code code = qd_packed_scheme_read(config, &scheme, err);
    if (code == QD_OK)
        *out_variant = scheme.packing;
    return code;
}

static void expected_weight(const qd_rounded *rounded, size_t variant, qd_matf w)
{
    (void)variant;
    qd_grid_dequantize(rounded->grid, rounded->codes, w);
}

static const char *caution(const qd_model *source)
{
    return qd_model_linear_at(source, 0)->in_out
               ? "transformers does not load it: it knows no packed Conv1D layers, as "
                 "this architecture has, and would leave them at random numbers; "
                 "what the format safetensors writes it loads"
               : NULL;
}

static const char *const parts[] = { "weight_packed", "weight",       "weight_scale",        "weight_zero_point",
                                     "weight_shape",  "weight_g_idx", "weight_global_scale", NULL };

static const char *const loaders[] = { "vLLM", "transformers", NULL };

const qd_format qd_format_compressed_tensors = {
    .name = "compressed-tensors",
    .summary = "compressed-tensors: loads in vLLM and transformers",
    .variants = qd_packing_names,
    .constraints =
        "pack-quantized: integers of 1.58 or 2 to 8 bits (3, 5, 6 and 7 need compressed-tensors 0.18.0 or later), zero "
        "none or integer; int-quantized: 8 bits, zero none, group_size 0, inputs rounded too (W8A8); "
        "mxfp4-pack-quantized: alphabet mxfp4; nvfp4-pack-quantized: alphabet nvfp4. "
        "group_size divides every row; scale.type is the model's",
    .implied = implied,
    .parts = parts,
    .note = note,
    .loaders = loaders,
    .library = "transformers",
    .usage = "`vllm serve FOLDER`, or, with the package `compressed-tensors` installed,\n\n```python\n"
             "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
             "model = AutoModelForCausalLM.from_pretrained(\"FOLDER\")\n"
             "tokenizer = AutoTokenizer.from_pretrained(\"FOLDER\")\n```",
    .check = check,
    .check_layer = check_layer,
    .layer_bytes = layer_bytes,
    .repeated_bytes = repeated_bytes,
    .write = qd_packed_write,
    .find_layer = qd_packed_find_layer,
    .caution = caution,
    .recognize = recognize,
    .read_weight = qd_packed_read_weight,
    .read_spec = qd_packed_read_spec,
    .read_rounded = qd_packed_read_rounded,
    .expected_weight = expected_weight,
};
