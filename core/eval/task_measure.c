/* task_measure.c: several sets as one measurement: a model's weights are read for all of them together. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "eval/task_set.h"

void qd_task_sets_fini(qd_task_sets *sets)
{
    for (size_t i = 0; i < sets->count; i++)
        qd_task_set_fini(&sets->items[i]);
    free(sets->items);
    *sets = (qd_task_sets){ 0 };
}

size_t qd_task_sets_requests(const qd_task_sets *sets)
{
    size_t count = 0;
    for (size_t i = 0; i < sets->count; i++)
        count += sets->items[i].request_count;
    return count;
}

const qd_likelihood *qd_task_sets_part(const qd_task_sets *sets, size_t index, const qd_likelihood *of_model)
{
    for (size_t i = 0; i < index; i++)
        of_model += sets->items[i].request_count;
    return of_model;
}

qd_code qd_task_sets_measure(const qd_task_sets *sets, const qd_rival *models, size_t model_count, qd_pool *pool,
                             const qd_progress *progress, const qd_cancel *cancel, qd_likelihood *out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) qd_continuation *all = NULL;
    size_t count = qd_task_sets_requests(sets), at = 0;
    qd_code code = qd_alloc(count, sizeof *all, (void **)&all, err);
    for (size_t i = 0; code == QD_OK && i < sets->count; at += sets->items[i++].request_count)
        memcpy(all + at, sets->items[i].requests, sets->items[i].request_count * sizeof *all);
    return code == QD_OK ? qd_choice_measure(models, model_count, all, count, pool, progress, cancel, out, err) : code;
}
