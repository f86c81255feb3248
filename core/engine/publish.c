/* publish.c: the exporting and verifying phases: the artifact is written to out_dir, described, opened again and compared. */
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "engine/context.h"
#include "export/artifact.h"

/* certificate.json: every layer's record without what differs from run to run. */
static qd_code certificate_document(const qd_context *c, json_t **out, qd_error *err)
{
    json_t *layers = json_array();
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < qd_model_linear_count(c->model); i++) {
        QD_AUTO(qd_checkpoint_fini) qd_checkpoint layer = { 0 };
        code = qd_checkpoint_read(c->paths->work_dir, i, c->keys[i], qd_model_linear_at(c->model, i), &c->recipe->grid,
                                  &layer, err);
        if (code != QD_OK)
            break;
        json_object_del(layer.record, "seconds");
        json_array_append(layers, layer.record);
    }
    if (code != QD_OK) {
        json_decref(layers);
        return code;
    }
    *out = json_pack("{s:{s:I, s:I, s:I}, s:o}", "summary", "layers", (json_int_t)json_array_size(layers),
                     "certified_layers", (json_int_t)c->certified, "degraded_layers", (json_int_t)c->degraded, "layers",
                     layers);
    return *out == NULL ? qd_fail(err, QD_EINTERNAL, "the certificate could not be described") : QD_OK;
}

static qd_code write_certificate(const qd_context *c, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *document = NULL;
    qd_code code = certificate_document(c, &document, err);
    if (code != QD_OK)
        return code;
    QD_AUTO(qd_free_pointer) char *text = json_dumps(document, JSON_INDENT(1));
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(c->paths->out_dir, "certificate.json");
    if (text == NULL || path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return qd_file_write(path, text, strlen(text), err);
}

/* What the manifest says besides the files: the recipe, where it came from, what it reached. Nothing that differs between two runs. */
static json_t *manifest_facts(const qd_context *c, const json_t *perplexity)
{
    json_t *recipe = qd_recipe_print(c->recipe);
    json_object_del(recipe, "name");
    json_object_del(recipe, "tags");
    json_object_del(recipe, "model");
    return json_pack("{s:{s:s, s:s}, s:o, s:{s:O, s:s}, s:s, s:O, s:{s:I, s:I, s:I}}", "generator", "name", "quantd",
                     "version", "0.1.0", "recipe", recipe, "source", "files", c->model_files, "architecture",
                     qd_model_borrow_config(c->model)->architecture, "calibration_tokens_sha256", c->calibration_digest,
                     "perplexity", perplexity, "certificates", "layers", (json_int_t)qd_model_linear_count(c->model),
                     "certified", (json_int_t)c->certified, "degraded", (json_int_t)c->degraded);
}

static qd_code write_all(const qd_context *c, const qd_rounded_source *source, const json_t *perplexity,
                         json_t **out_manifest, qd_error *err)
{
    const qd_recipe *r = c->recipe;
    qd_code code = qd_dir_remove(c->paths->out_dir, err);
    if (code == QD_OK)
        code = qd_dir_make(c->paths->out_dir, err);
    if (code == QD_OK)
        code = qd_artifact_write(r->format, r->format_variant, c->model, &r->grid, source, c->paths->out_dir, err);
    if (code == QD_OK)
        code = write_certificate(c, err);
    if (code != QD_OK)
        return code;
    QD_AUTO(qd_json_fini) json_t *facts = manifest_facts(c, perplexity);
    if (facts == NULL)
        return qd_fail(err, QD_EINTERNAL, "the manifest could not be described");
    code = qd_artifact_write_manifest(c->paths->out_dir, facts, out_manifest, err);
    return code == QD_OK ? qd_dir_sync(c->paths->out_dir, err) : code;
}

static void step(void *ctx, size_t done, size_t total, const char *unit)
{
    qd_meter *meter = ctx;
    meter->total = total;
    meter->unit = unit;
    qd_meter_step(meter, done);
}

qd_code qd_phase_export(qd_context *c, const json_t *perplexity, double *out_bits_per_weight, uint64_t *out_size,
                        qd_error *err)
{
    QD_AUTO(qd_finished_fini) qd_finished finished = { .context = c };
    const qd_rounded_source source = { .layer = qd_finished_layer, .ctx = &finished };
    QD_AUTO(qd_json_fini) json_t *manifest = NULL;
    qd_emit_phase(c->sink, "exporting");
    qd_code code = write_all(c, &source, perplexity, &manifest, err);
    if (code != QD_OK)
        return qd_within(err, code, "exporting");
    qd_emit_phase(c->sink, "verifying");
    qd_meter meter;
    qd_meter_start(&meter, c->sink, "verifying", "layers", qd_model_linear_count(c->model));
    const qd_progress progress = { .step = step, .ctx = &meter };
    code = qd_artifact_check(c->paths->out_dir, c->model, c->recipe->format, c->recipe->format_variant, &source,
                             &progress, c->cancel, err);
    if (code != QD_OK)
        return code == QD_ECANCELLED ? code : qd_within(err, code, "verifying");
    *out_bits_per_weight = json_number_value(json_object_get(manifest, "bits_per_weight"));
    *out_size = 0;
    size_t index;
    json_t *file;
    json_array_foreach(json_object_get(manifest, "files"), index, file) *out_size +=
        (uint64_t)json_integer_value(json_object_get(file, "size"));
    return QD_OK;
}
