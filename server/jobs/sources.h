/* sources.h: brings what a job names: its model and texts.
 * Room: server/jobs, private to it. May use: base, engine, fetch, store.
 * Threads: the job's worker. */
#ifndef QD_JOBS_SOURCES_H
#define QD_JOBS_SOURCES_H

#include "jobs/course.h"
#include "store/job_rows.h"

typedef struct qd_sources {
    qd_recipe *recipe;
    json_t *recipe_json; /* as the run gets it: every default filled in, no token */
    qd_fetched model;
    char *calibration, *evaluation; /* files; NULL = none */
    char *also[QD_TEXTS_MAX];       /* of the recipe's evaluation_also */
    char *tasks;                    /* folder of NAME.jsonl; NULL = the job has no tasks */
} qd_sources;
void qd_sources_fini(qd_sources *sources);

/* Reads the row's recipe and downloads; then the job is 'quantizing', and its `resolved` names commit and digests. */
qd_code qd_sources_fetch(qd_course *course, const qd_job_row *row, qd_sources *out, qd_error *err);

/* Public `resolved` from a recipe as JSON and what was fetched (NULL = nothing yet). New reference. */
json_t *qd_sources_resolved(const json_t *recipe, const json_t *fetched);

#endif
