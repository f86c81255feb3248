/* source.h: what a run takes from a model besides its weights, from a folder or a GGUF alike.
 * Room: core/engine. May use: base, text, model.
 * Threads: any. */
#ifndef QD_ENGINE_SOURCE_H
#define QD_ENGINE_SOURCE_H

#include <jansson.h>

#include "model/model.h"
#include "text/tokenizer.h"

/* The tokenizer of a model folder, an artifact or a .gguf file: its tokenizer.json and tokenizer_config.json, real or
 * made (model/folder.h). */
qd_code qd_source_tokenizer(const char *path, qd_tokenizer **out, qd_error *err);

/* How a source is quantized already: {"quantized":"GGUF Q4_1","tensors":{"F32":61,"Q4_1":210,"Q8_0":1}}, the words being
 * qd_model_quantized_source's and all stored types counted; a source in plain floating point gives *out NULL. New
 * reference. */
qd_code qd_source_quantized(const qd_model *model, json_t **out, qd_error *err);
const char *qd_source_quantized_name(const json_t *quantized); /* "GGUF Q4_1"; NULL for NULL */

#endif
