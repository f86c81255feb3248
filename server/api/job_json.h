/* job_json.h: jobs as clients see them.
 * Room: server/api. May use: core, jobs, jansson.
 * Threads: any; a qd_job belongs to one thread at a time.
 * Source: api.md "A job:". */
#ifndef QD_API_JOB_JSON_H
#define QD_API_JOB_JSON_H

#include "jobs/service.h"

/* New references; NULL only when out of memory. */
json_t *qd_job_print(const qd_job *job);
/* A request, or one with all defaults, without what stands behind '?' in its URLs. */
json_t *qd_job_document_print(json_t *document);
/* {"data":[..],"has_more":..,"next_cursor":id|null} */
json_t *qd_job_page_print(const qd_job *jobs, size_t count, bool has_more);
/* {"data":array}; takes the array, even on failure. */
json_t *qd_list_print_take(json_t *array);
/* {"data":[..],"has_more":..}: the first `limit` of the events; takes the array. */
json_t *qd_event_page_print_take(json_t *events, size_t limit);

#endif
