/* changes.h: what clients may change of a job that exists, when, and how.
 * Room: server/jobs, private to it. May use: base, engine.
 * Threads: any; there is no state.
 * Source: api.md "Changing"; RFC 7396 (JSON Merge Patch). */
#ifndef QD_JOBS_CHANGES_H
#define QD_JOBS_CHANGES_H

#include "engine/recipe.h"

/* patch: at any time; retry: before another attempt. */
typedef enum qd_occasion { QD_OCCASION_PATCH = 1, QD_OCCASION_RETRY = 2 } qd_occasion;

/* `recipe`, every default filled in, gets the changes: null is the default again. Then it is judged like a new request.
 * QD_EINVAL: findings with pointers, among them the fields that may not be changed on this occasion. */
qd_code qd_changes_merge(json_t *recipe, const json_t *changes, qd_occasion occasion, qd_recipe **out,
                         qd_issues *issues, qd_error *err);

#endif
