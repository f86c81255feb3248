/* seal.c: see seal.h. */
#include "engine/seal.h"

#include <string.h>

#include "config.h"

#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "engine/model_card.h"
#include "engine/provenance.h"
#include "export/artifact.h"

char *qd_quarantine_path(const qd_run_paths *paths)
{
    const char *out_dir = paths->out_dir;
    QD_AUTO(qd_str_fini) qd_str path = { 0 };
    size_t length = strlen(out_dir);
    if (paths->quarantine_dir != NULL)
        return strdup(paths->quarantine_dir);
    while (length > 1 && out_dir[length - 1] == '/')
        length--;
    qd_str_add_bytes(&path, out_dir, length);
    qd_str_add(&path, ".quarantined");
    return qd_str_take(&path);
}

bool qd_quarantine_in_place(const qd_run_paths *paths)
{
    return paths->quarantine_dir != NULL && strcmp(paths->quarantine_dir, paths->out_dir) == 0;
}

/* What every manifest says besides its files. */
static json_t *common_facts(const qd_context *c)
{
    return json_pack("{s:{s:s, s:s}, s:s, s:{s:I, s:I, s:I}, s:o, s:s?}", "generator", "name", "quantd", "version",
                     PACKAGE_VERSION, "algorithm", c->recipe->algorithm->name, "certificates", "layers",
                     (json_int_t)qd_model_linear_count(c->model), "certified", (json_int_t)c->summary.certified,
                     "degraded", (json_int_t)c->summary.degraded, "calibration", qd_calibration_print(c), "arithmetic",
                     qd_context_arithmetic_name(c));
}

/* Bytes of the files that a manifest lists. */
static json_int_t size_of(const json_t *manifest)
{
    size_t index;
    const json_t *file;
    json_int_t size = 0;
    json_array_foreach(json_object_get(manifest, "files"), index, file)
    {
        size += json_integer_value(json_object_get(file, "size"));
    }
    return size;
}

static json_t *measured_facts(const qd_context *c, size_t index, json_t *facts)
{
    if (c->measured.made) {
        json_object_set_new(facts, "evaluation", qd_evaluation_print(&c->evaluation));
        json_object_set_new(facts, "perplexity", qd_measured_perplexity(&c->measured, &c->evaluation, index));
        json_object_set_new(facts, "kl", qd_measured_kl(&c->measured, index));
        if (c->evaluation.text_count > 1)
            json_object_set_new(facts, "texts", qd_measured_texts(&c->measured, &c->evaluation, index));
    }
    if (c->tasks.made)
        json_object_set_new(facts, "tasks", qd_task_scores_print(&c->tasks, index));
    return facts;
}

/* One format's manifest, and the entry that speaks of it: appended to `entries`. */
static qd_code write_one(const qd_context *c, size_t index, json_t *entries, json_t **out_manifest, qd_error *err)
{
    char place[QD_FORMAT_NAME];
    QD_AUTO(qd_json_fini) json_t *facts = measured_facts(c, index, common_facts(c)), *manifest = NULL;
    QD_AUTO(qd_free_pointer) char *dir = qd_context_folder(c, index);
    qd_code code = facts == NULL || dir == NULL ? qd_fail(err, QD_ENOMEM, "out of memory")
                                                : qd_artifact_write_manifest(dir, facts, &manifest, err);
    if (code != QD_OK)
        return code;
    json_t *entry =
        json_pack("{s:O, s:s, s:O, s:I, s:o, s:o}", "format", json_object_get(manifest, "format"), "path",
                  qd_context_place(c, index, place), "bits_per_weight", json_object_get(manifest, "bits_per_weight"),
                  "size", size_of(manifest), "perplexity", qd_measured_own_perplexity(&c->measured, index), "kl",
                  qd_measured_own_kl(&c->measured, index));
    if (json_array_append_new(entries, entry) != 0)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    if (c->recipe->format_count == 1) { /* what a root says of its folders, a folder that is the root says of itself */
        json_object_set(manifest, "formats", entries);
        json_object_set_new(manifest, "provenance", json_string(QD_PROVENANCE_NAME));
        code = qd_artifact_rewrite_manifest(dir, manifest, err);
    }
    *out_manifest = json_incref(manifest);
    return code;
}

