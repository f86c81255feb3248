/* recipe.c: a recipe's defaults, its end, and requests without their secrets. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/recipe_fields.h"
#include "engine/recipe_tasks.h"
#include "engine/recipe_texts.h"
#include "quant/aim.h"

static_assert(sizeof(size_t) == sizeof(uint64_t), "QD_FIELD_COUNT serves both");

void qd_recipe_destroy(qd_recipe *recipe)
{
    if (recipe == NULL)
        return;
    free(recipe->name);
    json_decref(recipe->tags);
    free(recipe->model_url);
    free(recipe->model_revision);
    free(recipe->model_token);
    free(recipe->webhook_url);
    free(recipe->webhook_secret);
    free(recipe->publish_url);
    json_decref(recipe->model_sha256);
    free(recipe->calibration_source);
    free(recipe->evaluation_text);
    qd_tasks_clear(recipe);
    qd_texts_fini(&recipe->evaluation_also);
    free(recipe);
}

static qd_code set_default(qd_recipe *recipe, const qd_field *field, qd_error *err)
{
    char *at = (char *)recipe + field->offset;
    switch (field->type) {
    case QD_FIELD_TEXT:
    case QD_FIELD_URL:
        return qd_dup(field->def_text, (char **)(void *)at, err);
    case QD_FIELD_COUNT:
        *(uint64_t *)(void *)at = (uint64_t)field->def;
        return QD_OK;
    case QD_FIELD_REAL:
    case QD_FIELD_WIDTH:
        *(double *)(void *)at = field->def;
        return QD_OK;
    case QD_FIELD_BOOLEAN:
        *(bool *)at = field->def != 0;
        return QD_OK;
    case QD_FIELD_CHOICE:
        return field->choice->take(recipe, field->def_text)
                   ? QD_OK
                   : qd_fail(err, QD_EINTERNAL, "%s: no default '%s'", field->path, field->def_text);
    case QD_FIELD_SHRINK:
        *(qd_mismatch_use *)(void *)at = (qd_mismatch_use){ .shrink = QD_SHRINK_AUTO, .share = 1 };
        return QD_OK;
    case QD_FIELD_REGULARIZATION:
        recipe->regularizer = qd_regularizer_at(0);
        recipe->regularization = recipe->regularizer->params[0].def;
        return QD_OK;
    case QD_FIELD_FORMATS:
        recipe->format_count = 1;
        recipe->formats[0].format = qd_format_find(field->def_text, &recipe->formats[0].variant);
        recipe->formats[0].open = true;
        return QD_OK;
    case QD_FIELD_LEVELS: /* none */
    case QD_FIELD_TEXTS:
    case QD_FIELD_OBJECT:
    case QD_FIELD_LABELS:
    case QD_FIELD_DIGESTS:
    case QD_FIELD_TRANSFORMS:
    case QD_FIELD_TASKS:
        return QD_OK;
    }
    return QD_OK;
}

qd_code qd_recipe_create(qd_recipe **out, qd_error *err)
{
    qd_recipe *recipe = NULL;
    qd_code code = qd_alloc(1, sizeof *recipe, (void **)&recipe, err);
    if (code != QD_OK)
        return code;
    recipe->tags = json_object();
    if (recipe->tags == NULL)
        code = qd_fail(err, QD_ENOMEM, "out of memory");
    for (size_t i = 0; code == QD_OK && qd_field_at(i) != NULL; i++)
        code = set_default(recipe, qd_field_at(i), err);
    if (code != QD_OK) {
        qd_recipe_destroy(recipe);
        return code;
    }
    *out = recipe;
    return QD_OK;
}

const char *qd_recipe_calibrated(const qd_recipe *recipe)
{
    const qd_transform_use *shaping = qd_transforms_shaping(&recipe->transforms);
    if (recipe->algorithm->needs != QD_NEEDS_NOTHING)
        return recipe->algorithm->name;
    return shaping == NULL ? NULL : shaping->row->name;
}

bool qd_recipe_compares_streams(const qd_recipe *recipe)
{
    return recipe->algorithm->needs == QD_NEEDS_MISMATCH || qd_transforms_shaping(&recipe->transforms) != NULL;
}

const char *qd_origin_name(qd_origin origin)
{
    static const char *const names[] = {
        [QD_FROM_NOWHERE] = "none", [QD_FROM_TEXT] = "text", [QD_FROM_MODEL] = QD_SELF
    };
    return names[origin];
}

bool qd_source_is_self(const char *source)
{
    return source != NULL && strcmp(source, QD_SELF) == 0;
}

const char *qd_source_url(const char *source)
{
    return qd_source_is_self(source) ? NULL : source;
}

qd_origin qd_recipe_calibration_origin(const qd_recipe *recipe, qd_text_there text)
{
    if (qd_source_is_self(recipe->calibration_source))
        return QD_FROM_MODEL;
    if (text == QD_TEXT_THERE)
        return QD_FROM_TEXT;
    return qd_recipe_calibrated(recipe) == NULL ? QD_FROM_NOWHERE : QD_FROM_MODEL;
}

qd_origin qd_recipe_evaluation_origin(const qd_recipe *recipe, qd_text_there text)
{
    if (qd_source_is_self(recipe->evaluation_text))
        return QD_FROM_MODEL;
    return text == QD_TEXT_THERE ? QD_FROM_TEXT : QD_FROM_MODEL;
}

