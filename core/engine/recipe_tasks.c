/* recipe_tasks.c: see recipe_tasks.h. */
#include "engine/recipe_tasks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/recipe_issues.h"

enum { EXAMPLES_MAX = 1 << 20 };

/* One item of the list. */
typedef struct item {
    char label[40]; /* "evaluation.tasks[2]" */
    const char *at; /* its pointer */
    qd_recipe *recipe;
    qd_issues *issues;
} item;

static bool is_taken(const qd_recipe *recipe, const qd_eval_task *task)
{
    for (size_t i = 0; i < recipe->task_count; i++)
        if (recipe->tasks[i].task == task)
            return true;
    return false;
}

static bool take_name(const item *it, const char *at, const json_t *value, qd_task_choice *out)
{
    char known[300];
    qd_eval_task_list(known, sizeof known);
    if (!json_is_string(value)) {
        qd_complain(it->issues, at, "%s: the name of a task is wanted, found %s", it->label, qd_json_type_name(value));
        return false;
    }
    out->task = qd_eval_task_find(json_string_value(value));
    if (out->task == NULL)
        qd_complain(it->issues, at, "%s: '%s' is not in %s", it->label, qd_show(json_string_value(value)).text, known);
    else if (is_taken(it->recipe, out->task))
        qd_complain(it->issues, at, "%s: '%s' is in the list already; each is measured once", it->label,
                    out->task->name);
    else
        return true;
    return false;
}

static bool take_examples(const item *it, const char *at, const json_t *value, qd_task_choice *out)
{
    json_int_t count = json_integer_value(value);
    if (value == NULL || json_is_null(value))
        return true;
    if (!json_is_integer(value) || count < 1 || count > EXAMPLES_MAX) {
        qd_complain(it->issues, at, "%s.examples: an integer in 1..%d is wanted, or null for all", it->label,
                    EXAMPLES_MAX);
        return false;
    }
    out->examples = (size_t)count;
    return true;
}

static bool take_data(const item *it, const char *at, const json_t *value, qd_task_choice *out)
{
    const char *url = json_string_value(value);
    if (value == NULL || json_is_null(value))
        return true;
    bool fits = url != NULL && qd_is_url(url);
    if (!fits)
        qd_complain(it->issues, at,
                    "%s.data: a URL (scheme://...) of at most %d characters is wanted, or null for the operator's file",
                    it->label, QD_URL_CHARACTERS);
    else if ((out->data = strdup(url)) == NULL) {
        qd_complain(it->issues, at, "%s.data: out of memory", it->label);
        fits = false;
    }
    return fits;
}

/* Every member is one of three. */
static bool take_members(const item *it, const json_t *value, qd_task_choice *out)
{
    static const struct {
        const char *name;
        bool (*take)(const item *it, const char *at, const json_t *value, qd_task_choice *out);
    } members[] = { { "task", take_name }, { "examples", take_examples }, { "data", take_data } };
    const char *key;
    json_t *member;
    bool sound = true;
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        bool known = false;
        for (size_t i = 0; i < QD_LENGTH(members); i++)
            known |= strcmp(key, members[i].name) == 0;
        if (!known)
            qd_complain(it->issues, qd_pointer_to(it->at, key).text,
                        "%s.%s: no such field; known are task, examples, data", it->label, qd_show(key).text);
        sound &= known;
    }
    for (size_t i = 0; i < QD_LENGTH(members); i++)
        sound &= members[i].take(it, qd_pointer_to(it->at, members[i].name).text,
                                 json_object_get(value, members[i].name), out);
    return sound;
}

static void read_one(const item *it, const json_t *value)
{
    qd_task_choice choice = { 0 };
    bool sound = json_is_object(value) ? take_members(it, value, &choice) : take_name(it, it->at, value, &choice);
    if (sound)
        it->recipe->tasks[it->recipe->task_count++] = choice;
    else
        free(choice.data);
}

void qd_tasks_clear(qd_recipe *recipe)
{
    for (size_t i = 0; i < recipe->task_count; i++)
        free(recipe->tasks[i].data);
    recipe->task_count = 0;
}

void qd_tasks_read(const json_t *value, const char *at, qd_recipe *recipe, qd_issues *issues)
{
    qd_tasks_clear(recipe);
    if (!json_is_array(value) || json_array_size(value) > QD_TASKS_MAX) {
        qd_complain(issues, at, "evaluation.tasks: a list of at most %d tasks is wanted, found %s%s", QD_TASKS_MAX,
                    qd_json_type_name(value), json_is_array(value) ? " of more" : "");
        return;
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        char index[24];
        snprintf(index, sizeof index, "%zu", i);
        qd_pointer where = qd_pointer_to(at, index);
        item it = { .at = where.text, .recipe = recipe, .issues = issues };
        snprintf(it.label, sizeof it.label, "evaluation.tasks[%zu]", i);
        read_one(&it, json_array_get(value, i));
    }
}

json_t *qd_tasks_print(const qd_recipe *recipe)
{
    json_t *out = json_array();
    for (size_t i = 0; i < recipe->task_count; i++) {
        const qd_task_choice *choice = &recipe->tasks[i];
        json_t *examples = choice->examples == 0 ? json_null() : json_integer((json_int_t)choice->examples);
        json_array_append_new(
            out, json_pack("{s:s, s:o, s:s?}", "task", choice->task->name, "examples", examples, "data", choice->data));
    }
    return out;
}

json_t *qd_tasks_describe(void)
{
    json_t *names = json_array();
    for (size_t i = 0; qd_eval_task_at(i) != NULL; i++)
        json_array_append_new(names, json_string(qd_eval_task_at(i)->name));
    json_t *name = json_pack("{s:s, s:o}", "type", "string", "enum", names);
    json_t *examples =
        json_pack("{s:[s, s], s:i, s:i}", "type", "integer", "null", "minimum", 1, "maximum", EXAMPLES_MAX);
    json_t *data =
        json_pack("{s:[s, s], s:s, s:i}", "type", "string", "null", "pattern", "://", "maxLength", QD_URL_CHARACTERS);
    json_t *object = json_pack("{s:s, s:b, s:[s], s:{s:O, s:o, s:o}}", "type", "object", "additionalProperties", 0,
                               "required", "task", "properties", "task", name, "examples", examples, "data", data);
    return json_pack("{s:s, s:i, s:{s:[o, o]}}", "type", "array", "maxItems", QD_TASKS_MAX, "items", "oneOf", name,
                     object);
}
