/* recipe_print.c: recipe -> JSON, and what a request may look like: JSON Schema, by the field table. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "engine/effort.h"
#include "engine/recipe_fields.h"
#include "engine/recipe_formats.h"
#include "engine/recipe_tasks.h"
#include "engine/recipe_texts.h"
#include "engine/recipe_transforms.h"

static const void *member(const qd_recipe *recipe, const qd_field *field)
{
    return (const char *)recipe + field->offset;
}

static json_t *print_number(double value)
{
    bool whole = value > -0x1p53 && value < 0x1p53 && value == (double)(json_int_t)value;
    return whole ? json_integer((json_int_t)value) : json_real(value);
}

static json_t *print_text(const char *text)
{
    return text == NULL ? json_null() : json_string(text);
}

static json_t *print_count(const qd_field *field, uint64_t value)
{
    return value == 0 && (field->traits & QD_FIELD_NULLABLE) ? json_null() : json_integer((json_int_t)value);
}

static json_t *print_real(const qd_field *field, double value)
{
    return value < 0 && (field->traits & QD_FIELD_NULLABLE) ? json_null() : print_number(value);
}

static json_t *print_choice(const qd_recipe *recipe, const qd_field *field)
{
    char word[QD_WORD];
    return field->choice->give(recipe, word) ? json_string(word) : json_null();
}

static json_t *print_map(const json_t *map)
{
    return map == NULL ? json_null() : json_deep_copy(map);
}

static json_t *print_shrink(const qd_mismatch_use *use)
{
    return use->shrink == QD_SHRINK_AUTO ? json_string("auto") : print_number(use->share);
}

/* The shortest number that is the same in float32. */
static json_t *print_float(double value)
{
    char text[40];
    double shown = value;
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        shown = strtod(text, NULL);
        if ((float)shown == (float)value)
            break;
    }
    return print_number(shown);
}

static json_t *print_levels(const qd_levels *levels)
{
    json_t *out = json_array();
    for (size_t k = 0; k < levels->count; k++)
        json_array_append_new(out, print_float(levels->value[k]));
    return out;
}

static json_t *print_value(const qd_recipe *recipe, const qd_field *field)
{
    const void *at = member(recipe, field);
    switch (field->type) {
    case QD_FIELD_OBJECT:
        return json_object();
    case QD_FIELD_TEXT:
    case QD_FIELD_URL:
        return print_text(*(char *const *)at);
    case QD_FIELD_COUNT:
        return print_count(field, *(const uint64_t *)at);
    case QD_FIELD_REAL:
    case QD_FIELD_WIDTH:
        return print_real(field, *(const double *)at);
    case QD_FIELD_BOOLEAN:
        return json_boolean(*(const bool *)at);
    case QD_FIELD_CHOICE:
        return print_choice(recipe, field);
    case QD_FIELD_LABELS:
    case QD_FIELD_DIGESTS:
        return print_map(*(json_t *const *)at);
    case QD_FIELD_SHRINK:
        return print_shrink(at);
    case QD_FIELD_TRANSFORMS:
        return qd_transforms_print(at);
    case QD_FIELD_FORMATS:
        return qd_formats_print(recipe);
    case QD_FIELD_TASKS:
        return qd_tasks_print(recipe);
    case QD_FIELD_LEVELS:
        return print_levels(at);
    case QD_FIELD_TEXTS:
        return qd_texts_print(at);
    case QD_FIELD_REGULARIZATION:
        return recipe->regularizer->value == QD_VALUE_HELD_OUT
                   ? json_string(recipe->regularizer->name)
                   : json_pack("{s:f}", recipe->regularizer->name, recipe->regularization);
    }
    return NULL;
}

/* The object a field's value goes into: parents stand before their children in the table. */
static json_t *parent_of(json_t *root, const qd_field *field)
{
    char key[QD_WORD];
    size_t length = (size_t)(qd_field_key(field) - field->path);
    if (length == 0)
        return root;
    memcpy(key, field->path, length - 1);
    key[length - 1] = '\0';
    return json_object_get(root, key);
}

