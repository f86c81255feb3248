/* recipe_json.c: JSON -> recipe, by the field table. Every finding is kept, with a JSON Pointer and a sentence. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"
#include "engine/effort.h"
#include "engine/recipe_checks.h"
#include "engine/recipe_formats.h"
#include "engine/recipe_issues.h"
#include "engine/recipe_tasks.h"
#include "engine/recipe_texts.h"
#include "engine/recipe_transforms.h"

typedef struct parser {
    qd_recipe *recipe;
    qd_issues *issues;
    qd_code code; /* out of memory: the only failure that is not a finding */
    qd_error *err;
} parser;

static void *member(const parser *p, const qd_field *field)
{
    return (char *)p->recipe + field->offset;
}

static void complain_type(parser *p, const qd_field *field, const json_t *value, const char *at, const char *wanted)
{
    qd_complain(p->issues, at, "%s: %s is wanted, found %s", qd_label_of(field->path).text, wanted,
                qd_json_type_name(value));
}

static bool check_text(parser *p, const qd_field *field, const char *text, const char *at)
{
    size_t count = qd_characters(text);
    qd_label name = qd_label_of(field->path);
    if (count == (size_t)-1)
        qd_complain(p->issues, at, "%s: '%s' has a control character", name.text, qd_show(text).text);
    else if ((double)count > field->max)
        qd_complain(p->issues, at, "%s: %zu characters; at most %.0f are allowed", name.text, count, field->max);
    else if ((double)count < field->min)
        qd_complain(p->issues, at, "%s: an empty text; at least %.0f character is wanted", name.text, field->min);
    else if ((field->traits & QD_FIELD_SELF) != 0 && qd_source_is_self(text))
        return true;
    else if (field->type == QD_FIELD_URL && strstr(text, "://") == NULL)
        qd_complain(p->issues, at, "%s: '%s' is no URL (scheme://...)%s", name.text, qd_show(text).text,
                    (field->traits & QD_FIELD_SELF) != 0 ? ", nor " QD_SELF : "");
    else
        return true;
    return false;
}

static void take_text(parser *p, const qd_field *field, const json_t *value, const char *at)
{
    if (!json_is_string(value)) {
        complain_type(p, field, value, at, field->type == QD_FIELD_URL ? "a string (a URL)" : "a string");
        return;
    }
    if (!check_text(p, field, json_string_value(value), at))
        return;
    char **slot = member(p, field);
    free(*slot);
    *slot = NULL;
    qd_code code = qd_dup(json_string_value(value), slot, p->err);
    if (code != QD_OK)
        p->code = code;
}

/* "0..1", "(0, 4]" with the ends that count. */
static void complain_range(parser *p, const qd_field *field, double given, const char *at)
{
    bool open = (field->traits & (QD_FIELD_ABOVE | QD_FIELD_BELOW)) != 0;
    if (open)
        qd_complain(p->issues, at, "%s: %.17g is not in %c%g, %g%c", qd_label_of(field->path).text, given,
                    field->traits & QD_FIELD_ABOVE ? '(' : '[', field->min, field->max,
                    field->traits & QD_FIELD_BELOW ? ')' : ']');
    else
        qd_complain(p->issues, at, "%s: %.17g is not in %.17g..%.17g", qd_label_of(field->path).text, given, field->min,
                    field->max);
}

static bool in_range(const qd_field *field, double given)
{
    bool above = field->traits & QD_FIELD_ABOVE ? given > field->min : given >= field->min;
    bool below = field->traits & QD_FIELD_BELOW ? given < field->max : given <= field->max;
    return above && below;
}

static void take_count(parser *p, const qd_field *field, const json_t *value, const char *at)
{
    if (!json_is_integer(value))
        complain_type(p, field, value, at, "an integer");
    else if (!in_range(field, (double)json_integer_value(value)))
        complain_range(p, field, (double)json_integer_value(value), at);
    else
        *(uint64_t *)member(p, field) = (uint64_t)json_integer_value(value);
}

