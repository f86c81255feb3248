/* problem_json.c: see problem_json.h. */
#include "api/problem_json.h"

#include "api/text.h"

#define TYPE_BASE "https://quantd.dev/problems/"

static json_t *print_issues(const qd_issues *issues)
{
    json_t *errors = json_array();
    for (size_t i = 0; i < issues->count; i++)
        json_array_append_new(errors, json_pack("{s:o, s:o}", "pointer", qd_text_print(issues->items[i].pointer),
                                                "detail", qd_text_print(issues->items[i].detail)));
    return errors;
}

json_t *qd_problem_print(const qd_problem *problem)
{
    json_t *object = json_object();
    if (object == NULL)
        return NULL;
    json_object_set_new(object, "type", json_sprintf(TYPE_BASE "%s", problem->slug));
    json_object_set_new(object, "title", json_string(problem->title));
    json_object_set_new(object, "status", json_integer((json_int_t)problem->status));
    json_object_set_new(object, "detail", qd_text_print(problem->detail));
    if (problem->issues != NULL && problem->issues->count > 0)
        json_object_set_new(object, "errors", print_issues(problem->issues));
    json_object_set_new(object, "request_id", qd_text_print(problem->request_id));
    if (problem->retry_after > 0)
        json_object_set_new(object, "retry_after", json_integer(problem->retry_after));
    return object;
}
