/* verify_against.c: an artifact beside its source: same model, same other tensors, every weight on the grid that the
 * source's weights give, and as far from them as certified. */
#include <math.h>
#include <string.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "engine/recipe.h"
#include "engine/verify.h"

/* How far a stored weight may be from (code - zero) scale: a fraction of itself, and of a step. */
typedef struct slack {
    double relative, absolute;
} slack;

static slack slack_of(const qd_linear *stored)
{
    const char *dtype = stored->weight == NULL ? "F32" : stored->weight->dtype->name;
    if (strcmp(dtype, "BF16") == 0)
        return (slack){ 0x1p-8, 0 };
    if (strcmp(dtype, "F16") == 0)
        return (slack){ 0x1p-10, 0x1p-24 };
    return (slack){ 0x1p-21, 0 };
}

static qd_code check_source_file(const char *dir, const json_t *file, qd_findings *findings, qd_error *err)
{
    char hex[QD_DIGEST_HEX];
    const char *name = json_string_value(json_object_get(file, "name")),
               *wanted = json_string_value(json_object_get(file, "sha256"));
    if (name == NULL || wanted == NULL || strchr(name, '/') != NULL) {
        qd_findings_add(findings, "recipe.json", "a source file without a bare name or without a digest");
        return QD_OK;
    }
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, name);
    qd_code code = path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_sha256_file(path, hex, err);
    if (code == QD_ENOTFOUND)
        qd_findings_add(findings, name, "the artifact was made from it, '%s' has none", dir);
    else if (code == QD_OK && strcmp(hex, wanted) != 0)
        qd_findings_add(findings, name, "'%s' is not the model this artifact was made from: its digest is %s", dir,
                        hex);
    return code == QD_ENOTFOUND ? QD_OK : code;
}

static qd_code check_source(const char *dir, const json_t *recipe, qd_findings *findings, qd_error *err)
{
    const json_t *files = json_object_get(json_object_get(recipe, "source"), "files");
    qd_code code = QD_OK;
    if (json_array_size(files) == 0)
        qd_findings_add(findings, "recipe.json", "no source files are listed");
    for (size_t i = 0; code == QD_OK && i < json_array_size(files); i++)
        code = check_source_file(dir, json_array_get(files, i), findings, err);
    return code;
}

/* The tensors that nobody quantizes are the source's, bit for bit. */
static void check_others(const qd_model *artifact, const qd_model *source, qd_findings *findings)
{
    for (size_t i = 0; i < qd_model_tensor_count(source); i++) {
        const qd_tensor *wanted = qd_model_tensor_at(source, i);
        const qd_tensor *found = qd_model_tensor(artifact, wanted->name);
        bool linear = false;
        for (size_t k = 0; k < qd_model_linear_count(source); k++)
            linear = linear || qd_model_linear_at(source, k)->weight == wanted;
        if (linear)
            continue;
        if (found == NULL)
            qd_findings_add(findings, wanted->name, "this tensor of the source is missing");
        else if (found->bytes != wanted->bytes || memcmp(found->data, wanted->data, wanted->bytes) != 0)
            qd_findings_add(findings, wanted->name, "this tensor is not the source's");
    }
}

/* recipe.json knows no model: any will do. */
static qd_code read_recipe(const json_t *document, qd_recipe **out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *request = json_deep_copy(json_object_get(document, "recipe"));
    json_object_set_new(request, "model", json_string("file:///source"));
    return qd_recipe_parse(request, out, NULL, err);
}

static bool is_on_grid(const qd_grid *grid, size_t row, size_t column, double q, slack s)
{
    size_t group = column / grid->group_size;
    double scale = (double)qd_matf_row(grid->scale.view, row)[group];
    double code = q / scale + (double)qd_matf_row(grid->zero.view, row)[group];
    double tolerance = 1e-3 + (s.relative * fabs(q) + s.absolute) / scale;
    return fabs(code - rint(code)) <= tolerance && rint(code) >= grid->low - tolerance &&
           rint(code) <= grid->high + tolerance;
}

/* Weights of a group that are off the grid, counted up to `most`. */
static size_t count_strangers(const qd_grid *grid, qd_cmatf q, size_t row, size_t group, size_t most, slack s)
{
    size_t start = group * grid->group_size, end = qd_min_size(start + grid->group_size, q.cols), count = 0;
    for (size_t j = start; j < end && count < most; j++)
        count += !is_on_grid(grid, row, j, (double)qd_cmatf_row(q, row)[j], s);
    return count;
}

/* A scale that H helped to choose cannot be chosen again: of all it was chosen from, the one with the fewest weights off it. */
static void find_scale(const qd_grid_spec *spec, qd_cmatf w, qd_cmatf q, size_t row, size_t group, slack s,
                       qd_grid *grid)
{
    size_t start = group * grid->group_size, count = qd_min_size(grid->group_size, w.cols - start), best = count + 1;
    float *at_scale = qd_matf_row(grid->scale.view, row) + group, *at_zero = qd_matf_row(grid->zero.view, row) + group;
    float scale = *at_scale, zero = *at_zero;
    const float *weights = qd_cmatf_row(w, row) + start;
    for (size_t i = 0; best > 0 && spec->rule->candidate(spec, weights, count, i, at_scale, at_zero); i++) {
        size_t found = count_strangers(grid, q, row, group, best, s);
        if (found >= best)
            continue;
        best = found;
        scale = *at_scale;
        zero = *at_zero;
    }
    *at_scale = scale;
    *at_zero = zero;
}

