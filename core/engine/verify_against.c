/* verify_against.c: an artifact beside its source: same model, same other tensors, every weight on the grid that the
 * source's weights give, and as far from them as certified. */
#include <math.h>
#include <string.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "engine/source_model.h"
#include "engine/transformed.h"
#include "engine/verify.h"
#include "export/artifact.h"
#include "model/folder.h"

/* Digest of a source's file, real or made; a GGUF is known by what it holds, not by its name. */
static qd_code digest_of(const qd_folder *folder, const char *name, char *out_hex, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = NULL;
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    const qd_gguf_set *gguf = qd_folder_gguf(folder);
    bool whole = gguf != NULL && gguf->count == 1 && qd_glob_match("*.gguf", name);
    qd_code code = qd_folder_locate(folder, whole ? gguf->names[0] : name, &path, err);
    if (code == QD_OK && path != NULL)
        return qd_sha256_file(path, out_hex, err);
    if (code == QD_OK)
        code = qd_folder_read(folder, name, SIZE_MAX, &text, err);
    return code == QD_OK ? qd_sha256(qd_str_borrow(&text), text.length, out_hex, err) : code;
}

static qd_code check_source_file(const qd_folder *folder, const json_t *file, qd_findings *findings, qd_error *err)
{
    const char *dir = qd_folder_borrow_path(folder);
    char hex[QD_DIGEST_HEX];
    const char *name = json_string_value(json_object_get(file, "name")),
               *wanted = json_string_value(json_object_get(file, "sha256"));
    if (name == NULL || wanted == NULL || strchr(name, '/') != NULL) {
        qd_findings_add(findings, "recipe.json", "a source file without a bare name or without a digest");
        return QD_OK;
    }
    qd_code code = digest_of(folder, name, hex, err);
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
    qd_folder *folder = NULL;
    qd_code code = qd_folder_open(dir, &folder, err);
    if (json_array_size(files) == 0)
        qd_findings_add(findings, "recipe.json", "no source files are listed");
    for (size_t i = 0; code == QD_OK && i < json_array_size(files); i++)
        code = check_source_file(folder, json_array_get(files, i), findings, err);
    qd_folder_destroy(folder);
    return code;
}

/* The tensors that nobody quantizes are the source's. */
static void check_others(const qd_model *artifact, const qd_model *source, qd_findings *findings)
{
    qd_error why = { 0 };
    for (size_t i = 0; i < qd_model_tensor_count(source); i++) {
        const qd_tensor *wanted = qd_model_tensor_at(source, i);
        const qd_tensor *found = qd_model_tensor(artifact, wanted->name);
        size_t index;
        const char *dot = strrchr(wanted->name, '.');
        const qd_linear *linear =
            dot == NULL ? NULL : qd_model_linear_named(source, wanted->name, (size_t)(dot - wanted->name), &index);
        if (linear != NULL && linear->weight == wanted)
            continue;
        if (found == NULL)
            qd_findings_add(findings, wanted->name, "this tensor of the source is missing");
        else if (qd_artifact_check_kept(found, wanted, &why) != QD_OK)
            qd_findings_add(findings, wanted->name, "%s", why.text);
    }
}

static bool is_on_grid(const qd_grid *grid, size_t row, size_t column, double q, qd_slack s)
{
    size_t group = column / grid->group_size;
    double scale = (double)qd_matf_row(grid->scale.view, row)[group];
    double zero = (double)qd_matf_row(grid->zero.view, row)[group], code = q / scale + zero;
    double narrowest = grid->levels.count > 0 ? grid->levels.narrowest : 1.0;
    double first = qd_grid_level(grid, 0), last = qd_grid_level(grid, (uint8_t)(grid->high - grid->low));
    double largest = fmax(fabs(first - zero), fabs(last - zero));
    double tolerance = 1e-3 * narrowest + (s.relative * fabs(q) + s.absolute) / scale + s.ends * largest;
    if (grid->levels.count > 0)
        return fabs(code - grid->levels.value[qd_levels_nearest(&grid->levels, code)]) <= tolerance;
    return fabs(code - rint(code)) <= tolerance && rint(code) >= grid->low - tolerance &&
           rint(code) <= grid->high + tolerance;
}

