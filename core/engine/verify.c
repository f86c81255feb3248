/* verify.c: qd_verify: see run.h. Nothing here believes the writer: everything is read from the folder. */
#include "engine/verify.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "engine/attest.h"
#include "engine/run.h"
#include "engine/transformed.h"
#include "quant/container.h"

enum { FINDINGS_MAX = 100, RECORD_LIMIT = 256 << 20, RECORD_DEPTH = 16 };

void qd_findings_add(qd_findings *findings, const char *where, const char *format, ...)
{
    char detail[600];
    va_list args;
    if (json_array_size(findings->lines) >= FINDINGS_MAX)
        return;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    json_t *line = json_pack("{s:s, s:s}", "where", where, "detail", detail);
    if (line == NULL) /* bytes of the folder that are no text */
        line = json_pack("{s:s, s:s}", "where", "?", "detail", "damaged in a way that cannot be shown as text");
    json_array_append_new(findings->lines, line);
}

/* A record of the folder; a finding and NULL where there is none, or it is no JSON. */
static json_t *read_record(const char *dir, const char *name, qd_findings *findings)
{
    json_t *out = NULL;
    qd_error why = { 0 };
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, name);
    if (path == NULL || qd_json_read_object(path, RECORD_LIMIT, RECORD_DEPTH, &out, &why) != QD_OK)
        qd_findings_add(findings, name, "%s", why.text);
    return out;
}

qd_slack qd_slack_of(const qd_linear *stored)
{
    const char *dtype = stored->weight == NULL ? "F32" : stored->weight->dtype->name;
    if (strcmp(dtype, "BF16") == 0)
        return (qd_slack){ .relative = 0x1p-8 };
    if (strcmp(dtype, "F16") == 0)
        return (qd_slack){ .relative = 0x1p-10, .absolute = 0x1p-24 };
    return (qd_slack){ .relative = 0x1p-21 };
}

