/* convert.c: see convert.h. */
#include "export/convert.h"

#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "export/convert_fit.h"
#include "export/manifest.h"

static const char *const carried_records[] = { "certificate.json", "recipe.json" };

/* What one conversion is about. It is the source of the writer, too: the layer that was asked for last is held here. */
typedef struct conversion {
    const char *from_dir, *out_dir;
    qd_artifact *from;
    const qd_format *format;
    size_t variant;
    qd_grid_spec spec;
    qd_grid grid;
    uint8_t *codes;
    qd_matf_buf weights;
} conversion;

static void forget_layer(conversion *c)
{
    qd_grid_fini(&c->grid);
    free(c->codes);
    c->codes = NULL;
    qd_matf_buf_fini(&c->weights);
    c->weights = (qd_matf_buf){ 0 };
}

static void conversion_fini(conversion *c)
{
    forget_layer(c);
    qd_artifact_destroy(c->from);
}

static qd_code weights_of(const qd_artifact *artifact, size_t index, qd_matf_buf *out, qd_error *err)
{
    const qd_model *model = qd_artifact_model(artifact);
    const qd_linear *linear = qd_model_linear_at(model, index);
    qd_code code = qd_matf_buf_init(out, linear->out, linear->in, err);
    return code == QD_OK ? qd_artifact_format(artifact)->read_weight(model, linear, out->view, err) : code;
}

/* Containers of any weights take them as they are; the others get codes. */
static qd_code give_layer(void *ctx, size_t index, qd_rounded *out, qd_error *err)
{
    conversion *c = ctx;
    const qd_linear *linear = qd_model_linear_at(qd_artifact_model(c->from), index);
    forget_layer(c);
    *out = (qd_rounded){ .grid = &c->grid };
    qd_code code = c->format->off_grid ? weights_of(c->from, index, &c->weights, err)
                                       : qd_fit_layer(c->from, linear, &c->spec, &c->grid, &c->codes, err);
    out->codes = c->codes;
    out->turned = qd_matf_const(c->weights.view);
    return code;
}

/* ---- which container ---- */

static size_t variants_of(const qd_format *format)
{
    size_t count = 0;
    while (format->variants != NULL && format->variants[count] != NULL)
        count++;
    return qd_max_size(count, 1);
}

/* The first variant that takes the codes as they are; else the first that takes their steps from zero. What is said of a failure is what the
 * first variant says. */
static qd_code fit_codes(conversion *c, const qd_format_choice *wanted, qd_error *err)
{
    qd_survey survey;
    qd_error first = { 0 };
    size_t begin = wanted->open ? 0 : wanted->variant, end = wanted->open ? variants_of(c->format) : begin + 1;
    qd_code code = qd_survey_take(c->from, &survey, err);
    if (code != QD_OK)
        return code;
    for (int way = 0; way < QD_FIT_WAYS; way++)
        for (size_t v = begin; v < end; v++) {
            qd_error why = { 0 };
            c->variant = v;
            if (qd_fit_find(c->from, &survey, c->format, v, (qd_fit_codes)way, &c->spec, &why) == QD_OK)
                return QD_OK;
            first = v == begin && way == QD_FIT_SAME ? why : first;
        }
    return qd_fail(err, QD_EINVAL, "%s", first.text);
}

static qd_code fit(conversion *c, const qd_format_choice *wanted, qd_error *err)
{
    const qd_format *from = qd_artifact_format(c->from);
    c->variant = wanted->variant;
    if (c->format->off_grid)
        return from->read_spec == NULL ? QD_OK : from->read_spec(qd_artifact_model(c->from), &c->spec, err);
    if (from->read_rounded == NULL)
        return qd_fail(err, QD_EINVAL,
                       "its format, '%s', holds weights and no codes; format 'safetensors' can be made of it",
                       from->name);
    return fit_codes(c, wanted, err);
}

static qd_code find_format(const char *name, qd_format_choice *out, qd_error *err)
{
    out->format = qd_format_find(name, &out->variant);
    out->open = strchr(name, ':') == NULL;
    if (out->format != NULL)
        return QD_OK;
    QD_AUTO(qd_str_fini) qd_str known = { 0 };
    for (size_t i = 0; qd_format_at(i) != NULL; i++) {
        const qd_format *f = qd_format_at(i);
        qd_str_addf(&known, "%s%s", i == 0 ? "" : ", ", f->name);
        for (size_t v = 0; f->variants != NULL && f->variants[v] != NULL; v++)
            qd_str_addf(&known, ", %s:%s", f->name, f->variants[v]);
    }
    return qd_fail(err, QD_EINVAL, "format '%s' is not in %s", name, qd_str_borrow(&known));
}

/* ---- what is carried over ---- */

