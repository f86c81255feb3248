/* text_sizes.h: how much text a job has, in a forecast's terms, without cutting all of it into tokens.
 * Room: core/engine. May use: core.
 * Threads: pure functions. */
#ifndef QD_ENGINE_TEXT_SIZES_H
#define QD_ENGINE_TEXT_SIZES_H

#include "engine/forecast.h"

/* Sizes of the files (NULL = none), and bytes a token as the model's tokenizer has it in the first of the text. QD_EUNSUPPORTED and the like: the
 * tokenizer cannot be read. */
qd_code qd_text_sizes_of(const char *model_dir, const char *calibration_text, const char *evaluation_text,
                         qd_text_sizes *out, qd_error *err);

#endif
