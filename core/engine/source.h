/* source.h: what a run takes from a model besides its weights, from a folder or a GGUF alike.
 * Room: core/engine. May use: base, text, model, eval.
 * Threads: any. */
#ifndef QD_ENGINE_SOURCE_H
#define QD_ENGINE_SOURCE_H

#include <jansson.h>

#include "eval/task_set.h"
#include "model/model.h"
#include "text/chat.h"
#include "text/tokenizer.h"

/* The tokenizer of a model folder, an artifact or a .gguf file: its tokenizer.json and tokenizer_config.json, real or
 * made (model/folder.h). */
qd_code qd_source_tokenizer(const char *path, qd_tokenizer **out, qd_error *err);

/* The token that a text begins with: the config's, else the tokenizer's; -1 = neither knows one. tokenizer may be NULL. */
int64_t qd_source_bos(const qd_model *model, const qd_tokenizer *tokenizer);
/* How the texts of a task become tokens. In place of an empty context stands the tokenizer's own BOS, where it has one, as in lm-evaluation-harness. */
qd_task_terms qd_source_task_terms(const qd_model *model, const qd_tokenizer *tokenizer);

/* The chat template of a model folder or a .gguf file: chat_template.jinja, chat_template.json, or tokenizer_config.json's
 * chat_template, its "default" where it has several; with the special tokens that it may name. QD_ENOTFOUND: the model
 * has none. */
qd_code qd_chat_open(const char *model_path, qd_chat **out, qd_error *err);

/* How a source is quantized already: {"quantized":"GGUF Q4_1","tensors":{"F32":61,"Q4_1":210,"Q8_0":1}}, the words being
 * qd_model_quantized_source's and all stored types counted; a source in plain floating point gives *out NULL. New
 * reference. */
qd_code qd_source_quantized(const qd_model *model, json_t **out, qd_error *err);
const char *qd_source_quantized_name(const json_t *quantized); /* "GGUF Q4_1"; NULL for NULL */

#endif
