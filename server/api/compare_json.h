/* compare_json.h: several jobs side by side, as clients see them.
 * Room: server/api. May use: core, jobs, jansson.
 * Threads: any. */
#ifndef QD_API_COMPARE_JSON_H
#define QD_API_COMPARE_JSON_H

#include "jobs/service.h"

enum { QD_COMPARE_MAX = 8 };

/* {"jobs":[{"id","name","state"}],"differences":[{"pointer","values":[..]}],"results":[{"name","unit","values":[..]}],
 *  "evaluation": compare_evaluation.h}:
 * values in the order of the jobs, null where a job has none. Differences are those of `resolved`, its lists taken as
 * one value. count: 2..QD_COMPARE_MAX. New reference, NULL only when out of memory. */
json_t *qd_compare_print(const qd_job *jobs, size_t count);

#endif
