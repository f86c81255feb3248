/* format_compressed_tensors.c: compressed-tensors `pack-quantized`, codes of 2, 4 or 8 bits: what it holds and its config.json.
 * Layout: compressed_tensors.h; source: formats.md §4.1-4.4. */
#include <string.h>

#include "base/json.h"
#include "export/compressed_tensors.h"

static qd_code check(const qd_grid_spec *spec, size_t variant, qd_error *err)
{
    (void)variant;
    unsigned bits = qd_grid_code_bits(spec); /* three levels are codes of 2 bits */
    if (qd_grid_spec_levels(spec) != NULL)
        return qd_fail(
            err, QD_EINVAL,
            "alphabet: '%s' does not go with format 'compressed-tensors', which holds integers; use alphabet "
            "'int' or 'int-asymmetric', or format 'safetensors' (dequantized)",
            spec->alphabet->name);
    if (bits != 2 && bits != 4 && bits != 8)
        return qd_fail(
            err, QD_EINVAL,
            "bits: %g does not go with format 'compressed-tensors', which holds 1.58, 2, 4 or 8 bits; use one "
            "of these, or format 'safetensors' (dequantized)",
            spec->bits);
    if (spec->zero == QD_ZERO_FLOAT)
        return qd_fail(err, QD_EINVAL,
                       "alphabet: zero 'float' does not go with format 'compressed-tensors', whose zero points are "
                       "codes; use zero 'none' or 'integer', or format 'safetensors' (dequantized)");
    return QD_OK;
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
    (void)variant;
    if (spec->group_size != 0 && linear->in % spec->group_size != 0) {
        char divisors[200];
        list_divisors(linear->in, divisors, sizeof divisors);
        return qd_fail(err, QD_EINVAL,
                       "group_size: %zu does not divide the %zu input features of '%s', as format "
                       "'compressed-tensors' needs; sizes that do are %s, or 0 (the whole row); format 'safetensors' "
                       "(dequantized) takes any",
                       spec->group_size, linear->in, linear->name, divisors);
    }
    if (qd_packed_scale_dtype(spec->scale_type, model_dtype) == NULL)
        return qd_fail(err, QD_EINVAL,
                       "scale.type: '%s' does not go with format 'compressed-tensors' of this %s model, whose loaders "
                       "round scales to the model's type; use '%s', or format 'safetensors' (dequantized)",
                       spec->scale_type->name, model_dtype, strcmp(model_dtype, "F16") == 0 ? "f16" : "bf16");
    return QD_OK;
}

/* formats.md §4.3, complete; no scale_dtype or zp_dtype, which older loaders refuse. */
json_t *qd_packed_config(const qd_grid_spec *spec)
{
    json_t *weights = json_pack("{s:i, s:s, s:b, s:s, s:o, s:b, s:n, s:n, s:s, s:{}}", "num_bits",
                                (int)qd_grid_code_bits(spec), "type", "int", "symmetric", spec->zero == QD_ZERO_NONE,
                                "strategy", spec->group_size == 0 ? "channel" : "group", "group_size",
                                spec->group_size == 0 ? json_null() : json_integer((json_int_t)spec->group_size),
                                "dynamic", 0, "actorder", "block_structure", "observer", "minmax", "observer_kwargs");
    return json_pack("{s:s, s:s, s:s, s:n, s:n, s:[s], s:{s:{s:[s], s:n, s:n, s:o}}}", "quant_method",
                     "compressed-tensors", "format", "pack-quantized", "quantization_status", "compressed",
                     "global_compression_ratio", "kv_cache_scheme", "ignore", "lm_head", "config_groups", "group_0",
                     "targets", "Linear", "input_activations", "output_activations", "weights", weights);
}

/* A text member that has one value we can read. */
static qd_code need_text(const json_t *object, const char *key, const char *wanted, qd_error *err)
{
    const char *found = NULL;
    qd_code code = qd_json_text(object, key, "", &found, err);
    if (code == QD_OK && strcmp(found, wanted) != 0)
        code = qd_fail(err, QD_EUNSUPPORTED, "%s: '%.40s' is not supported; '%s' is", key, found, wanted);
    return code;
}