qd_slack qd_slack_of_row(const qd_linear *stored, const qd_hadamard *basis, qd_cmatf q, size_t row)
{
    qd_slack s = qd_slack_of(stored);
    double size = 0;
    for (size_t i = 0; basis != NULL && i < q.cols; i++)
        size += (double)qd_cmatf_row(q, row)[i] * (double)qd_cmatf_row(q, row)[i];
    return basis == NULL ? s : (qd_slack){ .absolute = s.relative * sqrt(size) + s.absolute * sqrt((double)q.cols) };
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Values in a group of a row, as many as the grid has codes at most; such as are no further apart than `blur` count as one. The row is
 * sorted in place. */
static size_t count_values(float *values, size_t count, double blur)
{
    size_t distinct = count > 0;
    qsort(values, count, sizeof *values, compare_floats);
    for (size_t i = 1; i < count; i++)
        distinct += (double)values[i] - (double)values[i - 1] > blur;
    return distinct;
}

static bool are_finite(const qd_linear *linear, qd_cmatf w, qd_findings *findings)
{
    for (size_t o = 0; o < w.rows; o++)
        for (size_t i = 0; i < w.cols; i++)
            if (!isfinite(qd_cmatf_row(w, o)[i])) {
                qd_findings_add(findings, linear->name, "weight (%zu, %zu) is not finite", o, i);
                return false;
            }
    return true;
}

/* w: in the basis of the codes. */
static void check_values(const qd_linear *linear, const json_t *record, const qd_hadamard *basis, qd_matf w,
                         qd_findings *findings)
{
    const json_t *grid = json_object_get(record, "grid");
    size_t size = (size_t)json_integer_value(json_object_get(grid, "group_size"));
    json_int_t codes = 0; /* ends that are no 32-bit numbers would not even differ by a 64-bit one */
    if (__builtin_sub_overflow(json_integer_value(json_object_get(grid, "high")),
                               json_integer_value(json_object_get(grid, "low")), &codes) ||
        __builtin_add_overflow(codes, 1, &codes))
        codes = 0;
    if (size == 0 || codes < 1) {
        qd_findings_add(findings, linear->name, "its record has no grid");
        return;
    }
    for (size_t o = 0; o < w.rows; o++) {
        /* exact where nothing was turned: a level has one value */
        double blur = basis == NULL ? 0 : 2 * qd_slack_of_row(linear, basis, qd_matf_const(w), o).absolute;
        for (size_t first = 0; first < w.cols; first += size) {
            size_t distinct = count_values(qd_matf_row(w, o) + first, qd_min_size(size, w.cols - first), blur);
            if (distinct <= (size_t)codes)
                continue;
            qd_findings_add(findings, linear->name, "row %zu: %zu values in a group, the grid has %lld codes", o,
                            distinct, (long long)codes);
            return;
        }
    }
}

/* Where the container's own codes and scales can be read: are the scales what the job's type stores? Parts that this container does not keep (units
 * in a container of plain scales) are not missed. */
static qd_code check_stored(const qd_artifact *artifact, size_t index, const qd_recipe *recipe, qd_findings *findings,
                            qd_error *err)
{
    const qd_format *format = qd_artifact_format(artifact);
    const qd_linear *linear = qd_model_linear_at(qd_artifact_model(artifact), index);
    QD_AUTO(qd_grid_fini) qd_grid grid = { 0 };
    QD_AUTO(qd_free_pointer) uint8_t *codes = NULL;
    qd_grid_spec spec;
    qd_error why = { 0 };
    qd_code code = qd_recipe_layer_spec(recipe, linear, &spec, err);
    if (code != QD_OK || format == NULL || format->read_rounded == NULL)
        return code;
    code = format->read_rounded(qd_artifact_model(artifact), linear, &grid, &codes, &why);
    if (code == QD_OK && qd_container_keeps(spec.scale_type, &grid))
        code = qd_container_check(spec.scale_type, &grid, &why);
    if (code != QD_OK)
        qd_findings_add(findings, linear->name, "%s", why.text);
    return code == QD_ENOMEM ? qd_fail(err, code, "%s", why.text) : QD_OK;
}

/* The record's grid is the recipe's, or what a format falls back to where that does not fit the layer. */
static qd_code check_spec(const qd_linear *linear, const json_t *record, const qd_recipe *recipe, qd_findings *findings,
                          qd_error *err)
{
    const char *alphabet = json_string_value(json_object_get(json_object_get(record, "grid"), "alphabet"));
    double bits = json_number_value(json_object_get(record, "bits"));
    qd_grid_spec spec;
    qd_code code = qd_recipe_layer_spec(recipe, linear, &spec, err);
    if (code == QD_OK && (bits != spec.bits || alphabet == NULL || strcmp(alphabet, spec.alphabet->name) != 0))
        qd_findings_add(findings, linear->name, "its record says '%.40s' of %g bits, the recipe '%s' of %g",
                        alphabet == NULL ? "" : alphabet, bits, spec.alphabet->name, spec.bits);
    return code;
}

/* recipe: NULL where it cannot be read: then nothing tells the basis, and that was found before. */
static qd_code check_layer(const qd_artifact *artifact, size_t index, const json_t *record, const qd_recipe *recipe,
                           qd_findings *findings, qd_error *err)
{
    const qd_linear *linear = qd_model_linear_at(qd_artifact_model(artifact), index);
    const qd_overlay *overlay = qd_artifact_overlay(artifact);
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf w = { 0 };
    qd_hadamard *basis = NULL;
    qd_error why = { 0 };
    qd_code code = qd_matf_buf_init(&w, linear->out, linear->in, err);
    if (code != QD_OK)
        return code;
    if (overlay->weight(overlay->ctx, index, linear, w.view, &why) != QD_OK) {
        qd_findings_add(findings, linear->name, "%s", why.text);
        return QD_OK;
    }
    if (!are_finite(linear, qd_matf_const(w.view), findings) || recipe == NULL)
        return QD_OK;
    code = check_spec(linear, record, recipe, findings, err);
    if (code == QD_OK)
        code = qd_basis_create(recipe, qd_artifact_model(artifact), index, &basis, err);
    if (code == QD_OK && basis != NULL)
        code = qd_hadamard_weights(basis, QD_TURN, qd_matf_const(w.view), w.view, NULL, err);
    if (code == QD_OK)
        check_values(linear, record, basis, w.view, findings);
    if (code == QD_OK)
        code = check_stored(artifact, index, recipe, findings, err);
    qd_hadamard_destroy(basis);
    return code;
}

/* Other tensors have no NaN either. */
static void check_tensors(const qd_model *model, qd_findings *findings)
{
    for (size_t i = 0; i < qd_model_tensor_count(model); i++) {
        qd_error why = { 0 };
        const qd_tensor *tensor = qd_model_tensor_at(model, i);
        if (qd_tensor_check_finite(tensor, &why) != QD_OK)
            qd_findings_add(findings, tensor->name, "%s", why.text);
    }
}

/* What the manifest says of the certificates is what the certificate says, and its format the one that was recognized. */
static void check_manifest(const qd_artifact *artifact, const json_t *manifest, const json_t *certificate,
                           qd_findings *findings)
{
    size_t variant = 0;
    const char *format = json_string_value(json_object_get(manifest, "format"));
    const qd_format *row = format == NULL ? NULL : qd_format_find(format, &variant);
    if (manifest != NULL && (row != qd_artifact_format(artifact) || variant != qd_artifact_variant(artifact)))
        qd_findings_add(findings, "manifest.json", "format: '%.60s' is not the folder's, which is '%s'",
                        format == NULL ? "" : format, qd_artifact_format(artifact)->name);
    static const char *const pairs[][2] = { { "layers", "layers" },
                                            { "certified", "certified_layers" },
                                            { "degraded", "degraded_layers" } };
    const json_t *said = json_object_get(manifest, "certificates"), *summary = json_object_get(certificate, "summary");
    for (size_t i = 0; i < QD_LENGTH(pairs); i++)
        if (!json_equal(json_object_get(said, pairs[i][0]), json_object_get(summary, pairs[i][1])))
            qd_findings_add(findings, "manifest.json", "certificates.%s is not what certificate.json says",
                            pairs[i][0]);
}

typedef struct records {
    json_t *manifest, *certificate, *recipe;
} records;

/* recipe.json knows no model: any will do. A finding and NULL where it cannot be read. */
static qd_recipe *parse_recipe(const json_t *document, qd_findings *findings)
{
    qd_recipe *out = NULL;
    qd_error why = { 0 };
    QD_AUTO(qd_json_fini) json_t *request = json_deep_copy(json_object_get(document, "recipe"));
    json_t *model = json_object_get(request, "model"); /* model.unknown, or nothing */
    if (json_is_object(model))
        json_object_set_new(model, "url", json_string("file:///source"));
    else
        json_object_set_new(request, "model", json_string("file:///source"));
    if (document != NULL && qd_recipe_parse(request, &out, NULL, &why) != QD_OK)
        qd_findings_add(findings, "recipe.json", "%s", why.text);
    QD_AUTO(qd_json_fini) json_t *whole = out == NULL ? NULL : qd_recipe_print(out);
    const char *key;
    json_t *value;
    qd_recipe_drop_labels(whole);
    json_object_foreach(whole, key, value) /* a resolved recipe says everything: nothing is left to defaults */
    {
        if (json_object_get(request, key) == NULL)
            qd_findings_add(findings, "recipe.json", "'%s' is missing", key);
    }
    return out;
}

static qd_code check_content(const qd_artifact *artifact, const records *r, const char *against, qd_findings *findings,
                             qd_error *err)
{
    const qd_model *model = qd_artifact_model(artifact);
    qd_recipe *recipe = parse_recipe(r->recipe, findings);
    qd_code code = QD_OK;
    check_tensors(model, findings);
    qd_verify_gguf(model, findings);
    check_manifest(artifact, r->manifest, r->certificate, findings);
    qd_verify_certificate(model, r->certificate, findings);
    for (size_t i = 0; code == QD_OK && i < qd_model_linear_count(model); i++)
        code = check_layer(artifact, i, json_array_get(json_object_get(r->certificate, "layers"), i), recipe, findings,
                           err);
    if (code == QD_OK && against != NULL)
        code = qd_verify_against(artifact, r->certificate, r->recipe, recipe, against, findings, err);
    qd_recipe_destroy(recipe);
    return code;
}

static qd_code check_artifact(const char *dir, const records *r, const char *against, qd_findings *findings,
                              qd_error *err)
{
    qd_artifact *artifact = NULL;
    qd_error why = { 0 };
    if (qd_artifact_check_files(dir, NULL, &why) != QD_OK)
        qd_findings_add(findings, "manifest.json", "%s", why.text);
    qd_code code = qd_artifact_open(dir, &artifact, &why);
    if (code != QD_OK) {
        qd_findings_add(findings, "config.json", "%s", why.text);
        return code == QD_ENOMEM ? qd_fail(err, code, "%s", why.text) : QD_OK;
    }
    if (qd_artifact_overlay(artifact) == NULL)
        qd_findings_add(findings, "config.json", "a plain model: nothing says that it was quantized");
    else
        code = check_content(artifact, r, against, findings, err);
    qd_artifact_destroy(artifact);
    return code;
}

static json_t *copy_of(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return value == NULL ? json_null() : json_deep_copy(value);
}

/* What one check of a folder needs and finds. */
typedef struct verification {
    const char *dir, *against;
    const qd_verifier *key;
    qd_findings findings;
    json_t *provenance; /* as qd_attest_check reports it */
} verification;

static json_t *make_report(const verification *v, const records *r)
{
    return json_pack("{s:b, s:s, s:s?, s:s?, s:o, s:o, s:o, s:O, s:O}", "ok", json_array_size(v->findings.lines) == 0,
                     "artifact", v->dir, "against", v->against, "scales", v->findings.scales, "format",
                     copy_of(r->manifest, "format"), "bits_per_weight", copy_of(r->manifest, "bits_per_weight"),
                     "certificates", copy_of(r->certificate, "summary"), "provenance", v->provenance, "findings",
                     v->findings.lines);
}

/* The findings of one folder and what attests it. */
static qd_code verify_folder(verification *v, json_t **out_report, qd_error *err)
{
    records r = { .manifest = read_record(v->dir, "manifest.json", &v->findings),
                  .certificate = read_record(v->dir, "certificate.json", &v->findings),
                  .recipe = read_record(v->dir, "recipe.json", &v->findings) };
    qd_code code = check_artifact(v->dir, &r, v->against, &v->findings, err);
    if (code == QD_OK)
        code = qd_attest_check(v->dir, r.manifest, v->key, v->findings.lines, &v->provenance, err);
    if (code == QD_OK) {
        *out_report = make_report(v, &r);
        code = *out_report == NULL ? qd_fail(err, QD_EINTERNAL, "the report could not be described") : QD_OK;
    }
    json_decref(r.manifest);
    json_decref(r.certificate);
    json_decref(r.recipe);
    return code;
}

/* One artifact of several: its findings are the whole's, with its folder before them. */
static qd_code verify_part(verification *v, const char *place, json_t *reports, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *dir = qd_path_join(v->dir, place);
    verification part = { .dir = dir, .against = v->against, .findings = { .lines = json_array() } };
    json_t *report = NULL, *line;
    size_t index;
    qd_code code = dir == NULL || part.findings.lines == NULL ? qd_fail(err, QD_ENOMEM, "out of memory")
                                                              : verify_folder(&part, &report, err);
    json_array_foreach(part.findings.lines, index, line)
    {
        QD_AUTO(qd_str_fini) qd_str where = { 0 };
        qd_str_addf(&where, "%s/%s", place, json_string_value(json_object_get(line, "where")));
        qd_findings_add(&v->findings, qd_str_borrow(&where), "%s", json_string_value(json_object_get(line, "detail")));
    }
    json_decref(part.findings.lines);
    json_decref(part.provenance);
    if (code == QD_OK)
        json_array_append_new(reports, report);
    return code;
}

/* A bare name: what leads elsewhere is not looked at. */
static bool is_bare(const char *place)
{
    return place != NULL && place[0] != '\0' && place[0] != '.' && strchr(place, '/') == NULL;
}

static qd_code verify_parts(verification *v, const json_t *manifest, json_t **out_report, qd_error *err)
{
    size_t index;
    const json_t *entry;
    qd_error why = { 0 };
    QD_AUTO(qd_json_fini) json_t *reports = json_array();
    if (qd_artifact_check_files(v->dir, NULL, &why) != QD_OK)
        qd_findings_add(&v->findings, "manifest.json", "%s", why.text);
    qd_code code = qd_attest_check(v->dir, manifest, v->key, v->findings.lines, &v->provenance, err);
    json_array_foreach(json_object_get(manifest, "formats"), index, entry)
    {
        const char *place = json_string_value(json_object_get(entry, "path"));
        if (!is_bare(place))
            qd_findings_add(&v->findings, "manifest.json", "formats[%zu] has no bare folder name as its path", index);
        else if (code == QD_OK)
            code = verify_part(v, place, reports, err);
    }
    if (code != QD_OK)
        return code;
    *out_report = json_pack("{s:b, s:s, s:s?, s:O, s:O, s:O}", "ok", json_array_size(v->findings.lines) == 0,
                            "artifact", v->dir, "against", v->against, "artifacts", reports, "provenance",
                            v->provenance, "findings", v->findings.lines);
    return *out_report == NULL ? qd_fail(err, QD_EINTERNAL, "the report could not be described") : QD_OK;
}

/* The manifest of several artifacts; NULL for a folder that is one. */
static json_t *root_manifest(const char *dir)
{
    json_t *out = NULL;
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, "manifest.json");
    if (path == NULL || qd_json_read_object(path, RECORD_LIMIT, RECORD_DEPTH, &out, NULL) != QD_OK)
        return NULL;
    if (json_object_get(out, "format") == NULL && json_array_size(json_object_get(out, "formats")) > 0)
        return out;
    json_decref(out);
    return NULL;
}

qd_code qd_verify_signed(const char *artifact_dir, const char *against, const qd_verifier *key, json_t **out_report,
                         qd_error *err)
{
    verification v = { .dir = artifact_dir, .against = against, .key = key, .findings = { .lines = json_array() } };
    if (!qd_path_is_folder(artifact_dir) || v.findings.lines == NULL) {
        json_decref(v.findings.lines);
        return qd_fail(err, QD_ENOTFOUND, "there is no folder '%s': an artifact with its records is wanted",
                       artifact_dir);
    }
    QD_AUTO(qd_json_fini) json_t *root = root_manifest(artifact_dir);
    qd_code code = root == NULL ? verify_folder(&v, out_report, err) : verify_parts(&v, root, out_report, err);
    json_decref(v.findings.lines);
    json_decref(v.provenance);
    return code;
}

qd_code qd_verify(const char *artifact_dir, const char *against, json_t **out_report, qd_error *err)
{
    return qd_verify_signed(artifact_dir, against, NULL, out_report, err);
}