static qd_code copy_records(const conversion *c, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(carried_records); i++) {
        QD_AUTO(qd_free_pointer) char *from = qd_path_join(c->from_dir, carried_records[i]);
        QD_AUTO(qd_free_pointer) char *to = qd_path_join(c->out_dir, carried_records[i]);
        if (from == NULL || to == NULL)
            return qd_fail(err, QD_ENOMEM, "out of memory");
        if (qd_path_exists(from))
            code = qd_file_copy(from, to, err);
    }
    return code;
}

static qd_code digest_of(const char *dir, const char *name, char *out_hex, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, name);
    return path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_sha256_file(path, out_hex, err);
}

/* {"format","manifest_sha256"}; of a folder without our manifest the digests of its weights. */
static qd_code describe_origin(const conversion *c, bool has_manifest, json_t **out, qd_error *err)
{
    char hex[QD_DIGEST_HEX], name[QD_FORMAT_NAME];
    const qd_model *model = qd_artifact_model(c->from);
    QD_AUTO(qd_json_fini) json_t *files = json_array();
    qd_format_print(qd_artifact_format(c->from), qd_artifact_variant(c->from), name);
    qd_code code = has_manifest ? digest_of(c->from_dir, "manifest.json", hex, err) : QD_OK;
    for (size_t i = 0; code == QD_OK && !has_manifest && i < qd_model_file_count(model); i++) {
        code = digest_of(c->from_dir, qd_model_file_at(model, i), hex, err);
        if (code == QD_OK)
            json_array_append_new(files, json_pack("{s:s, s:s}", "name", qd_model_file_at(model, i), "sha256", hex));
    }
    if (code != QD_OK)
        return code;
    *out = has_manifest ? json_pack("{s:s, s:s}", "format", name, "manifest_sha256", hex)
                        : json_pack("{s:s, s:O}", "format", name, "files", files);
    return *out == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}

