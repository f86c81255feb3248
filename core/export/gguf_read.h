/* gguf_read.h: the reading half of format `gguf`: weights, and blocks as grid and codes.
 * Room: core/export, private to it. May use: base, quant, model.
 * Threads: called from one thread. */
#ifndef QD_EXPORT_GGUF_READ_H
#define QD_EXPORT_GGUF_READ_H

#include "export/ggml_encode.h"

qd_code qd_gguf_recognize(const json_t *config, const json_t *manifest, size_t *out_variant, qd_error *err);
bool qd_gguf_recognize_files(const qd_model *model, size_t *out_variant);
qd_code qd_gguf_read_weight(const qd_model *packed, const qd_linear *linear, qd_matf w, qd_error *err);
/* The grid of the type that most weights are stored in. */
qd_code qd_gguf_read_spec(const qd_model *packed, qd_grid_spec *out, qd_error *err);
qd_code qd_gguf_read_rounded(const qd_model *packed, const qd_linear *linear, qd_grid *grid, uint8_t **out_codes,
                             qd_error *err);

/* -0, which a scale with a sign makes of a code in the middle, is no other number than 0. */
void qd_gguf_plain_zeros(qd_matf w);

#endif