bool qd_recipe_gated(const qd_recipe *recipe)
{
    return recipe->gate_ratio >= 0 || recipe->gate_kl >= 0 || recipe->evaluation_also.count > 0;
}

qd_code qd_recipe_gate_refuse(const qd_recipe *recipe, qd_error *err)
{
    if (recipe->evaluation_also.count > 0)
        return qd_fail(
            err, QD_EINVAL,
            "evaluation.also: further texts stand beside a first one, and neither job nor operator names one; "
            "name one in evaluation.text");
    return qd_fail(err, QD_EINVAL,
                   "gate.%s: it is measured on an evaluation text, and neither job nor operator names one; name one in "
                   "evaluation.text, or \"self\" for sequences of the source model's own, or leave the gate out",
                   recipe->gate_ratio >= 0 ? "perplexity_ratio" : "kl");
}

bool qd_recipe_moves_scales(const qd_recipe *recipe)
{
    return recipe->certified || recipe->refine.refit ||
           (recipe->algorithm->aim != NULL && qd_aim_guides(recipe->grid.rule));
}

qd_code qd_recipe_layer_spec(const qd_recipe *recipe, const qd_linear *linear, qd_grid_spec *out, qd_error *err)
{
    *out = recipe->grid;
    for (size_t i = 0; i < recipe->format_count; i++) {
        const qd_format_choice *choice = &recipe->formats[i];
        qd_grid_spec own = recipe->grid;
        qd_code code = choice->format->layer_spec == NULL
                           ? QD_OK
                           : choice->format->layer_spec(&recipe->grid, choice->variant, linear, &own, err);
        if (code != QD_OK)
            return code;
        if (qd_grid_spec_equal(&own, &recipe->grid))
            continue;
        *out = own;
        return QD_OK;
    }
    return QD_OK;
}

/* What a protocol decides, unless the job does. */
static void settle_evaluation(qd_recipe *recipe, const json_t *request)
{
    const json_t *given = json_object_get(request, "evaluation");
    if (json_object_get(given, "bos") == NULL)
        recipe->evaluation.bos = recipe->evaluation.row->bos;
    if (json_object_get(given, "split") == NULL)
        recipe->evaluation.split = recipe->evaluation.row->split;
}

/* What an alphabet has only one of, it decides. implied: what a container decided, by path. */
void qd_recipe_settle(qd_recipe *recipe, const json_t *request, const json_t *implied)
{
    const json_t *alphabet = json_object_get(request, "alphabet");
    qd_grid_spec *spec = &recipe->grid;
    if (alphabet == NULL)
        alphabet = json_object_get(implied, "alphabet");
    if (json_object_get(alphabet, "levels") != NULL && json_object_get(alphabet, "kind") == NULL)
        spec->alphabet = qd_alphabet_find("levels");
    if (json_object_get(alphabet, "zero") == NULL && json_object_get(implied, "alphabet/zero") == NULL)
        spec->zero = spec->alphabet->zero;
    bool bits_given = json_object_get(request, "bits") != NULL;
    if (!bits_given && spec->alphabet->codes == QD_CODES_OWN_LEVELS)
        spec->bits = qd_levels_bits(spec->levels.count);
    else if (!bits_given && spec->alphabet->bits[1] == 0)
        spec->bits = spec->alphabet->bits[0];
    if (json_object_get(request, "group_size") == NULL && spec->alphabet->group_size != 0)
        spec->group_size = spec->alphabet->group_size;
    if (json_object_get(json_object_get(request, "scale"), "type") == NULL && spec->alphabet->scale_type != NULL)
        spec->scale_type = qd_scale_type_find(spec->alphabet->scale_type);
    settle_evaluation(recipe, request);
}

void qd_recipe_drop_labels(json_t *printed)
{
    static const char *const labels[] = { "name", "tags", "model", "priority", "limits", "webhook", "publish" };
    json_t *unknown = json_incref(json_object_get(json_object_get(printed, "model"), "unknown"));
    for (size_t i = 0; i < QD_LENGTH(labels); i++)
        json_object_del(printed, labels[i]);
    if (unknown != NULL && strcmp(json_string_value(unknown), "refuse") != 0) /* says which layers there are */
        json_object_set_new(printed, "model", json_pack("{s:O}", "unknown", unknown));
    json_decref(unknown);
}

void qd_recipe_keep_layers(json_t *printed)
{
    static const char *const others[] = { "name",    "tags",        "model",     "evaluation", "gate",
                                          "format",  "calibration", "effort",    "priority",   "limits",
                                          "webhook", "publish",     "arithmetic" };
    for (size_t i = 0; i < QD_LENGTH(others); i++)
        json_object_del(printed, others[i]);
}

/* Removes "a/b" from a tree of objects. */
static void remove_path(json_t *object, const char *path)
{
    const char *slash = strchr(path, '/');
    if (slash == NULL) {
        json_object_del(object, path);
        return;
    }
    char key[QD_WORD];
    snprintf(key, sizeof key, "%.*s", (int)(slash - path), path);
    remove_path(json_object_get(object, key), slash + 1);
}

json_t *qd_recipe_redact(const json_t *request)
{
    json_t *copy = json_deep_copy(request);
    for (size_t i = 0; copy != NULL && qd_field_at(i) != NULL; i++)
        if (qd_field_at(i)->traits & QD_FIELD_SECRET)
            remove_path(copy, qd_field_at(i)->path);
    return copy;
}
