/* format_awq.c: AWQ "gemm": 4-bit codes with zero points: what it holds and its config.json.
 * Layout: gptq.h; source: formats.md §5. */
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "export/config_edit.h"
#include "export/gptq.h"
#include "export/weights.h"

static const char name[] = "awq";

static qd_code check(const qd_grid_spec *spec, size_t variant, qd_error *err)
{
    (void)variant;
    qd_code code = qd_gptq_check(spec, name, err);
    if (code != QD_OK)
        return code;
    if (spec->bits != 4)
        return qd_fail(err, QD_EINVAL,
                       "bits: %g does not go with format 'awq', which holds 4; use 4, or format 'gptq' or "
                       "'compressed-tensors'",
                       spec->bits);
    if (spec->group_size != 32 && spec->group_size != 64 && spec->group_size != 128)
        return qd_fail(
            err, QD_EINVAL,
            "group_size: %zu does not go with format 'awq', whose loaders know 32, 64 and 128; use one of these, "
            "or format 'gptq' or 'compressed-tensors'",
            spec->group_size);
    return QD_OK;
}

static const qd_format_field *implied(size_t variant)
{
    static const qd_format_field fields[] = { { "alphabet", "\"int-asymmetric\"" },
                                              { "scale/type", "\"half\"" },
                                              { NULL, NULL } };
    (void)variant;
    return fields;
}

static qd_code check_layer(const qd_grid_spec *spec, size_t variant, const qd_linear *linear, const char *model_dtype,
                           qd_error *err)
{
    (void)variant;
    (void)model_dtype;
    return qd_gptq_check_layer(spec, name, linear, err);
}

static qd_code write(const qd_model *model, const qd_grid_spec *spec, size_t variant, const qd_rounded_source *source,
                     const char *dir, qd_error *err)
{
    (void)variant;
    QD_AUTO(qd_json_fini) json_t *plain = json_array();
    qd_code code = qd_weights_name_plain(model, plain, err);
    if (code != QD_OK)
        return code;
    QD_AUTO(qd_json_fini)
    json_t *changes = json_pack("{s:{s:s, s:i, s:I, s:b, s:s, s:O}}", "quantization_config", "quant_method", "awq",
                                "bits", 4, "group_size", (json_int_t)spec->group_size, "zero_point", 1, "version",
                                "gemm", "modules_to_not_convert", json_array_size(plain) > 0 ? plain : json_null());
    if (changes == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    code = qd_gptq_write_weights(model, spec, QD_AWQ_GEMM, source, dir, err);
    return code == QD_OK ? qd_config_json_edit_packed(model, changes, dir, err) : code;
}

/* Older files say w_bit and q_group_size, and write the version in capitals. */
static qd_code read_scheme(const json_t *quantization, qd_gptq_scheme *out, qd_error *err)
{
    bool old = json_object_get(quantization, "bits") == NULL && json_object_get(quantization, "w_bit") != NULL;
    const char *version = NULL;
    qd_code code =
        qd_gptq_numbers_read(quantization, old ? "w_bit" : "bits", old ? "q_group_size" : "group_size", out, err);
    if (code == QD_OK)
        code = qd_json_text(quantization, "version", "gemm", &version, err);
    if (code != QD_OK)
        return code;
    if (out->bits != 4)
        return qd_fail(err, QD_EUNSUPPORTED, "bits: %u is not supported; 4 is", out->bits);
    if (strcasecmp(version, "gemm") != 0)
        return qd_fail(err, QD_EUNSUPPORTED, "version: '%.40s' is not supported; 'gemm' is", version);
    return QD_OK;
}

qd_code qd_awq_scheme_read(const json_t *config, qd_gptq_scheme *out, qd_error *err)
{
    const json_t *quantization = qd_quantization_of(config);
    const char *method = json_string_value(json_object_get(quantization, "quant_method"));
    *out = (qd_gptq_scheme){ .kind = QD_AWQ_GEMM };
    if (method == NULL || strcmp(method, "awq") != 0)
        return QD_ENOTFOUND;
    qd_code code = read_scheme(quantization, out, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "config.json: quantization_config");
}

static qd_code recognize(const json_t *config, const json_t *manifest, size_t *out_variant, qd_error *err)
{
    qd_gptq_scheme scheme;
    (void)manifest;
    *out_variant = 0;
    return qd_awq_scheme_read(config, &scheme, err);
}

static uint64_t layer_bytes(const qd_grid_spec *spec, size_t variant, const qd_linear *linear, const char *model_dtype)
{
    (void)variant;
    (void)model_dtype;
    return qd_gptq_layer_bytes(spec, QD_AWQ_GEMM, linear);
}

static const char *const loaders[] = { "vLLM", "transformers", NULL };

const qd_format qd_format_awq = {
    .name = name,
    .summary = "AWQ gemm checkpoint: 4 bits, loads in vLLM and transformers",
    .constraints = "integers of 4 bits; zero none or integer; group_size 32, 64 or 128 that divides every row; "
                   "scale.type half or f16; "
                   "rows and columns are multiples of 8",
    .implied = implied,
    .loaders = loaders,
    .library = "transformers",
    .usage = "`vllm serve FOLDER`, or, with the package `gptqmodel` or `autoawq` installed,\n\n```python\n"
             "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
             "model = AutoModelForCausalLM.from_pretrained(\"FOLDER\")\n"
             "tokenizer = AutoTokenizer.from_pretrained(\"FOLDER\")\n```",
    .parts = qd_gptq_parts,
    .check = check,
    .check_layer = check_layer,
    .layer_bytes = layer_bytes,
    .write = write,
    .recognize = recognize,
    .read_weight = qd_gptq_read_weight,
    .read_spec = qd_gptq_read_spec,
    .read_rounded = qd_gptq_read_rounded,
    .expected_weight = qd_gptq_expected_weight,
};
