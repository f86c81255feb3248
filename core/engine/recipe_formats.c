/* recipe_formats.c: see recipe_formats.h. */
#include "engine/recipe_formats.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "engine/recipe_issues.h"

/* Words that may follow "name" or "name:": the variants of this row; else the rows' names. */
static void list_words(const qd_format *row, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; used < size; i++) {
        const char *word = row != NULL ? row->variants[i] : qd_format_at(i) == NULL ? NULL : qd_format_at(i)->name;
        if (word == NULL)
            return;
        used += (size_t)snprintf(out + used, size - used, "%s%s%s%s", i == 0 ? "" : ", ", row == NULL ? "" : row->name,
                                 row == NULL ? "" : ":", word);
    }
}

/* The row whose variant this name would be; NULL = no row that has variants. */
static const qd_format *row_of(const char *name)
{
    for (size_t i = 0; qd_format_at(i) != NULL; i++) {
        size_t length = strlen(qd_format_at(i)->name);
        if (strncmp(name, qd_format_at(i)->name, length) == 0 && name[length] == ':' && qd_format_at(i)->variants)
            return qd_format_at(i);
    }
    return NULL;
}

static bool is_taken(const qd_recipe *recipe, const qd_format_choice *choice)
{
    for (size_t i = 0; i < recipe->format_count; i++)
        if (recipe->formats[i].format == choice->format && recipe->formats[i].variant == choice->variant)
            return true;
    return false;
}

static void read_one(const json_t *value, const char *label, const char *at, qd_recipe *recipe, qd_issues *issues)
{
    char words[300];
    const char *name = json_string_value(value);
    qd_format_choice choice = { 0 };
    if (name == NULL) {
        qd_complain(issues, at, "%s: a string is wanted, found %s", label, qd_json_type_name(value));
        return;
    }
    choice.format = qd_format_find(name, &choice.variant);
    choice.open = strchr(name, ':') == NULL;
    list_words(row_of(name), words, sizeof words);
    if (choice.format == NULL)
        qd_complain(issues, at, "%s: '%s' is not in %s", label, qd_show(name).text, words);
    else if (is_taken(recipe, &choice))
        qd_complain(issues, at, "%s: '%s' is in the list already; each is written once", label, qd_show(name).text);
    else
        recipe->formats[recipe->format_count++] = choice;
}

static void read_list(const json_t *value, const char *at, qd_recipe *recipe, qd_issues *issues)
{
    size_t count = json_array_size(value);
    if (count == 0 || count > QD_FORMATS_MAX) {
        qd_complain(issues, at, "format: a list of %zu; 1 to %d formats are wanted", count, QD_FORMATS_MAX);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        char label[32], index[24];
        snprintf(label, sizeof label, "format[%zu]", i);
        snprintf(index, sizeof index, "%zu", i);
        read_one(json_array_get(value, i), label, qd_pointer_to(at, index).text, recipe, issues);
    }
}

void qd_formats_read(const json_t *value, const char *at, qd_recipe *recipe, qd_issues *issues)
{
    const qd_format_choice before = recipe->formats[0];
    recipe->format_count = 0;
    if (json_is_array(value))
        read_list(value, at, recipe, issues);
    else if (json_is_string(value))
        read_one(value, "format", at, recipe, issues);
    else
        qd_complain(issues, at, "format: a string or a list of strings is wanted, found %s", qd_json_type_name(value));
    if (recipe->format_count == 0) {
        recipe->formats[0] = before;
        recipe->format_count = 1;
    }
}

void qd_formats_settle(qd_recipe *recipe)
{
    for (size_t i = 0; i < recipe->format_count; i++)
        if (recipe->formats[i].open)
            recipe->formats[i].variant = qd_format_choose(recipe->formats[i].format, &recipe->grid);
}

/* As the contract has it: a name that left the variant open stays as it is where that is the first one. */
static json_t *print_one(const qd_format_choice *choice)
{
    char name[QD_FORMAT_NAME];
    qd_format_print(choice->format, choice->variant, name);
    return json_string(choice->open && choice->variant == 0 ? choice->format->name : name);
}

json_t *qd_formats_print(const qd_recipe *recipe)
{
    if (recipe->format_count == 1)
        return print_one(&recipe->formats[0]);
    json_t *out = json_array();
    for (size_t i = 0; i < recipe->format_count; i++)
        json_array_append_new(out, print_one(&recipe->formats[i]));
    return out;
}

json_t *qd_formats_describe(void)
{
    char name[QD_FORMAT_NAME];
    json_t *words = json_array();
    for (size_t i = 0; qd_format_at(i) != NULL; i++) {
        const qd_format *format = qd_format_at(i);
        json_array_append_new(words, json_string(format->name));
        for (size_t v = 0; format->variants != NULL && format->variants[v] != NULL; v++) {
            qd_format_print(format, v, name);
            json_array_append_new(words, json_string(name));
        }
    }
    json_t *one = json_pack("{s:s, s:o}", "type", "string", "enum", words);
    return json_pack("{s:[O, {s:s, s:o, s:i, s:i}]}", "oneOf", one, "type", "array", "items", one, "minItems", 1,
                     "maxItems", QD_FORMATS_MAX);
}
