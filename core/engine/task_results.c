/* task_results.c: see task_results.h. */
#include "engine/task_results.h"

#include "base/mem.h"
#include "engine/records.h"

static json_t *print_figure(qd_figure figure)
{
    return json_pack("{s:o, s:o}", "value", qd_number_print(figure.value), "standard_error",
                     qd_number_print(figure.standard_error));
}

/* One metric of all columns. numbers: room for two columns' examples. */
static json_t *print_metric(const qd_task_sets *sets, size_t index, const qd_metric *metric,
                            const qd_task_column *columns, size_t count, double *numbers)
{
    const qd_task_set *set = &sets->items[index];
    json_t *out = json_object();
    for (size_t i = 0; i < count; i++) {
        double *own = numbers + (i == 0 ? 0 : set->count);
        qd_task_set_judge(set, metric, qd_task_sets_part(sets, index, columns[i].likelihoods), own);
        json_object_set_new(out, columns[i].name, print_figure(qd_metric_figure(metric, own, set->count)));
        if (i == 1)
            json_object_set_new(out, "difference",
                                print_figure(qd_metric_difference(metric, numbers, own, set->count)));
    }
    return out;
}

json_t *qd_task_results_print(const qd_task_sets *sets, const qd_task_column *columns, size_t count)
{
    json_t *out = json_array();
    for (size_t s = 0; s < sets->count; s++) {
        const qd_task_set *set = &sets->items[s];
        QD_AUTO(qd_free_pointer) double *numbers = NULL;
        if (qd_alloc(2 * set->count, sizeof *numbers, (void **)&numbers, NULL) != QD_OK) {
            json_decref(out);
            return NULL;
        }
        json_t *metrics = json_object();
        for (size_t k = 0; qd_eval_task_metric(set->task, k) != NULL; k++)
            json_object_set_new(metrics, set->task->metrics[k],
                                print_metric(sets, s, qd_eval_task_metric(set->task, k), columns, count, numbers));
        json_array_append_new(out, json_pack("{s:s, s:I, s:I, s:s, s:o}", "task", set->task->name, "examples",
                                             (json_int_t)set->count, "truncated", (json_int_t)set->truncated,
                                             "data_sha256", set->digest, "metrics", metrics));
    }
    return out;
}

json_t *qd_task_example_print(const qd_task_set *set, const qd_likelihood *likelihoods, size_t example)
{
    const qd_placed *placed = &set->examples[example];
    const qd_answer answer = { likelihoods + placed->first, set->characters + placed->first, placed->count,
                               placed->gold };
    json_t *log_p = json_array(), *greedy = json_array();
    for (size_t i = 0; i < placed->count; i++) {
        json_array_append_new(log_p, qd_number_print(answer.choices[i].log_p));
        json_array_append_new(greedy, json_boolean(answer.choices[i].greedy));
    }
    json_t *out = json_pack("{s:s, s:I, s:I, s:o, s:o}", "task", set->task->name, "example", (json_int_t)example,
                            "gold", (json_int_t)placed->gold, "log_p", log_p, "greedy", greedy);
    for (size_t k = 0; qd_eval_task_metric(set->task, k) != NULL; k++) {
        const qd_metric *metric = qd_eval_task_metric(set->task, k);
        if (metric->kind == QD_METRIC_MEAN)
            json_object_set_new(out, metric->name, qd_number_print(metric->of(&answer)));
    }
    return out;
}
