/* format_gptq.c: GPTQ checkpoints, v1 and v2: what they hold, config.json and quantize_config.json.
 * Layout: gptq.h; source: formats.md §5. */
#include <ctype.h>
#include <string.h>

#include "config.h"

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "export/config_edit.h"
#include "export/gptq.h"
#include "export/weights.h"

static const char *const variants[] = { "v1", "v2", NULL };
static const char *const names[] = { "gptq:v1", "gptq:v2" };
static const char *const checkpoint_formats[] = { "gptq", "gptq_v2" };

static qd_code check(const qd_grid_spec *spec, size_t variant, qd_error *err)
{
    unsigned bits = qd_grid_code_bits(spec); /* three levels are codes of 2 bits */
    qd_code code = qd_gptq_check(spec, names[variant], err);
    if (code != QD_OK)
        return code;
    if (bits != 2 && bits != 3 && bits != 4 && bits != 8)
        return qd_fail(
            err, QD_EINVAL,
            "bits: %g does not go with format '%s', which holds 1.58, 2, 3, 4 or 8 bits; use one of these, or "
            "format 'compressed-tensors'",
            spec->bits, names[variant]);
    /* mirrored zeros are 2^(b-1) or one less */
    if (variant == QD_GPTQ_V1 && spec->zero == QD_ZERO_INTEGER && !spec->scale_type->mirrored)
        return qd_fail(
            err, QD_EINVAL,
            "alphabet: zero 'integer' does not go with format 'gptq:v1', which stores the zero point less 1 and so "
            "has no zero point 0; use format 'gptq:v2', or zero 'none'");
    return QD_OK;
}

static const qd_format_field *implied(size_t variant)
{
    static const qd_format_field fields[] = { { "scale/type", "\"half\"" }, { NULL, NULL } };
    (void)variant;
    return fields;
}

static const char *note(const qd_grid_spec *spec, size_t variant)
{
    unsigned bits = qd_grid_code_bits(spec);
    (void)variant;
    if ((bits == 4 || bits == 8) && spec->zero == QD_ZERO_NONE)
        return NULL;
    return "vLLM loads GPTQ checkpoints of 4 and 8 bits without zero points only; GPTQModel and transformers load "
           "these too.";
}

static qd_code check_layer(const qd_grid_spec *spec, size_t variant, const qd_linear *linear, const char *model_dtype,
                           qd_error *err)
{
    (void)model_dtype;
    return qd_gptq_check_layer(spec, names[variant], linear, err);
}

static uint64_t layer_bytes(const qd_grid_spec *spec, size_t variant, const qd_linear *linear, const char *model_dtype)
{
    (void)model_dtype;
    return qd_gptq_layer_bytes(spec, (qd_gptq_kind)variant, linear);
}

static uint64_t repeated_bytes(size_t variant, const qd_linear *linear)
{
    enum { GROUP_BYTES = 4 };
    (void)variant;
    return GROUP_BYTES * (uint64_t)linear->in;
}

/* What GPTQ did it with (damping, order of the layers) is no part of the layout and stands in recipe.json. */
static json_t *describe(const qd_grid_spec *spec, size_t variant)
{
    return json_pack("{s:i, s:I, s:b, s:b, s:b, s:b, s:b, s:s, s:s, s:s, s:{s:[s]}}", "bits",
                     (int)qd_grid_code_bits(spec), "group_size",
                     spec->group_size == 0 ? (json_int_t)-1 : (json_int_t)spec->group_size, "desc_act", 0, "sym",
                     spec->zero == QD_ZERO_NONE, "lm_head", 0, "true_sequential", 1, "static_groups", 0, "quant_method",
                     "gptq", "checkpoint_format", checkpoint_formats[variant], "pack_dtype", "int32", "meta",
                     "quantizer", "quantd:" PACKAGE_VERSION);
}

/* "-:pattern" leaves a module out; here the pattern is the module's own path. */
static qd_code leave_out(json_t *dynamic, const char *module, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str pattern = { 0 };
    qd_str_add(&pattern, "-:^");
    for (const char *c = module; *c != '\0'; c++)
        qd_str_addf(&pattern, "%s%c", isalnum((unsigned char)*c) || *c == '_' ? "" : "\\", *c);
    qd_str_add(&pattern, "$");
    qd_code code = qd_str_check(&pattern, err);
    if (code == QD_OK && json_object_set_new(dynamic, pattern.data, json_object()) != 0)
        code = qd_fail(err, QD_ENOMEM, "out of memory");
    return code;
}

/* Routers and such, which loaders would take for packed. */
static qd_code name_plain(const qd_model *model, json_t *described, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *plain = json_array(), *dynamic = json_object();
    qd_code code = qd_weights_name_plain(model, plain, err);
    for (size_t i = 0; code == QD_OK && i < json_array_size(plain); i++)
        code = leave_out(dynamic, json_string_value(json_array_get(plain, i)), err);
    if (code == QD_OK && json_object_size(dynamic) > 0 && json_object_set(described, "dynamic", dynamic) != 0)
        code = qd_fail(err, QD_ENOMEM, "out of memory");
    return code;
}

