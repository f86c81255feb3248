/* publish.c: the exporting and verifying phases: the artifact is written to out_dir, described, opened again and
 * compared.
 *
 * Records beside the weights: certificate.json (every layer's record) and recipe.json (what was asked for, resolved,
 * and what it was made from). Nothing in them differs between two runs: no times, no names of hosts, no URLs; sources
 * stand as digests. */
#include <string.h>

#include "config.h"

#include "base/file.h"
#include "base/json.h"
#include "engine/context.h"
#include "export/artifact.h"

/* In work_dir: out_dir was begun by this run, or one before it. */
static const char marker[] = "exporting";

qd_code qd_publish_check(const qd_context *c, qd_error *err)
{
    char **names = NULL;
    size_t count = 0;
    QD_AUTO(qd_free_pointer) char *mark = qd_path_join(c->paths->work_dir, marker);
    QD_AUTO(qd_free_pointer) char *manifest = qd_path_join(c->paths->out_dir, "manifest.json");
    if (mark == NULL || manifest == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    if (!qd_path_exists(c->paths->out_dir) || qd_path_exists(mark) || qd_path_exists(manifest))
        return QD_OK;
    qd_code code = qd_dir_list(c->paths->out_dir, &names, &count, err);
    qd_names_free(names, count);
    if (code == QD_OK && count > 0)
        code = qd_fail(err, QD_ECONFLICT, "'%s' is neither empty nor an artifact: it would have to be removed",
                       c->paths->out_dir);
    return code;
}

static qd_code begin(const qd_context *c, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *mark = qd_path_join(c->paths->work_dir, marker);
    qd_code code = mark == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_publish_check(c, err);
    if (code == QD_OK)
        code = qd_file_write(mark, "", 0, err);
    if (code == QD_OK)
        code = qd_dir_remove(c->paths->out_dir, err);
    return code == QD_OK ? qd_dir_make(c->paths->out_dir, err) : code;
}

static qd_code append_record(const qd_context *c, size_t index, json_t *layers, qd_error *err)
{
    QD_AUTO(qd_checkpoint_fini) qd_checkpoint layer = { 0 };
    qd_code code = qd_context_read_layer(c, index, &layer, err);
    if (code != QD_OK)
        return code;
    json_object_del(layer.record, "seconds");
    return json_array_append(layers, layer.record) == 0 ? QD_OK : qd_fail(err, QD_ENOMEM, "out of memory");
}

/* certificate.json: every layer's record without what differs from run to run. */
static qd_code certificate_document(const qd_context *c, json_t **out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *layers = json_array();
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < qd_model_linear_count(c->model); i++)
        code = append_record(c, i, layers, err);
    if (code != QD_OK)
        return code;
    *out = json_pack("{s:{s:I, s:I, s:I, s:f}, s:O}", "summary", "layers", (json_int_t)json_array_size(layers),
                     "certified_layers", (json_int_t)c->summary.certified, "degraded_layers",
                     (json_int_t)c->summary.degraded, "relative_error", qd_summary_relative_error(&c->summary),
                     "layers", layers);
    return *out == NULL ? qd_fail(err, QD_EINTERNAL, "the certificate could not be described") : QD_OK;
}

/* The recipe without labels, secrets and places. */
static json_t *portable_recipe(const qd_context *c)
{
    json_t *recipe = qd_recipe_print(c->recipe);
    static const char *const labels[] = { "name", "tags", "model" };
    for (size_t i = 0; i < QD_LENGTH(labels); i++)
        json_object_del(recipe, labels[i]);
    json_object_del(json_object_get(recipe, "calibration"), "source");
    json_object_del(json_object_get(recipe, "evaluation"), "text");
    return recipe;
}

