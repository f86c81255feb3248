/* tasks.c: see tasks.h. */
#include "engine/tasks.h"

#include <stdlib.h>

#include "base/mem.h"
#include "engine/context.h"
#include "engine/source.h"
#include "engine/task_results.h"

void qd_task_scores_fini(qd_task_scores *scores)
{
    qd_task_sets_fini(&scores->sets);
    free(scores->source);
    free(scores->baseline);
    free(scores->artifacts);
    *scores = (qd_task_scores){ 0 };
}

static void warn_of_truncated(const qd_context *c, const qd_task_set *set, size_t most)
{
    if (set->truncated > 0)
        qd_emit_warning(c->sink,
                        "task '%s': %zu of %zu requests have more than the model's %zu tokens and lose their beginning",
                        set->task->name, set->truncated, set->request_count, most);
}

qd_code qd_tasks_cut(qd_context *c, qd_error *err)
{
    const qd_recipe *r = c->recipe;
    qd_task_scores *scores = &c->tasks;
    if (r->task_count == 0)
        return QD_OK;
    qd_task_terms terms = qd_source_task_terms(c->model, c->tokenizer);
    qd_code code = qd_alloc(r->task_count, sizeof *scores->sets.items, (void **)&scores->sets.items, err);
    for (size_t i = 0; code == QD_OK && i < r->task_count; i++) {
        const char *path = c->paths->tasks == NULL ? NULL : c->paths->tasks[i];
        if (path == NULL)
            return qd_fail(
                err, QD_EINVAL,
                "evaluation.tasks: '%s' has no examples: the job names no data for it, and there is no folder "
                "of tasks",
                r->tasks[i].task->name);
        terms.first = r->tasks[i].examples;
        code = qd_task_set_read(r->tasks[i].task, path, &terms, &scores->sets.items[i], err);
        if (code != QD_OK)
            return qd_within(err, code, "evaluation");
        scores->sets.count++;
        warn_of_truncated(c, &scores->sets.items[i], terms.most);
    }
    return code;
}

/* out: models x requests, allocated. */
static qd_code measure(const qd_context *c, const char *phase, const qd_rival *models, size_t count,
                       qd_likelihood **out, qd_error *err)
{
    qd_meter meter;
    size_t requests = qd_task_sets_requests(&c->tasks.sets);
    const qd_progress progress = qd_meter_progress(&meter);
    qd_code code = qd_alloc(count * requests, sizeof **out, (void **)out, err);
    if (code != QD_OK)
        return code;
    qd_meter_start(&meter, c->sink, phase, "requests", requests);
    code = qd_task_sets_measure(&c->tasks.sets, models, count, c->pool, &progress, c->cancel, *out, err);
    return code == QD_OK || code == QD_ECANCELLED ? code : qd_within(err, code, "tasks");
}

qd_code qd_tasks_evaluate(qd_context *c, const qd_rival *baseline, qd_error *err)
{
    qd_task_scores *scores = &c->tasks;
    qd_rival models[2] = { { c->model, NULL } };
    QD_AUTO(qd_free_pointer) qd_likelihood *both = NULL;
    if (scores->sets.count == 0)
        return QD_OK;
    if (baseline != NULL)
        models[1] = *baseline;
    size_t requests = qd_task_sets_requests(&scores->sets);
    qd_code code = measure(c, "evaluating", models, baseline == NULL ? 1 : 2, &both, err);
    if (code == QD_OK && baseline != NULL)
        code = qd_alloc(requests, sizeof *scores->baseline, (void **)&scores->baseline, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; baseline != NULL && i < requests; i++)
        scores->baseline[i] = both[requests + i];
    scores->source = both;
    both = NULL;
    return QD_OK;
}

qd_code qd_tasks_verify(qd_context *c, const qd_rival *rivals, size_t count, const size_t *as, qd_error *err)
{
    qd_task_scores *scores = &c->tasks;
    if (scores->sets.count == 0)
        return QD_OK;
    qd_code code = measure(c, "verifying", rivals, count, &scores->artifacts, err);
    for (size_t i = 0; i < c->recipe->format_count; i++)
        scores->as[i] = as[i];
    scores->own_baseline = c->recipe->baseline != NULL && scores->baseline == NULL;
    scores->made = code == QD_OK;
    return code;
}

json_t *qd_task_scores_print(const qd_task_scores *scores, size_t format)
{
    if (!scores->made)
        return json_array();
    size_t requests = qd_task_sets_requests(&scores->sets);
    const qd_likelihood *nearest = scores->own_baseline ? scores->artifacts : scores->baseline;
    const qd_task_column columns[] = { { "source", scores->source },
                                       { "quantized", scores->artifacts + scores->as[format] * requests },
                                       { "rtn", nearest } };
    return qd_task_results_print(&scores->sets, columns, nearest == NULL ? 2 : 3);
}
