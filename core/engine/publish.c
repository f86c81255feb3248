/* publish.c: the exporting phase: each format's container is written to its folder, with the records that are known by then.
 *
 * Records beside the weights: certificate.json (every layer's record) and recipe.json (what was asked for, resolved,
 * and what it was made from). Nothing in them differs between two runs: no times, no names of hosts, no URLs; sources
 * stand as digests. What is known only when the container was opened again follows in seal.c. */
#include <string.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "engine/arithmetic.h"
#include "engine/samples.h"
#include "engine/seal.h"
#include "export/artifact.h"

/* In work_dir: out_dir was begun by this run, or one before it. */
static const char marker[] = "exporting";

/* Neither empty nor an artifact is somebody else's. */
static qd_code check_ours(const char *dir, const char *what, qd_error *err)
{
    char **names = NULL;
    size_t count = 0;
    QD_AUTO(qd_free_pointer) char *manifest = qd_path_join(dir, "manifest.json");
    if (manifest == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    if (!qd_path_exists(dir) || qd_path_exists(manifest))
        return QD_OK;
    qd_code code = qd_dir_list(dir, &names, &count, err);
    qd_names_free(names, count);
    if (code == QD_OK && count > 0)
        code = qd_fail(err, QD_ECONFLICT, "'%s' is neither empty nor an artifact: %s", dir, what);
    return code;
}

qd_code qd_publish_check(const qd_context *c, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *mark = qd_path_join(c->paths->work_dir, marker);
    QD_AUTO(qd_free_pointer) char *quarantine = qd_quarantine_path(c->paths);
    if (mark == NULL || quarantine == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    qd_code code = qd_quarantine_in_place(c->paths)
                       ? QD_OK
                       : check_ours(quarantine, "an artifact that is not good enough would go there", err);
    if (code == QD_OK && !qd_path_exists(mark))
        code = check_ours(c->paths->out_dir, "it would have to be removed", err);
    return code;
}

static qd_code begin(const qd_context *c, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *mark = qd_path_join(c->paths->work_dir, marker);
    QD_AUTO(qd_free_pointer) char *quarantine = qd_quarantine_path(c->paths);
    qd_code code =
        mark == NULL || quarantine == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_publish_check(c, err);
    if (code == QD_OK)
        code = qd_file_write(mark, "", 0, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("export.marked", err);
    if (code == QD_OK && !qd_quarantine_in_place(c->paths))
        code = qd_dir_remove(quarantine, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("export.cleared", err);
    /* the folder itself stays: a confined run may write in it, and make none beside it */
    return code == QD_OK ? qd_dir_make_empty(c->paths->out_dir, err) : code;
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
    *out = json_pack("{s:{s:I, s:I, s:I, s:o, s:f}, s:O}", "summary", "layers", (json_int_t)json_array_size(layers),
                     "certified_layers", (json_int_t)c->summary.certified, "degraded_layers",
                     (json_int_t)c->summary.degraded, "experts", qd_summary_experts(&c->summary), "relative_error",
                     qd_summary_relative_error(&c->summary), "layers", layers);
    return *out == NULL ? qd_fail(err, QD_EINTERNAL, "the certificate could not be described") : QD_OK;
}

/* The recipe without labels, secrets, places, and whatever says how it is run and who is told. */
static json_t *portable_recipe(const qd_context *c)
{
    size_t i;
    json_t *task, *recipe = qd_recipe_print(c->recipe);
    qd_recipe_drop_labels(recipe);
    json_object_del(json_object_get(recipe, "calibration"), "source");
    json_object_del(json_object_get(recipe, "evaluation"), "text");
    json_object_del(json_object_get(recipe, "evaluation"), "also");
    json_array_foreach(json_object_get(json_object_get(recipe, "evaluation"), "tasks"), i, task)
        json_object_del(task, "data");
    json_object_set_new(recipe, "arithmetic",
                        json_string(qd_arithmetic_name(qd_recipe_arithmetic(c->recipe, c->model))));
    if (c->calibration_origin == QD_FROM_MODEL)
        json_object_set_new(json_object_get(recipe, "calibration"), "source", json_string(QD_SELF));
    if (c->evaluation_origin == QD_FROM_MODEL)
        json_object_set_new(json_object_get(recipe, "evaluation"), "text", json_string(QD_SELF));
    return recipe;
}

static qd_code recipe_document(const qd_context *c, json_t **out, qd_error *err)
{
    json_t *evaluation = json_pack("{s:o}", "sampled", qd_samples_print(c, QD_SAMPLES_EVALUATION));
    *out = json_pack("{s:o, s:{s:s, s:O}, s:o, s:o}", "recipe", portable_recipe(c), "source", "architecture",
                     qd_model_borrow_config(c->model)->architecture, "files", c->model_files, "calibration",
                     qd_calibration_print(c), "evaluation", evaluation);
    if (*out == NULL)
        return qd_fail(err, QD_EINTERNAL, "the recipe could not be described");
    if (c->quantized != NULL)
        json_object_update(json_object_get(*out, "source"), c->quantized);
    return QD_OK;
}

/* The documents of all formats are the same. */
typedef struct documents {
    json_t *certificate, *recipe;
} documents;

static void documents_fini(documents *d)
{
    json_decref(d->certificate);
    json_decref(d->recipe);
}

static qd_code write_document(const char *dir, const char *name, const json_t *document, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *text = json_dumps(document, JSON_INDENT(1));
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, name);
    if (text == NULL || path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return qd_file_write(path, text, strlen(text), err);
}

static qd_code export_one(const qd_context *c, size_t index, const documents *d, qd_error *err)
{
    const qd_format_choice *choice = &c->recipe->formats[index];
    QD_AUTO(qd_finished_fini) qd_finished finished = { .context = c };
    const qd_rounded_source source = { .layer = qd_finished_layer, .ctx = &finished };
    QD_AUTO(qd_free_pointer) char *dir = qd_context_folder(c, index);
    qd_code code = dir == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_cancel_check(c->cancel, err);
    if (code == QD_OK)
        code = qd_dir_make(dir, err);
    if (code == QD_OK)
        code = qd_artifact_write(choice->format, choice->variant, c->model, &c->recipe->grid, &source, dir, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("export.weights", err);
    if (code == QD_OK)
        code = write_document(dir, "certificate.json", d->certificate, err);
    if (code == QD_OK)
        code = write_document(dir, "recipe.json", d->recipe, err);
    if (code == QD_OK || code == QD_ECANCELLED)
        return code;
    return qd_within(err, code, "format '%s'", choice->format->name);
}

qd_code qd_phase_export(qd_context *c, qd_error *err)
{
    QD_AUTO(documents_fini) documents d = { 0 };
    qd_emit_phase(c->sink, "exporting");
    qd_code code = certificate_document(c, &d.certificate, err);
    if (code == QD_OK)
        code = recipe_document(c, &d.recipe, err);
    if (code == QD_OK)
        code = qd_cancel_check(c->cancel, err);
    if (code == QD_OK)
        code = begin(c, err);
    for (size_t i = 0; code == QD_OK && i < c->recipe->format_count; i++)
        code = export_one(c, i, &d, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("export.records", err);
    if (code == QD_OK)
        code = qd_seal_manifests(c, NULL, err);
    if (code == QD_OK)
        code = qd_dir_sync(c->paths->out_dir, err);
    return code == QD_OK || code == QD_ECANCELLED ? code : qd_within(err, code, "exporting");
}