static void take_real(parser *p, const qd_field *field, const json_t *value, const char *at)
{
    double given = json_number_value(value);
    if (!json_is_number(value))
        complain_type(p, field, value, at, "a number");
    else if (field->type == QD_FIELD_REAL && !in_range(field, given))
        complain_range(p, field, given, at);
    else
        *(double *)member(p, field) = given;
}

static void take_boolean(parser *p, const qd_field *field, const json_t *value, const char *at)
{
    if (json_is_boolean(value))
        *(bool *)member(p, field) = json_is_true(value);
    else
        complain_type(p, field, value, at, "true or false");
}

/* "rtn, optq, gptq" */
static void list_words(const qd_choice *choice, char *out, size_t size)
{
    char word[QD_WORD];
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; choice->name(i, word) && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", i == 0 ? "" : ", ", word);
}

static void take_choice(parser *p, const qd_field *field, const json_t *value, const char *at)
{
    char words[240];
    if (!json_is_string(value)) {
        complain_type(p, field, value, at, "a string");
        return;
    }
    if (field->choice->take(p->recipe, json_string_value(value)))
        return;
    list_words(field->choice, words, sizeof words);
    qd_complain(p->issues, at, "%s: '%s' is not in %s", qd_label_of(field->path).text,
                qd_show(json_string_value(value)).text, words);
}

enum { MAP_MEMBERS = 64 };

static void check_map_member(parser *p, const qd_field *field, const char *key, const json_t *value, const char *at)
{
    qd_pointer where = qd_pointer_to(at, key);
    qd_label name = qd_label_of(field->path);
    size_t length = qd_characters(key);
    if (length == 0 || length > 200)
        qd_complain(p->issues, where.text, "%s: a key of 1 to 200 characters is wanted, found '%s'", name.text,
                    qd_show(key).text);
    else if (!json_is_string(value))
        qd_complain(p->issues, where.text, "%s: '%s': a string is wanted, found %s", name.text, qd_show(key).text,
                    qd_json_type_name(value));
    else if (field->type == QD_FIELD_DIGESTS && !qd_hex_ok(json_string_value(value), 64, QD_HEX_EITHER))
        qd_complain(p->issues, where.text, "%s: '%s': '%s' is not 64 hexadecimal digits", name.text, qd_show(key).text,
                    qd_show(json_string_value(value)).text);
    else if (field->type == QD_FIELD_LABELS && !((double)qd_characters(json_string_value(value)) <= field->max))
        qd_complain(p->issues, where.text,
                    "%s: '%s': a text of at most %.0f characters is wanted, without control characters", name.text,
                    qd_show(key).text, field->max);
}

static void take_map(parser *p, const qd_field *field, const json_t *value, const char *at)
{
    const char *key;
    json_t *item, **slot = member(p, field);
    if (!json_is_object(value)) {
        complain_type(p, field, value, at, "an object of strings");
        return;
    }
    size_t before = p->issues->count;
    if (json_object_size(value) > MAP_MEMBERS)
        qd_complain(p->issues, at, "%s: %zu members; at most %d are allowed", qd_label_of(field->path).text,
                    json_object_size(value), MAP_MEMBERS);
    json_object_foreach((json_t *)(uintptr_t)value, key, item)
    {
        check_map_member(p, field, key, item, at);
    }
    if (p->issues->count != before)
        return;
    json_decref(*slot);
    *slot = json_deep_copy(value);
    if (*slot == NULL)
        p->code = qd_fail(p->err, QD_ENOMEM, "out of memory");
}

/* Names of the rules whose value the job gives, or of those that find it. */
static void list_rules(qd_damping_value value, char *out, size_t size)
{
    out[0] = '\0';
    for (size_t i = 0; qd_regularizer_at(i) != NULL; i++)
        if (qd_regularizer_at(i)->value == value)
            snprintf(out + strlen(out), size - strlen(out), "%s%s", out[0] == '\0' ? "" : ", ",
                     qd_regularizer_at(i)->name);
}

