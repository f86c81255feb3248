/* gguf_read.c: see gguf_read.h. */
#include "export/gguf_read.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "export/gguf_plan.h"
#include "quant/scale.h"

extern const qd_format qd_format_gguf;

/* The file alone looks like a source: our manifest tells what it is. */
qd_code qd_gguf_recognize(const json_t *config, const json_t *manifest, size_t *out_variant, qd_error *err)
{
    size_t variant = 0;
    (void)config;
    (void)err;
    const char *name = json_string_value(json_object_get(manifest, "format"));
    if (name == NULL || qd_format_find(name, &variant) != &qd_format_gguf)
        return QD_ENOTFOUND;
    *out_variant = variant;
    return QD_OK;
}

/* "model-q4_k.gguf", as we name it. */
bool qd_gguf_recognize_files(const qd_model *model, size_t *out_variant)
{
    const qd_ggml_encoder *encoder = NULL;
    for (size_t v = 0; qd_model_file_count(model) == 1 && (encoder = qd_ggml_encoder_at(v)) != NULL; v++) {
        char name[QD_GGUF_FILE_NAME];
        qd_gguf_file_name(encoder, name);
        if (strcmp(name, qd_model_file_at(model, 0)) == 0) {
            *out_variant = v;
            return true;
        }
    }
    return false;
}

void qd_gguf_plain_zeros(qd_matf w)
{
    for (size_t o = 0; o < w.rows; o++)
        for (size_t i = 0; i < w.cols; i++)
            qd_matf_row(w, o)[i] += 0.0f;
}

static qd_code need_weight(const qd_linear *linear, qd_error *err)
{
    return linear->weight != NULL ? QD_OK : qd_fail(err, QD_EFORMAT, "tensor '%s.weight' is missing", linear->name);
}

qd_code qd_gguf_read_weight(const qd_model *packed, const qd_linear *linear, qd_matf w, qd_error *err)
{
    (void)packed;
    qd_code code = need_weight(linear, err);
    if (code == QD_OK)
        code = qd_tensor_check_finite(linear->weight, err);
    for (size_t o = 0; code == QD_OK && o < linear->out; o++)
        code = qd_tensor_rows_to_floats(linear->weight, o, 1, qd_matf_row(w, o), err);
    if (code == QD_OK)
        qd_gguf_plain_zeros(w);
    return code;
}

static qd_code type_of(const qd_linear *linear, const qd_ggml_encoder **out, qd_error *err)
{
    qd_code code = need_weight(linear, err);
    if (code != QD_OK)
        return code;
    *out = qd_ggml_encoder_of(linear->weight->dtype->name);
    if (*out == NULL)
        return qd_fail(err, QD_EUNSUPPORTED, "layer '%s' is stored as %s, of which no grid is known here", linear->name,
                       linear->weight->dtype->name);
    return QD_OK;
}

qd_code qd_gguf_read_spec(const qd_model *packed, qd_grid_spec *out, qd_error *err)
{
    const qd_ggml_encoder *most = NULL, *encoder = NULL;
    uint64_t largest = 0;
    for (size_t v = 0; (encoder = qd_ggml_encoder_at(v)) != NULL; v++) {
        uint64_t weights = 0;
        for (size_t i = 0; i < qd_model_linear_count(packed); i++) {
            const qd_linear *linear = qd_model_linear_at(packed, i);
            if (linear->weight != NULL && strcmp(linear->weight->dtype->name, encoder->type) == 0)
                weights += linear->weight->elements;
        }
        if (weights > largest) {
            largest = weights;
            most = encoder;
        }
    }
    if (most == NULL)
        return qd_model_linear_count(packed) == 0 ? qd_fail(err, QD_EFORMAT, "the model has no linear layers")
                                                  : type_of(qd_model_linear_at(packed, 0), &most, err);
    *out = (qd_grid_spec){ .rule = qd_scale_rule_find("minmax"), .shrink = 1.0 };
    qd_ggml_encoder_grid(most, out);
    return QD_OK;
}

qd_code qd_gguf_read_rounded(const qd_model *packed, const qd_linear *linear, qd_grid *grid, uint8_t **out_codes,
                             qd_error *err)
{
    const qd_ggml_encoder *encoder = NULL;
    QD_AUTO(qd_grid_fini) qd_grid made = { 0 };
    QD_AUTO(qd_free_pointer) uint8_t *codes = NULL;
    float unit = 1.0f;
    (void)packed;
    qd_code code = type_of(linear, &encoder, err);
    if (code == QD_OK && linear->weight->scale != NULL)
        code = qd_tensor_to_floats(linear->weight->scale, &unit, err); /* one number (gguf_source.c) */
    if (code == QD_OK)
        code = qd_ggml_grid_init(encoder, linear->out, linear->in, &made, err);
    if (code == QD_OK)
        code = qd_alloc(linear->out, linear->in, (void **)&codes, err);
    size_t bytes = code == QD_OK ? qd_ggml_row_bytes(encoder, linear->in) : 0;
    for (size_t at = 0; code == QD_OK && at < linear->out; at++) {
        size_t row = qd_gguf_row_source(at, linear->weight->head_rows);
        code = qd_ggml_decode_row(encoder, linear->weight->data + at * bytes, unit, &made, row,
                                  codes + row * linear->in, linear->in, err);
    }
    if (code != QD_OK)
        return qd_within(err, code, "layer '%s'", linear->name);
    *grid = made;
    made = (qd_grid){ 0 };
    *out_codes = codes;
    codes = NULL;
    return QD_OK;
}
