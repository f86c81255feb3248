/* recipe_transforms.c: see recipe_transforms.h. */
#include "engine/recipe_transforms.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "engine/recipe_issues.h"
#include "quant/aim.h"

/* Names of a table, as "a, b". */
typedef const char *name_at(const void *table, size_t index);
static void list(name_at *name, const void *table, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; name(table, i) != NULL && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", i == 0 ? "" : ", ", name(table, i));
}

static const char *row_name(const void *table, size_t index)
{
    (void)table;
    return qd_transform_at(index) == NULL ? NULL : qd_transform_at(index)->name;
}

static const char *param_name(const void *table, size_t index)
{
    return ((const qd_param *)table)[index].name;
}

static const char *choice_name(const void *table, size_t index)
{
    return ((const char *const *)table)[index];
}

/* ---- parsing ---- */

/* A value on its way into a use. */
typedef struct taking {
    const qd_param *param;
    const char *label, *at; /* "transforms[1].alpha", "/transforms/1/alpha" */
    qd_issues *issues;
} taking;

static void take_choice(const taking *t, const json_t *value, double *out)
{
    char words[200];
    const char *word = json_string_value(value);
    if (word == NULL) {
        qd_complain(t->issues, t->at, "%s: a string is wanted, found %s", t->label, qd_json_type_name(value));
        return;
    }
    for (size_t i = 0; t->param->choices[i] != NULL; i++)
        if (strcmp(t->param->choices[i], word) == 0) {
            *out = (double)i;
            return;
        }
    list(choice_name, t->param->choices, words, sizeof words);
    qd_complain(t->issues, t->at, "%s: '%s' is not in %s", t->label, qd_show(word).text, words);
}

static void take_number(const taking *t, const json_t *value, double *out)
{
    bool whole = t->param->type == QD_PARAM_INTEGER;
    double given = json_number_value(value);
    if (whole ? !json_is_integer(value) : !json_is_number(value))
        qd_complain(t->issues, t->at, "%s: %s is wanted, found %s", t->label, whole ? "an integer" : "a number",
                    qd_json_type_name(value));
    else if (!(given >= t->param->min && given <= t->param->max))
        qd_complain(t->issues, t->at, "%s: %.17g is not in %g..%g", t->label, given, t->param->min, t->param->max);
    else
        *out = given;
}

static void take_param(const taking *t, const json_t *value, double *out)
{
    switch (t->param->type) {
    case QD_PARAM_CHOICE:
        take_choice(t, value, out);
        return;
    case QD_PARAM_BOOLEAN:
        if (json_is_boolean(value))
            *out = json_is_true(value);
        else
            qd_complain(t->issues, t->at, "%s: true or false is wanted, found %s", t->label, qd_json_type_name(value));
        return;
    case QD_PARAM_REAL:
    case QD_PARAM_INTEGER:
        take_number(t, value, out);
        return;
    }
}

static void take_member(const char *key, const json_t *value, size_t index, const char *at, qd_transform_use *use,
                        qd_issues *issues)
{
    char label[sizeof((qd_shown *)0)->text + 40], known[200];
    qd_pointer where = qd_pointer_to(at, key);
    const qd_param *params = use->row->params;
    size_t i = 0;
    if (strcmp(key, "kind") == 0)
        return;
    while (params[i].name != NULL && strcmp(params[i].name, key) != 0)
        i++;
    snprintf(label, sizeof label, "transforms[%zu].%s", index, qd_show(key).text);
    if (params[i].name == NULL) {
        list(param_name, params, known, sizeof known);
        qd_complain(issues, where.text, "%s: no such field of '%s'; known are kind, %s", label, use->row->name, known);
        return;
    }
    const taking t = { &params[i], label, where.text, issues };
    take_param(&t, value, &use->values[i]);
}

/* "magr" or {"kind": "magr", ...}; false where the kind is not known. */
static bool take_kind(const json_t *value, size_t index, const char *at, qd_transform_use *out, qd_issues *issues)
{
    char where[160], known[200];
    const json_t *kind = json_is_object(value) ? json_object_get(value, "kind") : value;
    snprintf(where, sizeof where, "%.80s%s", at, json_is_object(value) && kind != NULL ? "/kind" : "");
    list(row_name, NULL, known, sizeof known);
    const qd_transform *row = json_is_string(kind) ? qd_transform_find(json_string_value(kind)) : NULL;
    if (row != NULL) {
        *out = qd_transform_default(row);
        return true;
    }
    if (json_is_string(kind))
        qd_complain(issues, where, "transforms[%zu]: '%s' is not in %s", index, qd_show(json_string_value(kind)).text,
                    known);
    else
        qd_complain(issues, where, "transforms[%zu]: a name, or an object with its kind (%s), is wanted, found %s",
                    index, known, kind == NULL ? "an object without kind" : qd_json_type_name(kind));
    return false;
}

static void take_item(const json_t *value, size_t index, const char *at, qd_transforms *out, qd_issues *issues)
{
    const char *key;
    json_t *item;
    qd_transform_use use;
    if (!take_kind(value, index, at, &use, issues))
        return;
    json_object_foreach((json_t *)(uintptr_t)value, key, item)
    {
        take_member(key, item, index, at, &use, issues);
    }
    for (size_t i = 0; i < out->count; i++)
        if (out->items[i].row == use.row) {
            qd_complain(issues, at, "transforms[%zu]: '%s' is in the list already; each is done at most once", index,
                        use.row->name);
            return;
        }
    if (out->count < QD_TRANSFORMS_MAX)
        out->items[out->count++] = use;
}