/* {"mean_diagonal": 0.01}: a row of the registry and its value. */
static void take_rule(parser *p, const char *key, const json_t *value, const char *at)
{
    const qd_regularizer *rule = qd_regularizer_find(key);
    qd_pointer where = qd_pointer_to(at, key);
    char known[200];
    if (rule == NULL || rule->value != QD_VALUE_GIVEN) {
        list_rules(QD_VALUE_GIVEN, known, sizeof known);
        qd_complain(p->issues, where.text, "regularization: '%s' is not in %s", qd_show(key).text, known);
    } else if (!json_is_number(value))
        qd_complain(p->issues, where.text, "regularization.%s: a number is wanted, found %s", key,
                    qd_json_type_name(value));
    else if (!(json_number_value(value) >= rule->params[0].min && json_number_value(value) <= rule->params[0].max))
        qd_complain(p->issues, where.text, "regularization.%s: %.17g is not in %g..%g", key, json_number_value(value),
                    rule->params[0].min, rule->params[0].max);
    else {
        p->recipe->regularizer = rule;
        p->recipe->regularization = json_number_value(value);
    }
}

/* "auto": a row that finds its value. */
static void take_rule_name(parser *p, const char *name, const char *at)
{
    const qd_regularizer *rule = qd_regularizer_find(name);
    char known[200];
    if (rule == NULL || rule->value == QD_VALUE_GIVEN) {
        list_rules(QD_VALUE_HELD_OUT, known, sizeof known);
        qd_complain(p->issues, at, "regularization: '%s' is not in %s, or an object as {\"%s\": %g}",
                    qd_show(name).text, known, qd_regularizer_at(0)->name, qd_regularizer_at(0)->params[0].def);
        return;
    }
    p->recipe->regularizer = rule;
    p->recipe->regularization = QD_DAMPING_FALLBACK;
}

static void take_regularization(parser *p, const qd_field *field, const json_t *value, const char *at)
{
    const char *key;
    json_t *item;
    if (json_is_string(value))
        take_rule_name(p, json_string_value(value), at);
    else if (!json_is_object(value) || json_object_size(value) != 1)
        qd_complain(p->issues, at, "%s: \"auto\" or an object of one rule and its value is wanted, found %s%s",
                    field->path, qd_json_type_name(value),
                    json_is_object(value) ? " with another number of members" : "");
    else
        json_object_foreach((json_t *)(uintptr_t)value, key, item)
        {
            take_rule(p, key, item, at);
        }
}

static void take_shrink(parser *p, const qd_field *field, const json_t *value, const char *at)
{
    qd_mismatch_use *use = member(p, field);
    if (json_is_string(value) && strcmp(json_string_value(value), "auto") == 0)
        use->shrink = QD_SHRINK_AUTO;
    else if (json_is_string(value))
        qd_complain(p->issues, at, "%s: '%s' is not in auto, or a number in %g..%g", qd_label_of(field->path).text,
                    qd_show(json_string_value(value)).text, field->min, field->max);
    else if (!json_is_number(value))
        complain_type(p, field, value, at, "\"auto\" or a number");
    else if (!in_range(field, json_number_value(value)))
        complain_range(p, field, json_number_value(value), at);
    else {
        use->shrink = QD_SHRINK_FIXED;
        use->share = json_number_value(value);
    }
}

static void take_levels(parser *p, const qd_field *field, const json_t *value, const char *at)
{
    double values[QD_LEVELS_MAX];
    size_t count = json_array_size(value);
    qd_label name = qd_label_of(field->path);
    qd_error why = { 0 };
    if (!json_is_array(value)) {
        complain_type(p, field, value, at, "an array of numbers");
        return;
    }
    for (size_t k = 0; k < count && k < QD_LEVELS_MAX; k++) {
        const json_t *item = json_array_get(value, k);
        if (!json_is_number(item)) {
            qd_complain(p->issues, at, "%s: level %zu: a number is wanted, found %s", name.text, k,
                        qd_json_type_name(item));
            return;
        }
        values[k] = json_number_value(item);
    }
    if (qd_levels_init(values, count, member(p, field), &why) != QD_OK)
        qd_complain(p->issues, at, "%s: %s", name.text, why.text);
}

