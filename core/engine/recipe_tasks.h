/* recipe_tasks.h: the zero-shot tasks of a job: parsed, printed and described by the registry's rows.
 * Room: core/engine, private to it. May use: core.
 * Threads: pure functions. */
#ifndef QD_ENGINE_RECIPE_TASKS_H
#define QD_ENGINE_RECIPE_TASKS_H

#include "engine/recipe.h"

/* A list of at most QD_TASKS_MAX names, or objects {"task","examples","data"}, of the field at pointer `at`. Findings, if any, are added to
 * `issues`; the recipe then keeps what was sound. */
void qd_tasks_read(const json_t *value, const char *at, qd_recipe *recipe, qd_issues *issues);
/* Every member filled in (new reference). */
json_t *qd_tasks_print(const qd_recipe *recipe);
json_t *qd_tasks_describe(void);
void qd_tasks_clear(qd_recipe *recipe);

#endif