/* The old card goes along as README.source.md (side_files.h); what it says of loading is about the old container. */
static qd_code write_card(const conversion *c, qd_error *err)
{
    char from[QD_FORMAT_NAME], to[QD_FORMAT_NAME];
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(c->out_dir, "README.md");
    QD_AUTO(qd_free_pointer) char *old = qd_path_join(c->out_dir, "README.source.md");
    if (path == NULL || old == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    qd_format_print(qd_artifact_format(c->from), qd_artifact_variant(c->from), from);
    qd_format_print(c->format, c->variant, to);
    qd_str_addf(
        &text,
        "---\ntags:\n- quantd\n- %s\n---\n\n# Weights in `%s`\n\nThe same weights as in the `%s` artifact that this "
        "folder was made of, one for one: `quantd convert` read both and compared. `manifest.json` names it by its "
        "digest.\n",
        c->format->name, to, from);
    if (qd_path_exists(old))
        qd_str_addf(&text,
                    "\n[README.source.md](README.source.md) is its card: recipe and results hold here too, loading "
                    "does not.\n");
    const char *note = c->format->note == NULL || c->format->off_grid ? NULL : c->format->note(&c->spec, c->variant);
    if (note != NULL)
        qd_str_addf(&text, "\n%s\n", note);
    qd_code code = qd_str_check(&text, err);
    return code == QD_OK ? qd_file_write(path, text.data, text.length, err) : code;
}

/* What the old manifest says beside its files, which are others now. */
static qd_code write_manifest(const conversion *c, json_t **out, qd_error *err)
{
    static const char *const replaced[] = { "format", "bits_per_weight", "files", "converted_from" };
    QD_AUTO(qd_json_fini) json_t *old = NULL, *origin = NULL;
    qd_code code = qd_manifest_peek(c->from_dir, &old, err);
    if (code == QD_OK)
        code = describe_origin(c, old != NULL, &origin, err);
    if (code != QD_OK)
        return code;
    QD_AUTO(qd_json_fini) json_t *extra = old == NULL ? json_object() : json_deep_copy(old);
    for (size_t i = 0; i < QD_LENGTH(replaced); i++)
        json_object_del(extra, replaced[i]);
    if (json_object_set(extra, "converted_from", origin) != 0)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return qd_artifact_write_manifest(c->out_dir, extra, out, err);
}

/* ---- what must be the same ---- */

/* By value: 0 and -0 are one weight. */
static qd_code compare_layer(const conversion *c, const qd_artifact *made, size_t index, qd_error *err)
{
    const char *name = qd_model_linear_at(qd_artifact_model(made), index)->name;
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf a = { 0 }, b = { 0 };
    size_t others = 0;
    qd_code code = weights_of(c->from, index, &a, err);
    if (code == QD_OK)
        code = weights_of(made, index, &b, err);
    for (size_t i = 0; code == QD_OK && i < a.view.rows * a.view.cols; i++)
        others += a.view.data[i] != b.view.data[i];
    if (code == QD_OK && others > 0)
        code = qd_fail(err, QD_EINVAL, "layer '%s': %zu of %zu weights would change", name, others,
                       a.view.rows * a.view.cols);
    return code;
}

static qd_code compare(conversion *c, qd_error *err)
{
    qd_artifact *made = NULL;
    const qd_model *model = qd_artifact_model(c->from);
    qd_rounded_source source = { give_layer, c };
    qd_code code = qd_artifact_check(c->out_dir, model, c->format, c->variant, &source, NULL, NULL, err);
    if (code == QD_OK)
        code = qd_artifact_open(c->out_dir, &made, err);
    for (size_t i = 0; code == QD_OK && i < qd_model_linear_count(model); i++)
        code = compare_layer(c, made, i, err);
    qd_artifact_destroy(made);
    return code;
}

static json_t *describe(const conversion *c, const json_t *manifest)
{
    char from[QD_FORMAT_NAME], to[QD_FORMAT_NAME];
    qd_format_print(qd_artifact_format(c->from), qd_artifact_variant(c->from), from);
    qd_format_print(c->format, c->variant, to);
    json_t *grid = json_null();
    if (!c->format->off_grid)
        grid = json_pack("{s:s, s:f, s:I, s:s, s:s}", "alphabet", c->spec.alphabet->name, "bits", c->spec.bits,
                         "group_size", (json_int_t)c->spec.group_size, "zero", qd_zero_kind_name(c->spec.zero),
                         "scale_type", c->spec.scale_type->name);
    return json_pack("{s:s, s:s, s:I, s:O, s:o}", "format", to, "from", from, "layers",
                     (json_int_t)qd_model_linear_count(qd_artifact_model(c->from)), "bits_per_weight",
                     json_object_get(manifest, "bits_per_weight"), "grid", grid);
}

/* ---- the whole ---- */

static qd_code write_all(conversion *c, json_t **out_report, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *manifest = NULL;
    qd_rounded_source source = { give_layer, c };
    qd_code code =
        qd_artifact_write(c->format, c->variant, qd_artifact_model(c->from), &c->spec, &source, c->out_dir, err);
    if (code == QD_OK)
        code = copy_records(c, err);
    if (code == QD_OK)
        code = write_card(c, err);
    if (code == QD_OK)
        code = write_manifest(c, &manifest, err);
    if (code == QD_OK)
        code = compare(c, err);
    if (code == QD_OK && out_report != NULL) {
        *out_report = describe(c, manifest);
        code = *out_report == NULL ? qd_fail(err, QD_EINTERNAL, "the conversion could not be described") : QD_OK;
    }
    return code;
}

static qd_code make_empty(const char *dir, qd_error *err)
{
    char **names = NULL;
    size_t count = 0;
    if (!qd_path_exists(dir))
        return qd_dir_make(dir, err);
    qd_code code = qd_dir_list(dir, &names, &count, err);
    qd_names_free(names, count);
    if (code == QD_OK && count > 0)
        code = qd_fail(err, QD_ECONFLICT, "'%s' is not empty", dir);
    return code;
}

static qd_code open_source(conversion *c, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *manifest = NULL;
    qd_code code = qd_manifest_peek(c->from_dir, &manifest, err);
    if (code == QD_OK && manifest != NULL)
        code = qd_artifact_check_files(c->from_dir, NULL, err);
    if (code == QD_OK)
        code = qd_artifact_open(c->from_dir, &c->from, err);
    if (code == QD_OK && qd_artifact_format(c->from) == NULL)
        code = qd_fail(err, QD_EINVAL, "it is a model and no artifact: nothing says that it was quantized");
    return code;
}

qd_code qd_convert(const char *artifact_dir, const char *format, const char *out_dir, json_t **out_report,
                   qd_error *err)
{
    QD_AUTO(conversion_fini) conversion c = { .from_dir = artifact_dir, .out_dir = out_dir };
    qd_format_choice wanted = { 0 };
    qd_code code = find_format(format, &wanted, err);
    c.format = wanted.format;
    if (code == QD_OK && !qd_path_is_folder(artifact_dir))
        code = qd_fail(err, QD_ENOTFOUND,
                       "there is no folder '%s': an artifact or a quantized model's folder is wanted", artifact_dir);
    if (code != QD_OK)
        return code;
    code = open_source(&c, err);
    if (code == QD_OK)
        code = fit(&c, &wanted, err);
    if (code != QD_OK)
        return qd_within(err, code, "'%s' as '%s'", artifact_dir, format);
    code = make_empty(out_dir, err);
    if (code != QD_OK)
        return code;
    code = write_all(&c, out_report, err);
    if (code != QD_OK) {
        qd_dir_remove(out_dir, NULL);
        return qd_within(err, code, "'%s' as '%s'", artifact_dir, format);
    }
    return QD_OK;
}