static void find_scales(const qd_grid_spec *spec, const qd_linear *stored, qd_cmatf w, qd_cmatf q, qd_grid *grid)
{
    for (size_t row = 0; spec->rule->candidate != NULL && row < w.rows; row++)
        for (size_t group = 0; group < grid->groups; group++)
            find_scale(spec, w, q, row, group, slack_of(stored), grid);
}

/* w: the source's, q: the artifact's. grid: NULL where H had a part in the steps, so that they cannot be made again from w alone. */
static void compare_weights(const qd_linear *stored, const qd_grid *grid, qd_cmatf w, qd_cmatf q,
                            const json_t *certificate, qd_findings *findings)
{
    slack s = slack_of(stored);
    double distance = 0, size = 0;
    size_t strangers = 0, row = 0, column = 0;
    for (size_t o = 0; o < w.rows; o++)
        for (size_t i = 0; i < w.cols; i++) {
            double a = (double)qd_cmatf_row(w, o)[i], b = (double)qd_cmatf_row(q, o)[i];
            distance += (a - b) * (a - b);
            size += b * b;
            if (grid == NULL || is_on_grid(grid, o, i, b, s))
                continue;
            row = strangers == 0 ? o : row;
            column = strangers == 0 ? i : column;
            strangers++;
        }
    if (strangers > 0)
        qd_findings_add(findings, stored->name,
                        "%zu weights are not on the grid of the source's, the first at (%zu, %zu)", strangers, row,
                        column);
    /* ||w - q|| moves at most by ||stored - decided||; dead columns were certified against zero instead of w */
    double certified = sqrt(json_number_value(json_object_get(certificate, "weight_error_sq")));
    double allowed = s.relative * sqrt(size) + s.absolute * sqrt((double)(w.rows * w.cols)) + 1e-9 * certified;
    if (json_integer_value(json_object_get(certificate, "dead_columns")) == 0 &&
        !(fabs(sqrt(distance) - certified) <= allowed))
        qd_findings_add(findings, stored->name, "weight_error_sq is %.9g, certified is %.9g", distance,
                        certified * certified);
}

static qd_code compare_layer(const qd_artifact *artifact, size_t index, const qd_linear *source,
                             const qd_recipe *recipe, const json_t *certificate, qd_findings *findings, qd_error *err)
{
    const qd_linear *stored = qd_model_linear_at(qd_artifact_model(artifact), index);
    const qd_overlay *overlay = qd_artifact_overlay(artifact);
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf w = { 0 }, q = { 0 };
    QD_AUTO(qd_grid_fini) qd_grid grid = { 0 };
    qd_error why = { 0 };
    qd_code code = qd_matf_buf_init(&w, source->out, source->in, err);
    if (code == QD_OK)
        code = qd_matf_buf_init(&q, source->out, source->in, err);
    if (code == QD_OK)
        code = qd_tensor_to_floats(source->weight, w.view.data, err);
    if (code == QD_OK)
        code = qd_grid_build(&recipe->grid, qd_matf_const(w.view), NULL, NULL, &grid, err);
    if (code != QD_OK)
        return code;
    if (overlay->weight(overlay->ctx, index, stored, q.view, &why) != QD_OK)
        return QD_OK; /* it was found before */
    find_scales(&recipe->grid, stored, qd_matf_const(w.view), qd_matf_const(q.view), &grid);
    compare_weights(stored, recipe->certified ? NULL : &grid, qd_matf_const(w.view), qd_matf_const(q.view), certificate,
                    findings);
    return QD_OK;
}

static bool same_layers(const qd_model *artifact, const qd_model *source, qd_findings *findings)
{
    size_t count = qd_model_linear_count(source);
    if (qd_model_linear_count(artifact) != count) {
        qd_findings_add(findings, "config.json", "%zu linear layers, the source has %zu",
                        qd_model_linear_count(artifact), count);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const qd_linear *a = qd_model_linear_at(artifact, i), *b = qd_model_linear_at(source, i);
        if (strcmp(a->name, b->name) == 0 && a->out == b->out && a->in == b->in)
            continue;
        qd_findings_add(findings, a->name, "%zu x %zu; the source has '%s', %zu x %zu", a->out, a->in, b->name, b->out,
                        b->in);
        return false;
    }
    return true;
}

static qd_code compare_models(const qd_artifact *artifact, const qd_model *source, const json_t *certificate,
                              const json_t *document, qd_findings *findings, qd_error *err)
{
    qd_recipe *recipe = NULL;
    qd_error why = { 0 };
    if (!same_layers(qd_artifact_model(artifact), source, findings))
        return QD_OK;
    check_others(qd_artifact_model(artifact), source, findings);
    if (read_recipe(document, &recipe, &why) != QD_OK) {
        qd_findings_add(findings, "recipe.json", "%s", why.text);
        return QD_OK;
    }
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < qd_model_linear_count(source); i++) {
        const json_t *record = json_array_get(json_object_get(certificate, "layers"), i);
        code = compare_layer(artifact, i, qd_model_linear_at(source, i), recipe, json_object_get(record, "certificate"),
                             findings, err);
    }
    qd_recipe_destroy(recipe);
    return code;
}

qd_code qd_verify_against(const qd_artifact *artifact, const json_t *certificate, const json_t *recipe,
                          const char *source_dir, qd_findings *findings, qd_error *err)
{
    qd_model *source = NULL;
    qd_code code = qd_model_open(source_dir, &source, err);
    if (code == QD_OK)
        code = check_source(source_dir, recipe, findings, err);
    if (code == QD_OK)
        code = compare_models(artifact, source, certificate, recipe, findings, err);
    qd_model_destroy(source);
    return code;
}
