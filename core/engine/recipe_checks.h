/* recipe_checks.h: fields of a job that do not go together: both are named, with what would work.
 * Room: core/engine, private to it. May use: core.
 * Threads: pure functions but for the list that is given. */
#ifndef QD_ENGINE_RECIPE_CHECKS_H
#define QD_ENGINE_RECIPE_CHECKS_H

#include "engine/recipe.h"

/* Of a recipe whose every field was taken or complained about; request: what was given. Fields that were complained about are not judged again. */
void qd_recipe_check(const qd_recipe *recipe, const json_t *request, qd_issues *issues);

#endif
