/* recipe_transforms.h: the list of transforms of a job: parsed, printed and described by the registry's rows.
 * Room: core/engine, private to it. May use: core.
 * Threads: pure functions. */
#ifndef QD_ENGINE_RECIPE_TRANSFORMS_H
#define QD_ENGINE_RECIPE_TRANSFORMS_H

#include "engine/recipe.h"

/* value: of the field at pointer `at`. Findings, if any, are added to `issues`, and `out` is then what was sound. */
void qd_transforms_read(const json_t *value, const char *at, qd_transforms *out, qd_issues *issues);
/* A transform that these others make impossible, with the names of both and what would work. */
void qd_transforms_check(const qd_recipe *recipe, qd_issues *issues);
/* Every parameter filled in (new reference). */
json_t *qd_transforms_print(const qd_transforms *transforms);
json_t *qd_transforms_describe(void);

#endif
