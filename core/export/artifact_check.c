/* artifact_check.c: nothing is published that was not read back from disk and found to be what was decided (design.md
 * §6). */
#include <math.h>
#include <string.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"
#include "export/artifact.h"
#include "export/config_edit.h"
#include "export/side_files.h"
#include "export/weights.h"

/* What one check is about. */
typedef struct comparison {
    const qd_model *source;
    const qd_artifact *artifact;
    const qd_format *format;
    size_t variant;
    const qd_rounded_source *decided;
} comparison;

/* Bit for bit: -0 and +0 differ, as they do in the files. */
static qd_code compare_weights(qd_cmatf found, qd_cmatf wanted, qd_error *err)
{
    for (size_t o = 0; o < wanted.rows; o++) {
        const float *a = qd_cmatf_row(found, o), *b = qd_cmatf_row(wanted, o);
        for (size_t i = 0; memcmp(a, b, wanted.cols * sizeof *a) != 0 && i < wanted.cols; i++)
            if (memcmp(a + i, b + i, sizeof *a) != 0)
                return qd_fail(err, QD_EFORMAT, "weight (%zu, %zu) is %.9g, decided was %.9g", o, i, (double)a[i],
                               (double)b[i]);
    }
    return QD_OK;
}

static qd_code compare_layer(const comparison *c, size_t index, qd_error *err)
{
    const qd_model *model = qd_artifact_model(c->artifact);
    const qd_linear *linear = qd_model_linear_at(model, index);
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf found = { 0 }, wanted = { 0 };
    qd_rounded rounded;
    qd_code code = qd_matf_buf_init(&found, linear->out, linear->in, err);
    if (code == QD_OK)
        code = qd_matf_buf_init(&wanted, linear->out, linear->in, err);
    if (code == QD_OK)
        code = c->decided->layer(c->decided->ctx, index, &rounded, err);
    if (code != QD_OK)
        return code;
    c->format->expected_weight(&rounded, c->variant, wanted.view);
    code = c->format->read_weight(model, linear, found.view, err);
    if (code == QD_OK)
        code = compare_weights(qd_matf_const(found.view), qd_matf_const(wanted.view), err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "layer '%s'", linear->name);
}

static qd_code row_of(const qd_tensor *tensor, size_t row, float *out, qd_error *err)
{
    return tensor->rank == 2 ? qd_tensor_rows_to_floats(tensor, row, 1, out, err)
                             : qd_tensor_to_floats(tensor, out, err);
}

/* A container that has not the source's type holds the same float32 values. */
static qd_code compare_values(const qd_tensor *found, const qd_tensor *wanted, qd_error *err)
{
    size_t rows = wanted->rank == 2 ? (size_t)wanted->shape[0] : 1;
    size_t width = wanted->elements / qd_max_size(rows, 1);
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf values = { 0 };
    qd_code code = qd_matf_buf_init(&values, 2, width, err);
    for (size_t row = 0; code == QD_OK && row < rows; row++) {
        float *a = qd_matf_row(values.view, 0), *b = qd_matf_row(values.view, 1);
        code = row_of(found, row, a, err);
        if (code == QD_OK)
            code = row_of(wanted, row, b, err);
        if (code == QD_OK && memcmp(a, b, width * sizeof(float)) != 0)
            return qd_fail(err, QD_EFORMAT, "tensor '%s' as %s is not what the source holds as %s, in row %zu",
                           wanted->name, found->dtype->name, wanted->dtype->name, row);
    }
    return code;
}

static qd_code compare_tensor(const comparison *c, const qd_tensor *wanted, qd_error *err)
{
    const qd_tensor *found = qd_model_tensor(qd_artifact_model(c->artifact), wanted->name);
    if (found == NULL)
        return qd_fail(err, QD_EFORMAT, "tensor '%s' of the source is missing", wanted->name);
    if (found->rank != wanted->rank || memcmp(found->shape, wanted->shape, wanted->rank * sizeof *wanted->shape) != 0)
        return qd_fail(err, QD_EFORMAT, "tensor '%s' has not the shape of the source's", wanted->name);
    if (found->dtype != wanted->dtype) {
        qd_code code = compare_values(found, wanted, err);
        return code == QD_OK ? qd_tensor_check_finite(found, err) : code;
    }
    if (memcmp(found->data, wanted->data, wanted->bytes) != 0)
        return qd_fail(err, QD_EFORMAT, "tensor '%s' is not the source's", wanted->name);
    return qd_tensor_check_finite(found, err);
}