static qd_code write(const qd_model *model, const qd_grid_spec *spec, size_t variant, const qd_rounded_source *source,
                     const char *dir, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *described = describe(spec, variant);
    qd_code code = name_plain(model, described, err);
    if (code != QD_OK)
        return code;
    QD_AUTO(qd_json_fini) json_t *changes = json_pack("{s:O}", "quantization_config", described);
    QD_AUTO(qd_free_pointer) char *text = described == NULL ? NULL : json_dumps(described, JSON_INDENT(2));
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, "quantize_config.json");
    if (changes == NULL || text == NULL || path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    code = qd_gptq_write_weights(model, spec, (qd_gptq_kind)variant, source, dir, err);
    if (code == QD_OK)
        code = qd_config_json_edit_packed(model, changes, dir, err);
    return code == QD_OK ? qd_file_write(path, text, strlen(text), err) : code;
}

/* Layers of other widths: "-:pattern" leaves layers out, which the tensors tell; "+:pattern" changes them. */
static qd_code check_dynamic(const json_t *quantization, qd_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(quantization, "dynamic"), key, value)
    {
        if (strncmp(key, "-:", 2) != 0)
            return qd_fail(err, QD_EUNSUPPORTED, "dynamic: '%.60s': layers with numbers of their own are not supported",
                           key);
    }
    return QD_OK;
}

static qd_code read_scheme(const json_t *quantization, qd_gptq_scheme *out, qd_error *err)
{
    const char *checkpoint = NULL;
    qd_code code = qd_json_text(quantization, "checkpoint_format", checkpoint_formats[0], &checkpoint, err);
    if (code == QD_OK)
        code = qd_gptq_numbers_read(quantization, "bits", "group_size", out, err);
    if (code == QD_OK)
        code = qd_json_bool(quantization, "sym", true, &out->symmetric, err);
    if (code == QD_OK)
        code = qd_json_bool(quantization, "desc_act", false, &out->ordered, err);
    if (code == QD_OK)
        code = check_dynamic(quantization, err);
    if (code != QD_OK)
        return code;
    if (out->bits != 2 && out->bits != 3 && out->bits != 4 && out->bits != 8)
        return qd_fail(err, QD_EUNSUPPORTED, "bits: %u is not supported; 2, 3, 4 and 8 are", out->bits);
    for (size_t v = 0; v < QD_LENGTH(checkpoint_formats); v++)
        if (strcmp(checkpoint, checkpoint_formats[v]) == 0) {
            out->kind = (qd_gptq_kind)v;
            return QD_OK;
        }
    return qd_fail(err, QD_EUNSUPPORTED, "checkpoint_format: '%.40s' is not supported; '%s' and '%s' are", checkpoint,
                   checkpoint_formats[0], checkpoint_formats[1]);
}

qd_code qd_gptq_scheme_read(const json_t *config, qd_gptq_scheme *out, qd_error *err)
{
    const json_t *quantization = qd_quantization_of(config);
    const char *method = json_string_value(json_object_get(quantization, "quant_method"));
    *out = (qd_gptq_scheme){ 0 };
    if (method == NULL || strcmp(method, "gptq") != 0)
        return QD_ENOTFOUND;
    qd_code code = read_scheme(quantization, out, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "config.json: quantization_config");
}

static qd_code recognize(const json_t *config, const json_t *manifest, size_t *out_variant, qd_error *err)
{
    qd_gptq_scheme scheme;
    (void)manifest;
    qd_code code = qd_gptq_scheme_read(config, &scheme, err);
    if (code == QD_OK)
        *out_variant = scheme.kind;
    return code;
}

static const char *const loaders[] = { "vLLM", "transformers", NULL };

const qd_format qd_format_gptq = {
    .name = "gptq",
    .summary = "GPTQ checkpoint: loads in vLLM, transformers and GPTQModel",
    .variants = variants,
    .constraints = "integers of 1.58, 2, 3, 4 or 8 bits; zero none, or integer in v2; group_size divides every row; "
                   "scale.type half or "
                   "f16; rows and columns are multiples of 32 / bits (of 32 at 3 bits)",
    .implied = implied,
    .loaders = loaders,
    .library = "transformers",
    .usage = "`vllm serve FOLDER`, or, with the package `gptqmodel` installed,\n\n```python\n"
             "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
             "model = AutoModelForCausalLM.from_pretrained(\"FOLDER\")\n"
             "tokenizer = AutoTokenizer.from_pretrained(\"FOLDER\")\n```",
    .parts = qd_gptq_parts,
    .note = note,
    .check = check,
    .check_layer = check_layer,
    .layer_bytes = layer_bytes,
    .repeated_bytes = repeated_bytes,
    .write = write,
    .recognize = recognize,
    .read_weight = qd_gptq_read_weight,
    .read_spec = qd_gptq_read_spec,
    .read_rounded = qd_gptq_read_rounded,
    .expected_weight = qd_gptq_expected_weight,
};
