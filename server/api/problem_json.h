/* problem_json.h: problem documents (RFC 9457).
 * Room: server/api. May use: core, jansson.
 * Threads: any. */
#ifndef QD_API_PROBLEM_JSON_H
#define QD_API_PROBLEM_JSON_H

#include "engine/recipe.h"

/* Strings are borrowed. */
typedef struct qd_problem {
    const char *slug; /* last part of the type: "invalid-job" */
    const char *title;
    unsigned status;
    const char *detail;
    const qd_issues *issues; /* findings with JSON Pointers, or NULL */
    const char *request_id;
    unsigned retry_after; /* seconds; 0 = not said */
} qd_problem;

/* {"type","title","status","detail","errors":[{"pointer","detail"}],"request_id",
 * "retry_after"}; new reference, NULL only when out
 * of memory. */
json_t *qd_problem_print(const qd_problem *problem);

#endif