static qd_code recipe_document(const qd_context *c, json_t **out, qd_error *err)
{
    json_t *calibration = json_null();
    if (c->calibration.count > 0)
        calibration = json_pack("{s:I, s:I, s:s, s:s}", "sequences", (json_int_t)c->calibration.count, "length",
                                (json_int_t)c->calibration.length, "text_sha256", c->text_digest, "tokens_sha256",
                                c->calibration_digest);
    *out =
        json_pack("{s:o, s:{s:s, s:O}, s:o}", "recipe", portable_recipe(c), "source", "architecture",
                  qd_model_borrow_config(c->model)->architecture, "files", c->model_files, "calibration", calibration);
    if (*out == NULL)
        return qd_fail(err, QD_EINTERNAL, "the recipe could not be described");
    if (c->quantized != NULL)
        json_object_update(json_object_get(*out, "source"), c->quantized);
    return QD_OK;
}

/* Takes the document. */
static qd_code write_document(const qd_context *c, const char *name, json_t *document, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *text = json_dumps(document, JSON_INDENT(1));
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(c->paths->out_dir, name);
    json_decref(document);
    if (text == NULL || path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return qd_file_write(path, text, strlen(text), err);
}

static qd_code write_records(const qd_context *c, qd_error *err)
{
    json_t *document = NULL;
    qd_code code = certificate_document(c, &document, err);
    if (code == QD_OK)
        code = write_document(c, "certificate.json", document, err);
    if (code == QD_OK)
        code = recipe_document(c, &document, err);
    return code == QD_OK ? write_document(c, "recipe.json", document, err) : code;
}

/* What the manifest says besides the files. */
static json_t *manifest_facts(const qd_context *c, const json_t *perplexity)
{
    return json_pack("{s:{s:s, s:s}, s:s, s:O, s:{s:I, s:I, s:I}}", "generator", "name", "quantd", "version",
                     PACKAGE_VERSION, "algorithm", c->recipe->algorithm->name, "perplexity", perplexity, "certificates",
                     "layers", (json_int_t)qd_model_linear_count(c->model), "certified",
                     (json_int_t)c->summary.certified, "degraded", (json_int_t)c->summary.degraded);
}

qd_code qd_phase_export(qd_context *c, const json_t *perplexity, json_t **out_manifest, qd_error *err)
{
    const qd_recipe *r = c->recipe;
    QD_AUTO(qd_finished_fini) qd_finished finished = { .context = c };
    const qd_rounded_source source = { .layer = qd_finished_layer, .ctx = &finished };
    QD_AUTO(qd_json_fini) json_t *facts = manifest_facts(c, perplexity);
    qd_emit_phase(c->sink, "exporting");
    qd_code code = facts == NULL ? qd_fail(err, QD_EINTERNAL, "the manifest could not be described")
                                 : qd_cancel_check(c->cancel, err);
    if (code == QD_OK)
        code = begin(c, err);
    if (code == QD_OK)
        code = qd_artifact_write(r->formats[0].format, r->formats[0].variant, c->model, &r->grid, &source,
                                 c->paths->out_dir, err);
    if (code == QD_OK)
        code = write_records(c, err);
    if (code == QD_OK)
        code = qd_artifact_write_manifest(c->paths->out_dir, facts, out_manifest, err);
    if (code == QD_OK)
        code = qd_dir_sync(c->paths->out_dir, err);
    return code == QD_OK || code == QD_ECANCELLED ? code : qd_within(err, code, "exporting");
}

static void step(void *ctx, size_t done, size_t total, const char *unit)
{
    qd_meter *meter = ctx;
    meter->total = total;
    meter->unit = unit;
    qd_meter_step(meter, done);
}

qd_code qd_phase_verify(qd_context *c, qd_error *err)
{
    QD_AUTO(qd_finished_fini) qd_finished finished = { .context = c };
    const qd_rounded_source source = { .layer = qd_finished_layer, .ctx = &finished };
    qd_meter meter;
    qd_emit_phase(c->sink, "verifying");
    qd_meter_start(&meter, c->sink, "verifying", "layers", qd_model_linear_count(c->model));
    const qd_progress progress = { .step = step, .ctx = &meter };
    qd_code code = qd_artifact_check(c->paths->out_dir, c->model, c->recipe->formats[0].format,
                                     c->recipe->formats[0].variant, &source, &progress, c->cancel, err);
    return code == QD_OK || code == QD_ECANCELLED ? code : qd_within(err, code, "verifying");
}
