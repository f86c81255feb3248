/* compare_tasks.c: see compare_tasks.h. */
#include "api/compare_tasks.h"

#include <string.h>

#include "base/str.h"
#include "eval/task.h"

/* What is shown of a metric, by its place below it. */
static const struct part {
    const char *suffix, *figure, *member;
} parts[] = {
    { "", "quantized", "value" },
    { " of the source", "source", "value" },
    { ", difference from the source", "difference", "value" },
    { ", standard error of the difference", "difference", "standard_error" },
};

/* A metric's figures in a job's result; NULL = it was not measured. */
static const json_t *figures_of(const qd_job *job, const char *task, const char *metric)
{
    const json_t *tasks = json_object_get(job->result, "tasks");
    for (size_t i = 0; i < json_array_size(tasks); i++) {
        const json_t *item = json_array_get(tasks, i);
        const char *name = json_string_value(json_object_get(item, "task"));
        if (name != NULL && strcmp(name, task) == 0)
            return json_object_get(json_object_get(item, "metrics"), metric);
    }
    return NULL;
}

static void add_row(const qd_job *jobs, size_t count, const char *task, const char *metric, const struct part *part,
                    json_t *rows)
{
    QD_AUTO(qd_str_fini) qd_str name = { 0 };
    json_t *values = json_array();
    for (size_t i = 0; i < count; i++) {
        const json_t *figure = json_object_get(figures_of(&jobs[i], task, metric), part->figure);
        const json_t *value = json_object_get(figure, part->member);
        json_array_append_new(values, value == NULL ? json_null() : json_incref((json_t *)(uintptr_t)value));
    }
    qd_str_addf(&name, "%s %s%s", task, metric, part->suffix);
    json_array_append_new(rows, json_pack("{s:s, s:n, s:o}", "name", qd_str_borrow(&name), "unit", "values", values));
}

void qd_compare_tasks(const qd_job *jobs, size_t count, json_t *rows)
{
    for (size_t t = 0; qd_eval_task_at(t) != NULL; t++)
        for (size_t m = 0; qd_eval_task_metric(qd_eval_task_at(t), m) != NULL; m++) {
            const char *task = qd_eval_task_at(t)->name, *metric = qd_eval_task_at(t)->metrics[m];
            bool measured = false;
            for (size_t i = 0; i < count; i++)
                measured |= figures_of(&jobs[i], task, metric) != NULL;
            for (size_t p = 0; measured && p < QD_LENGTH(parts); p++)
                add_row(jobs, count, task, metric, &parts[p], rows);
        }
}
