/* plan_layers.h: a plan's list of tensors: what becomes of each.
 * Room: core/engine, private to it. May use: core.
 * Threads: pure functions. */
#ifndef QD_ENGINE_PLAN_LAYERS_H
#define QD_ENGINE_PLAN_LAYERS_H

#include <jansson.h>

#include "engine/recipe.h"

typedef struct qd_plan_weights {
    size_t layers;
    uint64_t quantized, kept; /* weights */
    uint64_t packed_bytes;    /* of the quantized ones, in the job's first format */
} qd_plan_weights;

/* Every tensor of the model, appended to `list`. */
qd_code qd_plan_tensors(const qd_recipe *recipe, const qd_model *model, json_t *list, qd_plan_weights *out,
                        qd_error *err);
/* Every tensor of a folder that could not be opened, as its architecture is not known or for any other reason: from the files' headers alone.
 * "unknown" is what model.unknown 'data-free' would round to nearest, and what only the architecture tells. */
qd_code qd_plan_unknown(const qd_recipe *recipe, const char *model_dir, json_t *list, qd_error *err);

#endif