/* The manifest of out_dir as a whole: "formats" is what there is, each at its "path". */
qd_code qd_seal_manifests(const qd_context *c, json_t **out_root, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *entries = json_array(), *root = NULL, *facts = NULL;
    qd_code code = entries == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
    for (size_t i = 0; code == QD_OK && i < c->recipe->format_count; i++) {
        json_decref(root);
        root = NULL;
        code = write_one(c, i, entries, &root, err);
    }
    if (code == QD_OK && c->recipe->format_count > 1) {
        json_decref(root);
        root = NULL;
        facts = common_facts(c);
        json_object_set(facts, "formats", entries);
        json_object_set_new(facts, "provenance", json_string(QD_PROVENANCE_NAME));
        code = qd_artifact_write_root_manifest(c->paths->out_dir, facts, &root, err);
    }
    if (code == QD_OK && out_root != NULL)
        *out_root = json_incref(root);
    return code;
}

static qd_code read_manifest(const char *dir, json_t **out, qd_error *err)
{
    enum { LIMIT = 64 << 20, DEPTH = 16 };
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, "manifest.json");
    return path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_json_read_object(path, LIMIT, DEPTH, out, err);
}

/* Files that were compared while they were opened are listed with the same digests still. */
static qd_code check_unchanged(const char *dir, const json_t *before, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *after = NULL;
    size_t index, at = 0;
    const json_t *file;
    qd_code code = read_manifest(dir, &after, err);
    const json_t *files = json_object_get(after, "files");
    json_array_foreach(json_object_get(before, "files"), index, file)
    {
        while (code == QD_OK && at < json_array_size(files) && !json_equal(json_array_get(files, at), file))
            at++; /* both are sorted by path */
        if (code == QD_OK && at == json_array_size(files))
            code = qd_fail(err, QD_EFORMAT, "file '%.200s' changed after it was compared",
                           json_string_value(json_object_get(file, "path")));
    }
    return code;
}

static qd_code write_card(const qd_context *c, size_t index, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    QD_AUTO(qd_free_pointer) char *dir = qd_context_folder(c, index);
    QD_AUTO(qd_free_pointer) char *path = dir == NULL ? NULL : qd_path_join(dir, "README.md");
    QD_AUTO(qd_json_fini) json_t *manifest = NULL;
    qd_code code = path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : read_manifest(dir, &manifest, err);
    if (code == QD_OK)
        code = qd_model_card(c, index, manifest, &text, err);
    return code == QD_OK ? qd_file_write(path, qd_str_borrow(&text), text.length, err) : code;
}

qd_code qd_seal(const qd_context *c, json_t **out_root, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *before = json_array();
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < c->recipe->format_count; i++) {
        json_t *manifest = NULL;
        QD_AUTO(qd_free_pointer) char *dir = qd_context_folder(c, i);
        code = dir == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : read_manifest(dir, &manifest, err);
        json_array_append_new(before, manifest);
        if (code == QD_OK)
            code = write_card(c, i, err);
    }
    if (code == QD_OK)
        code = QD_FAULT_CODE("seal.cards", err);
    if (code == QD_OK)
        code = qd_seal_manifests(c, out_root, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("seal.manifests", err);
    for (size_t i = 0; code == QD_OK && i < c->recipe->format_count; i++) {
        QD_AUTO(qd_free_pointer) char *dir = qd_context_folder(c, i);
        code = dir == NULL ? qd_fail(err, QD_ENOMEM, "out of memory")
                           : check_unchanged(dir, json_array_get(before, i), err);
        if (code == QD_OK)
            code = qd_dir_sync(dir, err);
    }
    if (code == QD_OK)
        code = qd_provenance_write(c, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("seal.provenance", err);
    return code == QD_OK ? qd_dir_sync(c->paths->out_dir, err) : code;
}
