/* task_results.h: what tasks told of models, as JSON, for results, manifests and the command line.
 * Room: core/engine. May use: core.
 * Threads: pure functions. */
#ifndef QD_ENGINE_TASK_RESULTS_H
#define QD_ENGINE_TASK_RESULTS_H

#include <jansson.h>

#include "eval/task_set.h"

/* One model of a measurement: its likelihoods of all requests of the sets. */
typedef struct qd_task_column {
    const char *name; /* "source", "quantized", "rtn" */
    const qd_likelihood *likelihoods;
} qd_task_column;

/* [{"task","examples","truncated","data_sha256","metrics":{"acc":{NAME:{"value","standard_error"},..,"difference":{"value","standard_error"}},..}}].
 * difference: with several columns the second minus the first, paired by example. standard_error: null where there is one example alone. New
 * reference. */
json_t *qd_task_results_print(const qd_task_sets *sets, const qd_task_column *columns, size_t count);
/* One example of a set: {"task","example","gold","log_p":[..],"greedy":[..],"acc":..}. New reference. */
json_t *qd_task_example_print(const qd_task_set *set, const qd_likelihood *likelihoods, size_t example);

#endif