void qd_transforms_read(const json_t *value, const char *at, qd_transforms *out, qd_issues *issues)
{
    *out = (qd_transforms){ 0 };
    if (!json_is_array(value)) {
        qd_complain(issues, at, "transforms: a list of transforms is wanted, found %s", qd_json_type_name(value));
        return;
    }
    if (json_array_size(value) > QD_TRANSFORMS_MAX) {
        qd_complain(issues, at, "transforms: %zu of them; at most %d are allowed", json_array_size(value),
                    QD_TRANSFORMS_MAX);
        return;
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        char where[160];
        snprintf(where, sizeof where, "%.80s/%zu", at, i);
        take_item(json_array_get(value, i), i, where, out, issues);
    }
}

/* Scales of a target do not see what a transform made of the weights, and nothing else would but the original start. */
static bool is_idle(const qd_recipe *recipe, const qd_transform *row)
{
    return row->shape != NULL && recipe->algorithm->aim != NULL && qd_aim_guides(recipe->grid.rule) &&
           recipe->mismatch.start == QD_START_PROJECTED;
}

/* The first format that holds levels of a grid only; NULL = none does. */
static const qd_format *on_grid(const qd_recipe *recipe)
{
    for (size_t i = 0; i < recipe->format_count; i++)
        if (!recipe->formats[i].format->off_grid)
            return recipe->formats[i].format;
    return NULL;
}

void qd_transforms_check(const qd_recipe *recipe, qd_issues *issues)
{
    const qd_transforms *list_of = &recipe->transforms;
    for (size_t i = 0; i < list_of->count; i++) {
        char where[64];
        snprintf(where, sizeof where, "/transforms/%zu", i);
        if (is_idle(recipe, list_of->items[i].row))
            qd_complain(issues, where,
                        "transforms[%zu]: '%s' does nothing beside scale.rule '%s', which '%s' applies to its target; "
                        "'minmax' and 'mse' go by the weights that '%s' makes",
                        i, list_of->items[i].row->name, recipe->grid.rule->name, recipe->algorithm->name,
                        list_of->items[i].row->name);
        const qd_format *packed = list_of->items[i].row->turn == NULL ? NULL : on_grid(recipe);
        if (packed != NULL)
            qd_complain(
                issues, where,
                "transforms[%zu]: '%s' does not go with format '%s', which stores codes of the weights themselves; "
                "use format 'safetensors' (dequantized, turned back), or leave '%s' out",
                i, list_of->items[i].row->name, packed->name, list_of->items[i].row->name);
    }
}

/* ---- printing ---- */

static json_t *print_param(const qd_param *param, double value)
{
    switch (param->type) {
    case QD_PARAM_CHOICE:
        return json_string(param->choices[(size_t)value]);
    case QD_PARAM_BOOLEAN:
        return json_boolean(value != 0);
    case QD_PARAM_REAL:
    case QD_PARAM_INTEGER:
        break;
    }
    return value == rint(value) ? json_integer((json_int_t)value) : json_real(value);
}

json_t *qd_transforms_print(const qd_transforms *transforms)
{
    json_t *out = json_array();
    for (size_t i = 0; i < transforms->count; i++) {
        const qd_transform_use *use = &transforms->items[i];
        json_t *one = json_pack("{s:s}", "kind", use->row->name);
        for (size_t k = 0; use->row->params[k].name != NULL; k++)
            json_object_set_new(one, use->row->params[k].name, print_param(&use->row->params[k], use->values[k]));
        json_array_append_new(out, one);
    }
    return out;
}

static json_t *describe_param(const qd_param *param)
{
    json_t *out = json_pack("{s:s, s:o}", "description", param->help, "default", print_param(param, param->def));
    if (param->unit != NULL)
        json_object_set_new(out, "x-unit", json_string(param->unit));
    if (param->type == QD_PARAM_BOOLEAN)
        json_object_set_new(out, "type", json_string("boolean"));
    else if (param->type == QD_PARAM_CHOICE) {
        json_t *words = json_array();
        for (size_t i = 0; param->choices[i] != NULL; i++)
            json_array_append_new(words, json_string(param->choices[i]));
        json_object_set_new(out, "type", json_string("string"));
        json_object_set_new(out, "enum", words);
    } else {
        json_object_set_new(out, "type", json_string(param->type == QD_PARAM_INTEGER ? "integer" : "number"));
        json_object_set_new(out, "minimum", print_param(param, param->min));
        json_object_set_new(out, "maximum", print_param(param, param->max));
    }
    return out;
}

json_t *qd_transforms_describe(void)
{
    json_t *names = json_array(), *any = json_array();
    json_array_append_new(any, json_pack("{s:s, s:O}", "type", "string", "enum", names));
    for (size_t i = 0; qd_transform_at(i) != NULL; i++) {
        const qd_transform *row = qd_transform_at(i);
        json_t *properties = json_pack("{s:{s:s}}", "kind", "const", row->name);
        for (const qd_param *param = row->params; param->name != NULL; param++)
            json_object_set_new(properties, param->name, describe_param(param));
        json_array_append_new(names, json_string(row->name));
        json_array_append_new(any,
                              json_pack("{s:s, s:s, s:b, s:[s], s:o}", "type", "object", "description", row->summary,
                                        "additionalProperties", 0, "required", "kind", "properties", properties));
    }
    json_decref(names);
    return json_pack("{s:s, s:i, s:{s:o}}", "type", "array", "maxItems", QD_TRANSFORMS_MAX, "items", "oneOf", any);
}
