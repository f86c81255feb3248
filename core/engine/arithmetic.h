/* arithmetic.h: the registry of what a job's calibration streams may be computed in.
 * Room: core/engine. May use: core. One row here, nothing else; linalg/product.h says what the numbers are.
 * Threads: constant rows.
 * A row decides by the model alone, never by the processor: the same job gives the same layers wherever it runs. */
#ifndef QD_ENGINE_ARITHMETIC_H
#define QD_ENGINE_ARITHMETIC_H

#include "engine/recipe.h"

struct qd_arithmetic_rule {
    const char *name; /* "auto", "float32", "bfloat16", "two-terms" */
    const char *summary;
    qd_arithmetic (*decide)(const qd_model_config *config);
};
const qd_arithmetic_rule *qd_arithmetic_rule_at(size_t index); /* NULL past the end */
const qd_arithmetic_rule *qd_arithmetic_rule_find(const char *name);

/* What the job's rule comes to for this model: of the streams and of all moments taken from them. */
qd_arithmetic qd_recipe_arithmetic(const qd_recipe *recipe, const qd_model *model);
/* Its name, which is that of the row that always decides so. */
const char *qd_arithmetic_name(qd_arithmetic arithmetic);
int qd_arithmetic_find(const char *name); /* -1: it is none's */
/* A printed recipe with what the rule comes to in place of the rule, for the model at `model_dir`; as it is where that cannot be opened. */
void qd_arithmetic_settle(const qd_recipe *recipe, const char *model_dir, json_t *printed);

#endif
