/* recipe.h: requests as tests write them. */
#ifndef QD_TESTS_ENGINE_RECIPE_H
#define QD_TESTS_ENGINE_RECIPE_H

#include "check.h"

#include "base/json.h"
#include "engine/recipe_fields.h"

static inline json_t *parse_text(const char *text)
{
    json_error_t why;
    json_t *value = json_loads(text, JSON_DECODE_ANY, &why);
    if (value == NULL)
        fail_msg("%s: %s", text, why.text);
    return value;
}

/* {"model":"file:///m"} with one field set; dequantized format, which holds every grid. */
static inline json_t *request_with(const char *path, const char *value)
{
    json_t *request = parse_text("{\"model\": {\"url\": \"file:///m\"}, \"format\": \"safetensors\"}");
    const char *slash = strchr(path, '/');
    if (strcmp(path, "certified") == 0)
        json_object_set_new(request, "rounding", json_string("stochastic"));
    if (strncmp(path, "refine", 6) == 0) /* what a preset sets beside it does not matter */
        json_object_set_new(request, "effort", json_string("reference"));
    if (slash == NULL) {
        json_object_set_new(request, path, parse_text(value));
        return request;
    }
    char parent[QD_WORD];
    snprintf(parent, sizeof parent, "%.*s", (int)(slash - path), path);
    if (json_object_get(request, parent) == NULL)
        json_object_set_new(request, parent, json_object());
    json_object_set_new(json_object_get(request, parent), slash + 1, parse_text(value));
    return request;
}

static inline json_t *value_at(json_t *object, const char *path)
{
    const char *slash = strchr(path, '/');
    if (slash == NULL)
        return json_object_get(object, path);
    char parent[QD_WORD];
    snprintf(parent, sizeof parent, "%.*s", (int)(slash - path), path);
    return json_object_get(json_object_get(object, parent), slash + 1);
}

static inline json_t *print_parsed(const json_t *request)
{
    qd_error err = { 0 };
    qd_recipe *recipe = NULL;
    check_ok(qd_recipe_parse(request, &recipe, NULL, &err));
    json_t *out = qd_recipe_print(recipe);
    qd_recipe_destroy(recipe);
    assert_non_null(out);
    return out;
}

static inline void check_equal_json(const json_t *got, const json_t *want, const char *what)
{
    if (json_equal(got, want))
        return;
    char *a = got == NULL ? NULL : json_dumps(got, JSON_ENCODE_ANY), *b = json_dumps(want, JSON_ENCODE_ANY);
    print_error("%s: got %s, want %s\n", what, a == NULL ? "nothing" : a, b);
    free(a);
    free(b);
    fail();
}

static inline void check_finding(const json_t *request, const char *pointer, const char *part)
{
    qd_error err = { 0 };
    qd_recipe *recipe = NULL;
    qd_issues issues;
    check_fails(qd_recipe_parse(request, &recipe, &issues, &err), QD_EINVAL);
    assert_int_equal(issues.count, 1);
    assert_string_equal(issues.items[0].pointer, pointer);
    check_contains(issues.items[0].detail, part);
    assert_string_equal(err.text, issues.items[0].detail);
}

#endif