typedef enum extent { FIELDS_THAT_APPLY, EVERY_FIELD } extent;
static json_t *print_fields(const qd_recipe *recipe, extent which)
{
    json_t *out = json_object();
    for (size_t i = 0; out != NULL && qd_field_at(i) != NULL; i++) {
        const qd_field *field = qd_field_at(i);
        if ((field->traits & QD_FIELD_SECRET) ||
            (which == FIELDS_THAT_APPLY && field->applies != NULL && !field->applies(recipe)))
            continue;
        if (json_object_set_new(parent_of(out, field), qd_field_key(field), print_value(recipe, field)) != 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

json_t *qd_recipe_print(const qd_recipe *recipe)
{
    return print_fields(recipe, FIELDS_THAT_APPLY);
}

/* ---- schema ---- */

/* Of all alphabets, ascending. */
static json_t *describe_widths(void)
{
    json_t *all = json_array();
    for (size_t i = 0; qd_alphabet_at(i) != NULL; i++)
        for (const double *b = qd_alphabet_at(i)->bits; *b > 0; b++) {
            size_t k = 0;
            while (k < json_array_size(all) && json_number_value(json_array_get(all, k)) < *b)
                k++;
            if (json_number_value(json_array_get(all, k)) != *b)
                json_array_insert_new(all, k, print_number(*b));
        }
    return json_pack("{s:s, s:o}", "type", "number", "enum", all);
}

static json_t *describe_words(const qd_field *field)
{
    char word[QD_WORD];
    json_t *words = json_array();
    for (size_t i = 0; field->choice->name(i, word); i++)
        json_array_append_new(words, json_string(word));
    if (field->traits & QD_FIELD_NULLABLE)
        json_array_append_new(words, json_null());
    return json_pack("{s:s, s:o}", "type", "string", "enum", words);
}

static json_t *describe_range(const qd_field *field, const char *type)
{
    return json_pack("{s:s, s:o, s:o}", "type", type, field->traits & QD_FIELD_ABOVE ? "exclusiveMinimum" : "minimum",
                     print_number(field->min), field->traits & QD_FIELD_BELOW ? "exclusiveMaximum" : "maximum",
                     print_number(field->max));
}

static json_t *describe_regularization(void)
{
    json_t *any = json_array();
    for (size_t i = 0; qd_regularizer_at(i) != NULL; i++) {
        const qd_param *param = &qd_regularizer_at(i)->params[0];
        if (param->name == NULL) {
            json_array_append_new(any, json_pack("{s:s}", "const", qd_regularizer_at(i)->name));
            continue;
        }
        json_array_append_new(any, json_pack("{s:s, s:b, s:[s], s:{s:{s:s, s:f, s:f, s:f, s:s}}}", "type", "object",
                                             "additionalProperties", 0, "required", param->name, "properties",
                                             param->name, "type", "number", "minimum", param->min, "maximum",
                                             param->max, "default", param->def, "description", param->help));
    }
    return json_pack("{s:o}", "oneOf", any);
}

static json_t *describe_type(const qd_field *field)
{
    switch (field->type) {
    case QD_FIELD_OBJECT:
        return json_pack("{s:s, s:b, s:{}}", "type", "object", "additionalProperties", 0, "properties");
    case QD_FIELD_TEXT:
        return json_pack("{s:s, s:I, s:I}", "type", "string", "minLength", (json_int_t)field->min, "maxLength",
                         (json_int_t)field->max);
    case QD_FIELD_URL:
        return json_pack("{s:s, s:s, s:I}", "type", "string", "pattern",
                         (field->traits & QD_FIELD_SELF) != 0 ? "://|^" QD_SELF "$" : "://", "maxLength",
                         (json_int_t)field->max);
    case QD_FIELD_COUNT:
        return describe_range(field, "integer");
    case QD_FIELD_REAL:
        return describe_range(field, "number");
    case QD_FIELD_WIDTH:
        return describe_widths();
    case QD_FIELD_BOOLEAN:
        return json_pack("{s:s}", "type", "boolean");
    case QD_FIELD_CHOICE:
        return describe_words(field);
    case QD_FIELD_LABELS:
        return json_pack("{s:s, s:{s:s, s:I}}", "type", "object", "additionalProperties", "type", "string", "maxLength",
                         (json_int_t)field->max);
    case QD_FIELD_DIGESTS:
        return json_pack("{s:s, s:{s:s, s:s}}", "type", "object", "additionalProperties", "type", "string", "pattern",
                         "^[0-9a-fA-F]{64}$");
    case QD_FIELD_SHRINK:
        return json_pack("{s:[{s:s}, o]}", "oneOf", "const", "auto", describe_range(field, "number"));
    case QD_FIELD_LEVELS:
        return json_pack("{s:s, s:{s:s}, s:I, s:I}", "type", "array", "items", "type", "number", "minItems",
                         (json_int_t)field->min, "maxItems", (json_int_t)field->max);
    case QD_FIELD_REGULARIZATION:
        return describe_regularization();
    case QD_FIELD_TRANSFORMS:
        return qd_transforms_describe();
    case QD_FIELD_FORMATS:
        return qd_formats_describe();
    case QD_FIELD_TASKS:
        return qd_tasks_describe();
    case QD_FIELD_TEXTS:
        return qd_texts_describe();
    }
    return NULL;
}

/* Type, help, unit, default and whether it may be null or is write-only. */
static json_t *describe(const qd_field *field, const json_t *defaults)
{
    json_t *out = describe_type(field);
    json_object_set_new(out, "description", json_string(field->help));
    if (field->unit != NULL)
        json_object_set_new(out, "x-unit", json_string(field->unit));
    if (field->wanted != NULL)
        json_object_set_new(out, "x-applies-to", json_string(field->wanted));
    if (field->traits & QD_FIELD_SECRET)
        json_object_set_new(out, "writeOnly", json_true());
    if (field->traits & QD_FIELD_NULLABLE)
        json_object_set_new(out, "type", json_pack("[O, s]", json_object_get(out, "type"), "null"));
    const json_t *value = json_object_get(defaults, qd_field_key(field));
    if (qd_effort_decides(field->path))
        json_object_set_new(out, "x-default-by", json_string("effort"));
    else if (field->decided_by != NULL)
        json_object_set_new(out, "x-default-by", json_string(field->decided_by));
    else if (value != NULL && field->type != QD_FIELD_OBJECT &&
             !(field->traits & (QD_FIELD_REQUIRED | QD_FIELD_DERIVED)))
        json_object_set_new(out, "default", json_deep_copy(value));
    return out;
}

/* The object's schema with the schemas of its members; a bare string stands for one of them where there is a
 * shorthand. */
static json_t *describe_object(const char *path, json_t *object, const json_t *defaults)
{
    json_t *properties = json_object_get(object, "properties"), *required = json_array();
    for (size_t i = 0; qd_field_at(i) != NULL; i++) {
        const qd_field *field = qd_field_at(i);
        if (!qd_field_is_member(field, path))
            continue;
        json_t *schema = describe(field, defaults);
        if (field->type == QD_FIELD_OBJECT)
            schema = describe_object(field->path, schema, json_object_get(defaults, qd_field_key(field)));
        if (field->shorthand != NULL)
            schema = json_pack(/* any: null may be both */
                               "{s:[O, o]}", "anyOf",
                               json_object_get(json_object_get(schema, "properties"),
                                               field->shorthand + strlen(field->path) + 1),
                               schema);
        json_object_set_new(properties, qd_field_key(field), schema);
        if (field->traits & QD_FIELD_REQUIRED)
            json_array_append_new(required, json_string(qd_field_key(field)));
    }
    if (json_array_size(required) > 0)
        json_object_set(object, "required", required);
    json_decref(required);
    return object;
}

json_t *qd_recipe_schema(void)
{
    qd_recipe *recipe = NULL;
    if (qd_recipe_create(&recipe, NULL) != QD_OK)
        return NULL;
    QD_AUTO(qd_json_fini) json_t *defaults = print_fields(recipe, EVERY_FIELD);
    qd_recipe_destroy(recipe);
    json_t *root = json_pack("{s:s, s:s, s:s, s:b, s:{}}", "$schema", "https://json-schema.org/draft/2020-12/schema",
                             "title", "quantd job", "type", "object", "additionalProperties", 0, "properties");
    return root == NULL || defaults == NULL ? root : describe_object("", root, defaults);
}
