/* recipe_formats.h: the containers of a job's artifact: parsed, printed and described by the registry's rows.
 * Room: core/engine, private to it. May use: core.
 * Threads: pure functions. */
#ifndef QD_ENGINE_RECIPE_FORMATS_H
#define QD_ENGINE_RECIPE_FORMATS_H

#include "engine/recipe.h"

/* A name, or a list of 1..QD_FORMATS_MAX different ones, of the field at pointer `at`. Findings, if any, are added to `issues`; the recipe then
 * keeps what was sound, at least one. */
void qd_formats_read(const json_t *value, const char *at, qd_recipe *recipe, qd_issues *issues);
/* Names without a variant become the first variant that holds the recipe's grid. */
void qd_formats_settle(qd_recipe *recipe);
/* As a job would say it: a name where there is one, without the variant where that is the first (new reference). */
json_t *qd_formats_print(const qd_recipe *recipe);
json_t *qd_formats_describe(void);

#endif
