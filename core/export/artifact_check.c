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

/* Rows at once: a vocabulary is never widened whole. */
static qd_code same_numbers(const qd_tensor *found, const qd_tensor *wanted, qd_error *err)
{
    enum { CHUNK = 1 << 20 };
    bool matrix = wanted->rank == 2 && wanted->shape[0] > 0;
    size_t rows = matrix ? (size_t)wanted->shape[0] : 1, width = (size_t)wanted->elements / rows;
    size_t step = matrix ? qd_min_size(rows, qd_max_size(1, CHUNK / qd_max_size(1, width))) : 1;
    QD_AUTO(qd_free_pointer) float *values = NULL;
    qd_code code = qd_alloc(2 * step, width * sizeof *values, (void **)&values, err);
    for (size_t row = 0, count; code == QD_OK && row < rows; row += count) {
        count = qd_min_size(step, rows - row);
        float *other = values + count * width;
        code =
            matrix ? qd_tensor_rows_to_floats(found, row, count, values, err) : qd_tensor_to_floats(found, values, err);
        if (code == QD_OK)
            code = matrix ? qd_tensor_rows_to_floats(wanted, row, count, other, err)
                          : qd_tensor_to_floats(wanted, other, err);
        if (code == QD_OK && memcmp(values, other, count * width * sizeof *values) != 0)
            code = qd_fail(err, QD_EFORMAT, "tensor '%s' has not the source's numbers", wanted->name);
    }
    return code;
}

/* Piece by piece: of neither more than that is resident. */
static bool same_bytes(const qd_tensor *found, const qd_tensor *wanted)
{
    enum { PIECE = 16 << 20 };
    bool same = true;
    for (size_t at = 0; same && at < wanted->bytes; at += PIECE) {
        size_t count = qd_min_size(PIECE, wanted->bytes - at);
        same = memcmp(found->data + at, wanted->data + at, count) == 0;
        qd_tensor_release(found, found->data + at, count);
        qd_tensor_release(wanted, wanted->data + at, count);
    }
    return same;
}

qd_code qd_artifact_check_kept(const qd_tensor *found, const qd_tensor *wanted, qd_error *err)
{
    bool same_type = found->dtype == wanted->dtype;
    if ((!same_type && strcmp(found->dtype->name, "F32") != 0) || found->rank != wanted->rank ||
        memcmp(found->shape, wanted->shape, wanted->rank * sizeof *wanted->shape) != 0)
        return qd_fail(err, QD_EFORMAT, "tensor '%s' has not the type or shape of the source's", wanted->name);
    if (same_type && qd_tensor_is_plain(found) && qd_tensor_is_plain(wanted)) {
        if (!same_bytes(found, wanted))
            return qd_fail(err, QD_EFORMAT, "tensor '%s' is not the source's", wanted->name);
    } else {
        qd_code code = same_numbers(found, wanted, err);
        if (code != QD_OK)
            return code;
    }
    return qd_tensor_check_finite(found, err);
}

static qd_code compare_tensor(const comparison *c, const qd_tensor *wanted, qd_error *err)
{
    const qd_tensor *found = qd_model_tensor(qd_artifact_model(c->artifact), wanted->name);
    if (found == NULL && c->format->leaves_out != NULL && c->format->leaves_out(c->source, wanted))
        return QD_OK;
    if (found == NULL)
        return qd_fail(err, QD_EFORMAT, "tensor '%s' of the source is missing", wanted->name);
    return qd_artifact_check_kept(found, wanted, err);
}

static bool is_part(const qd_format *format, const char *part)
{
    for (size_t k = 0; format->parts != NULL && format->parts[k] != NULL; k++)
        if (strcmp(format->parts[k], part) == 0)
            return true;
    return strcmp(part, "weight") == 0;
}

/* A tensor that is not copied from the source must be part of a quantized layer, as the format has them. */
static qd_code check_known(const comparison *c, const qd_tensor *tensor, qd_error *err)
{
    size_t ignored;
    const qd_linear *linear = qd_weights_linear(c->source, tensor, &ignored);
    if (linear == NULL && qd_model_tensor(c->source, tensor->name) != NULL)
        return QD_OK;
    if (linear != NULL && is_part(c->format, tensor->name + strlen(linear->name) + 1))
        return QD_OK;
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
    const char *source_dir = qd_model_borrow_path(source_model);
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