static void take_texts(parser *p, const qd_field *field, const json_t *value, const char *at)
{
    qd_code code = qd_texts_read(value, at, member(p, field), p->issues, p->err);
    if (code != QD_OK)
        p->code = code;
}

static void parse_members(parser *p, const json_t *object, const char *parent, const char *at);

/* Of a field that may be null. */
static void parse_null(parser *p, const qd_field *field)
{
    if (field->type == QD_FIELD_CHOICE)
        field->choice->take(p->recipe, NULL);
    else if (field->type == QD_FIELD_COUNT)
        *(uint64_t *)member(p, field) = 0;
    else if (field->type == QD_FIELD_REAL)
        *(double *)member(p, field) = -1;
    /* texts and maps that may be null are null already, as are the members of an object */
}

static void parse_value(parser *p, const qd_field *field, const json_t *value, const char *at)
{
    if (json_is_null(value) && field->traits & QD_FIELD_NULLABLE) {
        parse_null(p, field);
        return;
    }
    switch (field->type) {
    case QD_FIELD_OBJECT:
        if (json_is_object(value))
            parse_members(p, value, field->path, at);
        else if (field->shorthand != NULL && json_is_string(value))
            parse_value(p, qd_field_find(field->path, field->shorthand + strlen(field->path) + 1), value, at);
        else
            complain_type(p, field, value, at, field->shorthand == NULL ? "an object" : "a string or an object");
        return;
    case QD_FIELD_TEXT:
    case QD_FIELD_URL:
        take_text(p, field, value, at);
        return;
    case QD_FIELD_COUNT:
        take_count(p, field, value, at);
        return;
    case QD_FIELD_REAL:
    case QD_FIELD_WIDTH:
        take_real(p, field, value, at);
        return;
    case QD_FIELD_BOOLEAN:
        take_boolean(p, field, value, at);
        return;
    case QD_FIELD_CHOICE:
        take_choice(p, field, value, at);
        return;
    case QD_FIELD_LABELS:
    case QD_FIELD_DIGESTS:
        take_map(p, field, value, at);
        return;
    case QD_FIELD_SHRINK:
        take_shrink(p, field, value, at);
        return;
    case QD_FIELD_LEVELS:
        take_levels(p, field, value, at);
        return;
    case QD_FIELD_REGULARIZATION:
        take_regularization(p, field, value, at);
        return;
    case QD_FIELD_FORMATS:
        qd_formats_read(value, at, p->recipe, p->issues);
        return;
    case QD_FIELD_TASKS:
        qd_tasks_read(value, at, p->recipe, p->issues);
        return;
    case QD_FIELD_TRANSFORMS:
        qd_transforms_read(value, at, member(p, field), p->issues);
        return;
    case QD_FIELD_TEXTS:
        take_texts(p, field, value, at);
        return;
    }
}

static void complain_unknown(parser *p, const char *parent, const char *key, const char *at)
{
    char known[300] = "";
    size_t used = 0;
    for (size_t i = 0; qd_field_at(i) != NULL && used < sizeof known; i++)
        if (qd_field_is_member(qd_field_at(i), parent))
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", used == 0 ? "" : ", ",
                                     qd_field_key(qd_field_at(i)));
    qd_complain(p->issues, at, "%s%s%s: no such field; known are %s", qd_label_of(parent).text,
                parent[0] == '\0' ? "" : ".", qd_show(key).text, known);
}

static void parse_members(parser *p, const json_t *object, const char *parent, const char *at)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        const qd_field *field = qd_field_find(parent, key);
        qd_pointer where = qd_pointer_to(at, key);
        if (field == NULL)
            complain_unknown(p, parent, key, where.text);
        else
            parse_value(p, field, value, where.text);
    }
    for (size_t i = 0; qd_field_at(i) != NULL; i++) {
        const qd_field *field = qd_field_at(i);
        if (!(field->traits & QD_FIELD_REQUIRED) || !qd_field_is_member(field, parent) ||
            json_object_get(object, qd_field_key(field)) != NULL)
            continue;
        qd_complain(p->issues, qd_pointer_to(at, qd_field_key(field)).text, "%s: is missing; %s",
                    qd_label_of(field->path).text, field->help);
    }
}

