/* gguf_side.h: the files beside the weights of a GGUF, made of its metadata as the text of JSON documents.
 * Room: core/model, private to it. May use: base.
 * Threads: any; nothing is shared. The same metadata give the same bytes.
 * Source: formats.md §3, §6.4. */
#ifndef QD_MODEL_GGUF_SIDE_H
#define QD_MODEL_GGUF_SIDE_H

#include "base/str.h"
#include "model/gguf.h"

/* QD_EFORMAT and QD_EUNSUPPORTED name the key. `out` is appended to. */
qd_code qd_gguf_tokenizer_json(const qd_gguf *file, qd_str *out, qd_error *err);
qd_code qd_gguf_tokenizer_config_json(const qd_gguf *file, qd_str *out, qd_error *err);
qd_code qd_gguf_generation_config_json(const qd_gguf *file, qd_str *out, qd_error *err);

#endif
