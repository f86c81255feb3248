/* gguf_meta.h: what a GGUF file says of its model: architecture, sizes, rotary positions, tokenizer, origin.
 * Room: core/export, private to it. May use: base, model, jansson.
 * Threads: called from one thread.
 * Source: formats.md §6.2. Deterministic: no times, no paths. */
#ifndef QD_EXPORT_GGUF_META_H
#define QD_EXPORT_GGUF_META_H

#include <stdio.h>

#include "export/ggml_encode.h"
#include "export/gguf_write.h"
#include "model/gguf_names.h"
#include "model/rope.h"

/* All keys. A GGUF source's own are repeated but for the few that its weights' types decide. QD_EUNSUPPORTED names an architecture or a part
 * of the tokenizer that GGUF has no equal of. */
qd_code qd_gguf_meta_build(const qd_model *model, const qd_ggml_encoder *encoder, qd_gguf_meta *meta, qd_error *err);

enum { QD_GGUF_FILE_NAME = 64 };
/* "model-q4_k.gguf" */
static inline void qd_gguf_file_name(const qd_ggml_encoder *encoder, char out[QD_GGUF_FILE_NAME])
{
    snprintf(out, QD_GGUF_FILE_NAME, "model-%s.gguf", encoder->variant);
}

/* QD_EUNSUPPORTED lists the classes that GGUF has an architecture for. */
qd_code qd_gguf_arch_of_model(const qd_model *model, const qd_gguf_arch **out, qd_error *err);
/* Rows of a head of q, and of k; rotary positions. */
qd_code qd_gguf_head_dim(const json_t *config, size_t *out, qd_error *err);
qd_code qd_gguf_rope_of(const qd_model *model, qd_rope *out, qd_error *err);

#endif
