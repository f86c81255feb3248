/* tasks.h: the zero-shot tasks of a run: read before any work, measured in the evaluating and the verifying phase.
 * Room: core/engine, private to it. May use: core.
 * Threads: those of the context. */
#ifndef QD_ENGINE_TASKS_H
#define QD_ENGINE_TASKS_H

#include <jansson.h>
#include <stdbool.h>

#include "engine/recipe.h"
#include "eval/task_set.h"

struct qd_context;

typedef struct qd_task_scores {
    qd_task_sets sets;         /* count 0 = the job has no tasks */
    qd_likelihood *source;     /* of all requests */
    qd_likelihood *baseline;   /* NULL = there is none */
    qd_likelihood *artifacts;  /* as they were opened again, one after the other */
    size_t as[QD_FORMATS_MAX]; /* which of them stands for the format */
    bool own_baseline;
    bool made; /* all of it */
} qd_task_scores;
void qd_task_scores_fini(qd_task_scores *scores);

/* Reads the files. Part of qd_context_init: a line that will not do is found before any work. */
qd_code qd_tasks_cut(struct qd_context *context, qd_error *err);
/* The source, and the baseline where there is one (NULL). */
qd_code qd_tasks_evaluate(struct qd_context *context, const qd_rival *baseline, qd_error *err);
/* The artifacts; as: which rival stands for each format. */
qd_code qd_tasks_verify(struct qd_context *context, const qd_rival *rivals, size_t count, const size_t *as,
                        qd_error *err);

/* As task_results.h has it: "source", "quantized", "rtn", "difference" (quantized minus source); an empty list where there are no tasks. New
 * reference. */
json_t *qd_task_scores_print(const qd_task_scores *scores, size_t format);

#endif