/* A value of a table, whose rows are right, or a test says so. */
static void take_own(parser *p, const qd_field *field, const char *text)
{
    QD_AUTO(qd_json_fini) json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    if (value == NULL)
        p->code = qd_fail(p->err, QD_ENOMEM, "out of memory");
    else
        parse_value(p, field, value, field->path);
}

/* Is the field, or the object that it is a member of, named by the job as a whole? "alphabet": "nf4" names alphabet/zero, too. */
static bool is_named(const qd_field *field, const json_t *request)
{
    size_t length = (size_t)(qd_field_key(field) - field->path);
    char parent[QD_WORD];
    snprintf(parent, sizeof parent, "%.*s", length == 0 ? 0 : (int)length - 1, field->path);
    const json_t *whole = length == 0 ? NULL : json_object_get(request, parent);
    return qd_field_value(field, request) != NULL || (whole != NULL && !json_is_object(whole));
}

/* Of several containers the first that has only one of anything; what takes any grid, takes that one. NULL = none. */
static const qd_format_field *implied_fields(const qd_recipe *recipe)
{
    const qd_format_field *fields = NULL;
    for (size_t i = 0; fields == NULL && i < recipe->format_count; i++) {
        const qd_format_choice *choice = &recipe->formats[i];
        fields = choice->format->implied == NULL ? NULL : choice->format->implied(choice->variant);
    }
    return fields;
}

/* What the container of the artifact has only one of. */
static void take_implied(parser *p, const json_t *request, json_t *implied)
{
    const qd_format_field *f = implied_fields(p->recipe);
    for (; f != NULL && f->path != NULL; f++) {
        const qd_field *field = qd_field_at_path(f->path);
        if (is_named(field, request))
            continue;
        take_own(p, field, f->value);
        json_object_set_new(implied, f->path, json_loads(f->value, JSON_DECODE_ANY, NULL));
    }
}

/* The members of the preset that nobody gave and that mean something here. */
static void take_effort(parser *p, const json_t *request, const json_t *implied)
{
    for (const qd_setting *s = p->recipe->effort->settings; s->path != NULL; s++) {
        const qd_field *field = qd_field_at_path(s->path);
        if (qd_field_value(field, request) != NULL || json_object_get(implied, s->path) != NULL ||
            (field->applies != NULL && !field->applies(p->recipe)) || (s->when != NULL && !s->when(p->recipe)))
            continue;
        take_own(p, field, s->value);
    }
}

static const char *const grid_members[] = { "/bits", "/alphabet", "/group_size", "/scale", "/format", NULL };

qd_code qd_recipe_parse(const json_t *request, qd_recipe **out, qd_issues *issues, qd_error *err)
{
    qd_issues own = { 0 };
    parser p = { .issues = issues == NULL ? &own : issues, .err = err };
    *p.issues = (qd_issues){ 0 };
    qd_code code = qd_recipe_create(&p.recipe, err);
    if (code != QD_OK)
        return code;
    QD_AUTO(qd_json_fini) json_t *implied = json_object();
    if (json_is_object(request)) {
        parse_members(&p, request, "", "");
        take_implied(&p, request, implied);
        take_effort(&p, request, implied);
        qd_recipe_settle(p.recipe, request, implied);
        /* else there is no grid to choose a container for */
        if (qd_issues_spare(p.issues, grid_members) && qd_grid_spec_check(&p.recipe->grid, NULL) == QD_OK)
            qd_formats_settle(p.recipe);
        qd_recipe_check(p.recipe, request, p.issues);
    } else
        qd_complain(p.issues, "", "a job is an object, found %s", qd_json_type_name(request));
    code = p.code;
    if (code == QD_OK && p.issues->count > 0)
        code = qd_fail(err, QD_EINVAL, "%s", p.issues->items[0].detail);
    if (code != QD_OK) {
        qd_recipe_destroy(p.recipe);
        return code;
    }
    *out = p.recipe;
    return QD_OK;
}
