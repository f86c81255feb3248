/* effort.h: presets: how much a job does for the same bits. One word sets the fields that nobody gave.
 * Room: core/engine. May use: everything in core.
 * Threads: constant tables.
 * Source: quality-push.md "Recommendation"; measured: README.md "Effort". A new preset is a row; a new field that presets decide is a line in each row. */
#ifndef QD_ENGINE_EFFORT_H
#define QD_ENGINE_EFFORT_H

#include "engine/recipe.h"

typedef struct qd_setting {
    const char *path;                      /* of a field of the job, as in recipe_fields.h; NULL ends a list */
    const char *value;                     /* JSON, as a request would give it */
    bool (*when)(const qd_recipe *recipe); /* NULL = wherever the field applies */
} qd_setting;

struct qd_effort {
    const char *name;
    const char *summary;
    const char *cost, *gain; /* as measured */
    const qd_setting *settings;
};
const qd_effort *qd_effort_at(size_t index); /* NULL past the end */
const qd_effort *qd_effort_find(const char *name);
/* true when presets decide the field at `path`: it has no other default. */
bool qd_effort_decides(const char *path);

#endif