/* The one group's "weights"; NULL unless there is one group, of weights only, for every Linear. */
static const json_t *only_group(const json_t *config)
{
    const json_t *groups = json_object_get(config, "config_groups");
    if (json_object_size(groups) != 1)
        return NULL;
    const json_t *group = json_object_iter_value(json_object_iter((json_t *)(uintptr_t)groups));
    const json_t *targets = json_object_get(group, "targets");
    const char *target = json_string_value(json_array_get(targets, 0));
    const json_t *activations = json_object_get(group, "input_activations");
    if (json_array_size(targets) != 1 || target == NULL || strcmp(target, "Linear") != 0 ||
        (activations != NULL && !json_is_null(activations)))
        return NULL;
    return json_object_get(group, "weights");
}

static qd_code read_weights(const json_t *weights, qd_packed_scheme *out, qd_error *err)
{
    size_t bits = 0;
    const char *strategy = NULL;
    qd_code code = need_text(weights, "type", "int", err);
    if (code == QD_OK)
        code = qd_json_size(weights, "num_bits", 0, &bits, err);
    if (code == QD_OK && bits != 2 && bits != 4 && bits != 8)
        code = qd_fail(err, QD_EUNSUPPORTED, "num_bits: %zu is not supported; 2, 4 and 8 are", bits);
    if (code == QD_OK)
        code = qd_json_bool(weights, "symmetric", true, &out->symmetric, err);
    if (code == QD_OK)
        code = qd_json_text(weights, "strategy", "", &strategy, err);
    if (code == QD_OK)
        code = qd_json_size(weights, "group_size", 0, &out->group_size, err);
    if (code != QD_OK)
        return code;
    out->bits = (unsigned)bits;
    if (strcmp(strategy, out->group_size == 0 ? "channel" : "group") != 0)
        return qd_fail(err, QD_EFORMAT, "strategy: '%.40s' does not go with group_size %zu", strategy, out->group_size);
    const json_t *order = json_object_get(weights, "actorder");
    if (order != NULL && !json_is_null(order))
        return qd_fail(err, QD_EUNSUPPORTED, "actorder: columns out of order are not supported");
    return QD_OK;
}

qd_code qd_packed_scheme_read(const json_t *config, qd_packed_scheme *out, qd_error *err)
{
    const json_t *quantization = json_object_get(config, "quantization_config");
    if (!json_is_object(quantization))
        return qd_fail(err, QD_EFORMAT, "config.json: 'quantization_config' is missing");
    qd_code code = need_text(quantization, "quant_method", "compressed-tensors", err);
    if (code == QD_OK)
        code = need_text(quantization, "format", "pack-quantized", err);
    const json_t *weights = only_group(quantization);
    if (code == QD_OK && !json_is_object(weights))
        code = qd_fail(err, QD_EUNSUPPORTED, "config_groups: one group of weights for target 'Linear' is wanted");
    if (code == QD_OK)
        code = read_weights(weights, out, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "config.json: quantization_config");
}

static qd_code recognize(const json_t *config, const json_t *manifest, size_t *out_variant, qd_error *err)
{
    (void)manifest;
    const json_t *method = json_object_get(json_object_get(config, "quantization_config"), "quant_method");
    if (!json_is_string(method) || strcmp(json_string_value(method), "compressed-tensors") != 0)
        return QD_ENOTFOUND;
    qd_packed_scheme scheme;
    *out_variant = 0;
    return qd_packed_scheme_read(config, &scheme, err);
}

static void expected_weight(const qd_rounded *rounded, size_t variant, qd_matf w)
{
    (void)variant;
    qd_grid_dequantize(rounded->grid, rounded->codes, w);
}

const qd_format qd_format_compressed_tensors = {
    .name = "compressed-tensors",
    .summary = "compressed-tensors pack-quantized: loads in vLLM and transformers",
    .library = "transformers",
    .usage = "`vllm serve FOLDER`, or, with the package `compressed-tensors` installed,\n\n```python\n"
             "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
             "model = AutoModelForCausalLM.from_pretrained(\"FOLDER\")\n"
             "tokenizer = AutoTokenizer.from_pretrained(\"FOLDER\")\n```",
    .constraints = "integers of 1.58, 2, 4 or 8 bits; zero none or integer; group_size divides every row; scale.type "
                   "is the model's",
    .check = check,
    .check_layer = check_layer,
    .write = qd_packed_write,
    .recognize = recognize,
    .read_weight = qd_packed_read,
    .expected_weight = expected_weight,
};