/* Weights of a group that are off the grid, counted up to `most`. */
static size_t count_strangers(const qd_grid *grid, qd_cmatf q, size_t row, size_t group, size_t most, qd_slack s)
{
    size_t start = group * grid->group_size, end = qd_min_size(start + grid->group_size, q.cols), count = 0;
    for (size_t j = start; j < end && count < most; j++)
        count += !is_on_grid(grid, row, j, (double)qd_cmatf_row(q, row)[j], s);
    return count;
}

/* A scale that H helped to choose cannot be chosen again: of all it was chosen from, the one with the fewest weights off it. */
static void find_scale(const qd_grid_spec *spec, qd_cmatf w, qd_cmatf q, size_t row, size_t group, qd_slack s,
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

/* Of a signed scale: the end of largest magnitude is a code times the scale, from the middle code or the one before it. */
static bool lay_signed_grid(const double ends[2], int index, size_t row, size_t group, qd_grid *grid)
{
    int steps = grid->high - grid->low, middle = (grid->high + 1) / 2;
    double far = fabs(ends[0]) > fabs(ends[1]) ? ends[0] : ends[1], zero = middle - index % 2, at = index / 2 - zero;
    if (index > 2 * steps + 1)
        return false;
    bool fits = far / at > 0 && isfinite(far / at);
    qd_matf_row(grid->scale.view, row)[group] = fits ? (float)(far / at) : 1;
    qd_matf_row(grid->zero.view, row)[group] = (float)zero;
    return true;
}

/* Every grid of the job's kind that a group with these ends can lie on, by index; false past the last. Without a zero the end of largest
 * magnitude is a level times the scale. With one it is a number of steps from 0, whose code leaves room for both ends. A float zero puts the
 * lower end on the first code: only how many steps lie between the ends matters. */
static bool lay_grid(const qd_grid_spec *spec, const double ends[2], int index, size_t row, size_t group, qd_grid *grid)
{
    if (spec->scale_type->mirrored && spec->zero == QD_ZERO_INTEGER)
        return lay_signed_grid(ends, index, row, group, grid);
    int steps = grid->high - grid->low;
    double far = fabs(ends[0]) > fabs(ends[1]) ? ends[0] : ends[1], scale = 1, zero = 0;
    if (index > (grid->zero_kind == QD_ZERO_INTEGER ? 2 * steps : steps))
        return false;
    if (grid->zero_kind == QD_ZERO_FLOAT) {
        scale = ends[1] > ends[0] ? (ends[1] - ends[0]) / fmax(1, steps - index) : 1;
        zero = grid->low - ends[0] / scale;
    } else if (far != 0)
        scale = far / (grid->zero_kind == QD_ZERO_NONE ? qd_grid_level(grid, (uint8_t)index) : steps - index);
    if (grid->zero_kind == QD_ZERO_INTEGER)
        zero = grid->low - rint(fmin(0, ends[0] / scale));
    bool fits = scale > 0 && isfinite((float)scale) && isfinite((float)zero) &&
                (grid->zero_kind == QD_ZERO_FLOAT || zero <= grid->high);
    qd_matf_row(grid->scale.view, row)[group] = fits ? (float)scale : 1;
    qd_matf_row(grid->zero.view, row)[group] = fits ? (float)zero : 0;
    return true;
}

/* Scales fitted to the codes, or chosen on a target, do not follow from the source: the group's values must lie on some grid of the kind that
 * the job asked for. */
static void fit_scale(const qd_grid_spec *spec, qd_cmatf q, size_t row, size_t group, qd_slack s, qd_grid *grid)
{
    size_t start = group * grid->group_size, end = qd_min_size(start + grid->group_size, q.cols);
    const float *values = qd_cmatf_row(q, row);
    double ends[2] = { (double)values[start], (double)values[start] };
    for (size_t j = start; j < end; j++) {
        ends[0] = fmin(ends[0], (double)values[j]);
        ends[1] = fmax(ends[1], (double)values[j]);
    }
    for (int i = 0; lay_grid(spec, ends, i, row, group, grid); i++)
        if (count_strangers(grid, q, row, group, 1, s) == 0)
            return;
}

/* A layer beside its source, both in the basis of the codes. */
typedef struct comparison {
    const qd_recipe *recipe;
    const qd_grid_spec *spec; /* of the layer */
    const qd_linear *stored;
    const qd_hadamard *basis; /* NULL = the input's own */
    const json_t *certificate;
    qd_cmatf w, q; /* the source's, the artifact's */
    qd_findings *findings;
} comparison;

/* Were the scales chosen from the source's weights, or do they depend on data: on a target, on codes, on weights that a transform shaped, on an
 * importance that a search went by? */
static bool is_fitted(const comparison *c)
{
    return qd_recipe_moves_scales(c->recipe) || qd_transforms_shaping(&c->recipe->transforms) != NULL ||
           (c->spec->rule->candidate != NULL && !qd_scale_type_raises(c->spec->scale_type));
}

/* A fitted grid is laid through stored weights: their own slack comes twice. */
static qd_slack row_slack(const comparison *c, size_t row)
{
    qd_slack s = qd_slack_of_row(c->stored, c->basis, c->q, row);
    return is_fitted(c) ? (qd_slack){ s.relative, 2 * s.absolute, 2 * s.relative } : s;
}

static void find_scales(const comparison *c, qd_grid *grid)
{
    const qd_grid_spec *spec = c->spec;
    bool fitted = is_fitted(c);
    c->findings->scales = fitted ? "fitted" : "chosen";
    for (size_t row = 0; row < c->w.rows && (fitted || spec->rule->candidate != NULL); row++)
        for (size_t group = 0; group < grid->groups; group++)
            if (fitted)
                fit_scale(spec, c->q, row, group, row_slack(c, row), grid);
            else
                find_scale(spec, c->w, c->q, row, group, row_slack(c, row), grid);
}

static void compare_codes(const comparison *c, const qd_grid *grid)
{
    size_t strangers = 0, row = 0, column = 0;
    for (size_t o = 0; o < c->w.rows; o++) {
        qd_slack s = row_slack(c, o);
        for (size_t i = 0; i < c->w.cols; i++) {
            if (is_on_grid(grid, o, i, (double)qd_cmatf_row(c->q, o)[i], s))
                continue;
            row = strangers == 0 ? o : row;
            column = strangers == 0 ? i : column;
            strangers++;
        }
    }
    if (strangers > 0)
        qd_findings_add(c->findings, c->stored->name, "%zu weights are not on the grid %s, the first at (%zu, %zu)",
                        strangers, is_fitted(c) ? "that the others fit" : "of the source's", row, column);
}

/* ||w - q|| moves at most by ||stored - decided||, in any basis; dead columns were certified against zero instead of w. */
static void compare_distance(const comparison *c)
{
    qd_slack s = qd_slack_of(c->stored);
    double distance = 0, size = 0;
    for (size_t o = 0; o < c->w.rows; o++)
        for (size_t i = 0; i < c->w.cols; i++) {
            double a = (double)qd_cmatf_row(c->w, o)[i], b = (double)qd_cmatf_row(c->q, o)[i];
            distance += (a - b) * (a - b);
            size += b * b;
        }
    double certified = sqrt(json_number_value(json_object_get(c->certificate, "weight_error_sq")));
    double allowed = s.relative * sqrt(size) + s.absolute * sqrt((double)(c->w.rows * c->w.cols)) + 1e-9 * certified;
    if (json_integer_value(json_object_get(c->certificate, "dead_columns")) == 0 &&
        !(fabs(sqrt(distance) - certified) <= allowed))
        qd_findings_add(c->findings, c->stored->name, "weight_error_sq is %.9g, certified is %.9g", distance,
                        certified * certified);
}

/* Where weights that a transform shaped were rounded, how far they are from the source's is not certified. */
static qd_code compare_weights(const comparison *c, qd_error *err)
{
    QD_AUTO(qd_grid_fini) qd_grid grid = { 0 };
    qd_code code = qd_grid_build(c->spec, c->w, NULL, NULL, &grid, err);
    if (code != QD_OK)
        return code;
    find_scales(c, &grid);
    compare_codes(c, &grid);
    if (!qd_transforms_move_target(&c->recipe->transforms, c->recipe->algorithm))
        compare_distance(c);
    return QD_OK;
}

static qd_code compare_layer(const qd_artifact *artifact, size_t index, const qd_linear *source,
                             const qd_recipe *recipe, const json_t *certificate, qd_findings *findings, qd_error *err)
{
    const qd_linear *stored = qd_model_linear_at(qd_artifact_model(artifact), index);
    const qd_overlay *overlay = qd_artifact_overlay(artifact);
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf w = { 0 }, q = { 0 };
    qd_hadamard *basis = NULL;
    qd_error why = { 0 };
    qd_code code = qd_matf_buf_init(&w, source->out, source->in, err);
    if (code == QD_OK)
        code = qd_matf_buf_init(&q, source->out, source->in, err);
    if (code == QD_OK)
        code = qd_tensor_to_floats(source->weight, w.view.data, err);
    if (code != QD_OK)
        return code;
    if (overlay->weight(overlay->ctx, index, stored, q.view, &why) != QD_OK)
        return QD_OK; /* it was found before */
    code = qd_basis_create(recipe, qd_artifact_model(artifact), index, &basis, err);
    if (code == QD_OK && basis != NULL)
        code = qd_hadamard_weights(basis, QD_TURN, qd_matf_const(w.view), w.view, NULL, err);
    if (code == QD_OK && basis != NULL)
        code = qd_hadamard_weights(basis, QD_TURN, qd_matf_const(q.view), q.view, NULL, err);
    qd_grid_spec spec = recipe->grid;
    if (code == QD_OK)
        code = qd_recipe_layer_spec(recipe, source, &spec, err);
    const comparison c = { .recipe = recipe,
                           .spec = &spec,
                           .stored = stored,
                           .basis = basis,
                           .certificate = certificate,
                           .w = qd_matf_const(w.view),
                           .q = qd_matf_const(q.view),
                           .findings = findings };
    if (code == QD_OK)
        code = compare_weights(&c, err);
    qd_hadamard_destroy(basis);
    return code;
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
                              const qd_recipe *recipe, qd_findings *findings, qd_error *err)
{
    if (!same_layers(qd_artifact_model(artifact), source, findings))
        return QD_OK;
    check_others(qd_artifact_model(artifact), source, findings);
    qd_code code = QD_OK;
    for (size_t i = 0; recipe != NULL && code == QD_OK && i < qd_model_linear_count(source); i++) {
        const json_t *record = json_array_get(json_object_get(certificate, "layers"), i);
        code = compare_layer(artifact, i, qd_model_linear_at(source, i), recipe, json_object_get(record, "certificate"),
                             findings, err);
    }
    return code;
}

qd_code qd_verify_against(const qd_artifact *artifact, const json_t *certificate, const json_t *document,
                          const qd_recipe *recipe, const char *source_dir, qd_findings *findings, qd_error *err)
{
    qd_model *source = NULL;
    qd_code code =
        recipe == NULL ? qd_model_open(source_dir, &source, err) : qd_source_model(recipe, source_dir, &source, err);
    if (code == QD_OK)
        code = check_source(source_dir, document, findings, err);
    if (code == QD_OK)
        code = compare_models(artifact, source, certificate, recipe, findings, err);
    qd_model_destroy(source);
    return code;
}
