/* source_model.h: a job's model: of a known architecture, or of one that only names and shapes tell of, where the job takes that.
 * Room: core/engine. May use: core.
 * Threads: pure functions. */
#ifndef QD_ENGINE_SOURCE_MODEL_H
#define QD_ENGINE_SOURCE_MODEL_H

#include "engine/recipe.h"

/* qd_model_open. Where the architecture has no row, model.unknown 'data-free' takes what the rules of model/unknown.h and every container of the
 * job take for linear layers; else QD_EUNSUPPORTED, which offers that in words where there are such layers. */
qd_code qd_source_model(const qd_recipe *recipe, const char *path, qd_model **out, qd_error *err);

/* What would become of a tensor of such a model. */
typedef enum qd_source_fate { QD_FATE_QUANTIZED, QD_FATE_KEPT, QD_FATE_UNKNOWN } qd_source_fate;
enum { QD_FATE_WHY = 300 };
/* out_why: the reason; "" of what is quantized. vocabulary: of the config, or 0. */
qd_source_fate qd_source_judge(const qd_recipe *recipe, const qd_tensor *tensor, uint64_t vocabulary,
                               char out_why[QD_FATE_WHY]);

/* A sentence about a model that is not known, for results, cards and warnings; "" of any other. */
void qd_source_describe_unknown(const qd_model *model, char *out, size_t size);

#endif
