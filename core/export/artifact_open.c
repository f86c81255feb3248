/* artifact_open.c: the reading half of artifact.h: a folder as a model whose linear weights its format reads. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "export/artifact.h"
#include "export/config_edit.h"
#include "export/manifest.h"

struct qd_artifact {
    qd_model *model;
    const qd_format *format; /* NULL = plain */
    size_t variant;
    qd_overlay overlay;
};

void qd_artifact_destroy(qd_artifact *artifact)
{
    if (artifact == NULL)
        return;
    qd_model_destroy(artifact->model);
    free(artifact);
}

static qd_code read_overlay(void *ctx, size_t linear_index, const qd_linear *linear, qd_matf w, qd_error *err)
{
    const qd_artifact *artifact = ctx;
    (void)linear_index;
    return artifact->format->read_weight(artifact->model, linear, w, err);
}

/* The row of the table whose folder this is; plain when no row claims it. */
static qd_code recognize(const char *dir, qd_artifact *artifact, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *config = NULL, *manifest = NULL;
    qd_code code = qd_config_json_read_quantized(dir, &config, err);
    if (code == QD_OK)
        code = qd_manifest_peek(dir, &manifest, err);
    if (code != QD_OK || qd_model_reads_quantization(json_object_get(config, "quantization_config")))
        return code; /* 8-bit floats are numbers without any format's help, whoever wrote them */
    for (size_t i = 0; qd_format_at(i) != NULL; i++) {
        code = qd_format_at(i)->recognize(config, manifest, &artifact->variant, err);
        if (code == QD_OK)
            artifact->format = qd_format_at(i);
        if (code != QD_ENOTFOUND)
            return code;
    }
    return QD_OK;
}

enum { PREFIX_BYTES = 640 };
/* Bytes of all tensors "NAME.something"; the model has them in order of their names. */
static uint64_t bytes_below(const qd_model *model, const char *name)
{
    char prefix[PREFIX_BYTES];
    int length = snprintf(prefix, sizeof prefix, "%s.", name);
    size_t low = 0, high = qd_model_tensor_count(model);
    uint64_t bytes = 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(qd_model_tensor_at(model, middle)->name, prefix) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (const qd_tensor *t; (t = qd_model_tensor_at(model, low)) != NULL; low++) {
        if (strncmp(t->name, prefix, (size_t)length) != 0)
            break;
        bytes += t->bytes;
    }
    return bytes;
}

/* A packed layer's size is told by config.json alone: before anybody makes room for its weights, its tensors must have at least one bit for
 * each. */
static qd_code check_room(const qd_model *model, qd_error *err)
{
    for (size_t i = 0; i < qd_model_linear_count(model); i++) {
        const qd_linear *linear = qd_model_linear_at(model, i);
        uint64_t bytes = bytes_below(model, linear->name), weights;
        if (__builtin_mul_overflow(linear->out, linear->in, &weights) || weights / 8 > bytes)
            return qd_fail(err, QD_EFORMAT,
                           "layer '%s': %zu x %zu weights by config.json, but its tensors have %" PRIu64 " bytes",
                           linear->name, linear->out, linear->in, bytes);
    }
    return QD_OK;
}

static qd_code open_artifact(const char *dir, qd_artifact *artifact, qd_error *err)
{
    qd_code code = recognize(dir, artifact, err);
    if (code != QD_OK &&
        qd_manifest_refuse_root(dir, err) != QD_OK) /* a better reason than that it has no config.json */
        return QD_EUNSUPPORTED;
    if (code != QD_OK)
        return qd_within(err, code, "artifact '%s'", dir);
    artifact->overlay = (qd_overlay){ .weight = read_overlay, .ctx = artifact };
    if (artifact->format == NULL) {
        code = qd_model_open(dir, &artifact->model, err);
        for (size_t i = 0; code == QD_OK && artifact->format == NULL && qd_format_at(i) != NULL; i++) {
            const qd_format *format = qd_format_at(i);
            if (format->recognize_files != NULL && format->recognize_files(artifact->model, &artifact->variant))
                artifact->format = format;
        }
        return code;
    }
    const qd_layer_finder finder = { artifact->format->find_layer, NULL };
    code = finder.find == NULL ? qd_model_open_packed(dir, &artifact->model, err)
                               : qd_model_open_packed_any(dir, &finder, &artifact->model, err);
    return code == QD_OK ? check_room(artifact->model, err) : code;
}

qd_code qd_artifact_open(const char *dir, qd_artifact **out, qd_error *err)
{
    qd_artifact *artifact = NULL;
    qd_code code = qd_alloc(1, sizeof *artifact, (void **)&artifact, err);
    if (code == QD_OK)
        code = open_artifact(dir, artifact, err);
    if (code != QD_OK) {
        qd_artifact_destroy(artifact);
        return code;
    }
    *out = artifact;
    return QD_OK;
}

const qd_model *qd_artifact_model(const qd_artifact *artifact)
{
    return artifact->model;
}

const qd_overlay *qd_artifact_overlay(const qd_artifact *artifact)
{
    return artifact->format == NULL ? NULL : &artifact->overlay;
}

const qd_format *qd_artifact_format(const qd_artifact *artifact)
{
    return artifact->format;
}

size_t qd_artifact_variant(const qd_artifact *artifact)
{
    return artifact->variant;
}
