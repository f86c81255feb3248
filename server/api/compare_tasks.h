/* compare_tasks.h: the zero-shot tasks of several jobs side by side.
 * Room: server/api, private to it. May use: core, jobs, jansson.
 * Threads: any. */
#ifndef QD_API_COMPARE_TASKS_H
#define QD_API_COMPARE_TASKS_H

#include "jobs/service.h"

/* Appends rows {"name","unit","values"}: of each metric that some of the jobs measured, its value ("arc_easy acc"), the source's, and the paired
 * difference from the source with its standard error. null where a job has none. */
void qd_compare_tasks(const qd_job *jobs, size_t count, json_t *rows);

#endif