/* A tensor that the source has not must be part of a quantized layer. */
static qd_code check_known(const comparison *c, const qd_tensor *tensor, qd_error *err)
{
    if (qd_model_tensor(c->source, tensor->name) != NULL)
        return QD_OK;
    for (size_t i = 0; i < qd_model_linear_count(c->source); i++) {
        const char *name = qd_model_linear_at(c->source, i)->name;
        size_t length = strlen(name);
        if (strncmp(tensor->name, name, length) == 0 && strncmp(tensor->name + length, ".weight_", 8) == 0)
            return QD_OK;
    }
    return qd_fail(err, QD_EFORMAT, "tensor '%s' is neither the source's nor a quantized layer's", tensor->name);
}

static qd_code compare_tensors(const comparison *c, qd_error *err)
{
    const qd_model *model = qd_artifact_model(c->artifact);
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < qd_model_tensor_count(c->source); i++) {
        size_t ignored;
        const qd_tensor *tensor = qd_model_tensor_at(c->source, i);
        if (qd_weights_linear(c->source, tensor, &ignored) == NULL)
            code = compare_tensor(c, tensor, err);
    }
    for (size_t i = 0; code == QD_OK && i < qd_model_tensor_count(model); i++)
        code = check_known(c, qd_model_tensor_at(model, i), err);
    return code;
}

static qd_code compare_all(const comparison *c, const qd_progress *progress, const qd_cancel *cancel, qd_error *err)
{
    const qd_model *model = qd_artifact_model(c->artifact);
    size_t count = qd_model_linear_count(c->source);
    if (qd_artifact_format(c->artifact) != c->format || qd_artifact_variant(c->artifact) != c->variant)
        return qd_fail(err, QD_EFORMAT, "the folder is not of format '%s'", c->format->name);
    if (qd_model_linear_count(model) != count)
        return qd_fail(err, QD_EFORMAT, "the folder has %zu linear layers, the source has %zu",
                       qd_model_linear_count(model), count);
    qd_code code = compare_tensors(c, err);
    for (size_t i = 0; code == QD_OK && i < count; i++) {
        code = qd_cancel_check(cancel, err);
        if (code == QD_OK)
            code = compare_layer(c, i, err);
        qd_progress_step(progress, i + 1, count, "layers");
    }
    return code;
}

/* What the manifest says of the tensors is what they are. */
static qd_code check_bits(const qd_artifact *artifact, const json_t *manifest, qd_error *err)
{
    double said = json_number_value(json_object_get(manifest, "bits_per_weight"));
    double found = qd_artifact_bits_per_weight(artifact);
    return fabs(said - found) <= 1e-9 * found
               ? QD_OK
               : qd_fail(err, QD_EFORMAT, "manifest.json: bits_per_weight is %.9g, the tensors hold %.9g", said, found);
}

qd_code qd_artifact_digest_weights(const qd_artifact *artifact, char *out_hex, qd_error *err)
{
    const qd_model *model = qd_artifact_model(artifact);
    const qd_overlay *overlay = qd_artifact_overlay(artifact);
    QD_AUTO(qd_digest_fini) qd_digest digest = { 0 };
    qd_code code = qd_digest_init(&digest, QD_SHA256, err);
    for (size_t i = 0; code == QD_OK && i < qd_model_linear_count(model); i++) {
        QD_AUTO(qd_matf_buf_fini) qd_matf_buf w = { 0 };
        const qd_linear *linear = qd_model_linear_at(model, i);
        code = qd_matf_buf_init(&w, linear->out, linear->in, err);
        if (code == QD_OK)
            code = overlay != NULL ? overlay->weight(overlay->ctx, i, linear, w.view, err)
                                   : qd_tensor_to_floats(linear->weight, w.view.data, err);
        if (code == QD_OK)
            code = qd_digest_add(&digest, w.view.data, linear->out * linear->in * sizeof(float), err);
    }
    if (code == QD_OK)
        qd_digest_hex(&digest, out_hex);
    return code;
}

qd_code qd_artifact_check(const char *dir, const qd_model *source_model, const qd_format *format, size_t variant,
                          const qd_rounded_source *decided, const qd_progress *progress, const qd_cancel *cancel,
                          qd_error *err)
{
    qd_artifact *artifact = NULL;
    QD_AUTO(qd_json_fini) json_t *manifest = NULL;
    const char *source_dir = qd_model_borrow_dir(source_model);
    qd_code code = qd_artifact_check_files(dir, &manifest, err);
    if (code == QD_OK)
        code = qd_side_files_compare(source_dir, dir, err);
    if (code == QD_OK)
        code = qd_config_json_compare(source_dir, dir, err);
    if (code == QD_OK)
        code = qd_artifact_open(dir, &artifact, err);
    if (code == QD_OK) {
        const comparison c = { source_model, artifact, format, variant, decided };
        code = compare_all(&c, progress, cancel, err);
        if (code == QD_OK)
            code = check_bits(artifact, manifest, err);
    }
    qd_artifact_destroy(artifact);
    return code;
}
