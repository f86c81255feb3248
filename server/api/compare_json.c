/* compare_json.c: see compare_json.h. */
#include "api/compare_json.h"

#include <string.h>

#include "api/compare_evaluation.h"
#include "api/compare_tasks.h"
#include "api/job_json.h"
#include "api/text.h"

static json_t *or_null(const json_t *value)
{
    return value == NULL ? json_null() : json_incref((json_t *)(uintptr_t)value);
}

static json_t *print_heads(const qd_job *jobs, size_t count)
{
    json_t *heads = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(heads, json_pack("{s:s, s:o, s:s}", "id", jobs[i].id, "name", qd_text_print(jobs[i].name),
                                               "state", jobs[i].state));
    return heads;
}

/* parent + "/" + key, escaped (RFC 6901). */
static void add_key(qd_str *pointer, const char *key)
{
    qd_str_add(pointer, "/");
    for (; *key != '\0'; key++)
        if (*key == '~' || *key == '/')
            qd_str_add(pointer, *key == '~' ? "~0" : "~1");
        else
            qd_str_add_bytes(pointer, key, 1);
}

static bool all_equal(json_t *const *values, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if ((values[i] == NULL) != (values[0] == NULL) || (values[i] != NULL && !json_equal(values[i], values[0])))
            return false;
    return true;
}

static bool any_object(json_t *const *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (json_is_object(values[i]))
            return true;
    return false;
}

static void compare(json_t *const *values, size_t count, const char *pointer, json_t *out);

/* Every member that some of the values have, once. */
static void compare_members(json_t *const *values, size_t count, const char *pointer, json_t *out)
{
    json_t *seen = json_object(), *members[QD_COMPARE_MAX];
    const char *key;
    json_t *member;
    for (size_t i = 0; i < count; i++)
        json_object_foreach(values[i], key, member)
        {
            if (json_object_get(seen, key) != NULL)
                continue;
            json_object_set_new(seen, key, json_true());
            QD_AUTO(qd_str_fini) qd_str deeper = { 0 };
            qd_str_add(&deeper, pointer);
            add_key(&deeper, key);
            for (size_t k = 0; k < count; k++)
                members[k] = json_object_get(values[k], key);
            compare(members, count, qd_str_borrow(&deeper), out);
        }
    json_decref(seen);
}

static void compare(json_t *const *values, size_t count, const char *pointer, json_t *out)
{
    if (all_equal(values, count))
        return;
    if (any_object(values, count)) {
        compare_members(values, count, pointer, out);
        return;
    }
    json_t *row = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(row, or_null(values[i]));
    json_array_append_new(out, json_pack("{s:s, s:o}", "pointer", pointer, "values", row));
}

/* What a run measures, by its place in `result`. */
static const struct figure {
    const char *name, *unit;
    const char *path[3];
} figures[] = {
    { "perplexity", NULL, { "perplexity", "quantized", NULL } },
    { "perplexity of the source", NULL, { "perplexity", "source", NULL } },
    { "perplexity of the baseline", NULL, { "perplexity", "rtn", NULL } },
    { "kl", "nats a token", { "kl", "quantized", "mean" } },
    { "kl of the baseline", "nats a token", { "kl", "rtn", "mean" } },
    { "bits_per_weight", "bits", { "bits_per_weight", NULL, NULL } },
    { "size", "bytes", { "size", NULL, NULL } },
    { "relative_error", NULL, { "relative_error", NULL, NULL } },
    { "certified_layers", "layers", { "certified_layers", NULL, NULL } },
    { "degraded_layers", "layers", { "degraded_layers", NULL, NULL } },
    { "starved_experts", "experts", { "experts", "starved", NULL } },
    { "layers", "layers", { "layers", NULL, NULL } },
    { "peak_memory", "bytes", { "peak_memory", NULL, NULL } },
};

static json_t *figure_of(const qd_job *job, const struct figure *figure)
{
    const json_t *value = job->result;
    for (size_t i = 0; i < QD_LENGTH(figure->path) && figure->path[i] != NULL; i++)
        value = json_object_get(value, figure->path[i]);
    return or_null(value);
}

static json_t *seconds_of(const qd_job *job)
{
    double sum = 0;
    const char *phase;
    json_t *value, *seconds = json_object_get(job->result, "seconds");
    json_object_foreach(seconds, phase, value) sum += json_number_value(value);
    return seconds == NULL ? json_null() : json_real(sum);
}

static json_t *print_results(const qd_job *jobs, size_t count)
{
    json_t *rows = json_array();
    for (size_t f = 0; f < QD_LENGTH(figures); f++) {
        json_t *values = json_array();
        for (size_t i = 0; i < count; i++)
            json_array_append_new(values, figure_of(&jobs[i], &figures[f]));
        json_array_append_new(
            rows, json_pack("{s:s, s:s?, s:o}", "name", figures[f].name, "unit", figures[f].unit, "values", values));
    }
    qd_compare_tasks(jobs, count, rows);
    json_t *seconds = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(seconds, seconds_of(&jobs[i]));
    json_array_append_new(rows, json_pack("{s:s, s:s, s:o}", "name", "seconds", "unit", "seconds", "values", seconds));
    return rows;
}

json_t *qd_compare_print(const qd_job *jobs, size_t count)
{
    json_t *resolved[QD_COMPARE_MAX] = { NULL }, *differences = json_array();
    for (size_t i = 0; i < count; i++)
        resolved[i] = qd_job_document_print(jobs[i].resolved);
    if (differences != NULL)
        compare(resolved, count, "", differences);
    for (size_t i = 0; i < count; i++)
        json_decref(resolved[i]);
    return json_pack("{s:o, s:o, s:o, s:o}", "jobs", print_heads(jobs, count), "differences", differences, "results",
                     print_results(jobs, count), "evaluation", qd_compare_evaluation(jobs, count));
}
