/* text_sizes.h: how much text a job has, in a forecast's terms, without cutting all of it into tokens.
 * Room: core/engine. May use: core.
 * Threads: pure functions. */
#ifndef QD_ENGINE_TEXT_SIZES_H
#define QD_ENGINE_TEXT_SIZES_H

#include "engine/forecast.h"

/* Bytes of the files (NULL = none), unpacked, and bytes a token as the model's tokenizer has it in the first documents. What conversations say
 * is counted without the model's template. QD_EUNSUPPORTED and the like: the tokenizer cannot be read, or "calibration: ..." or
 * "evaluation: ...": that text cannot. also_texts: of the recipe's further texts; NULL = they are not here. */
qd_code qd_text_sizes_of(const char *model_dir, const qd_recipe *recipe, const char *calibration_text,
                         const char *evaluation_text, const char *const *also_texts, qd_text_sizes *out, qd_error *err);

#endif
