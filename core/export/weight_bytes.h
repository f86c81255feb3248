/* weight_bytes.h: how large an artifact's files will be, before any of it is made.
 * Room: core/export. May use: base, quant, model.
 * Threads: pure functions. */
#ifndef QD_EXPORT_WEIGHT_BYTES_H
#define QD_EXPORT_WEIGHT_BYTES_H

#include "export/format.h"

/* Of a layer's codes, scales and zeros; spec is the layer's (layer_spec). */
uint64_t qd_format_layer_bytes(const qd_format_choice *choice, const qd_grid_spec *spec, const qd_linear *linear,
                               const char *model_dtype);
/* Of the rest of the weight files: what is kept of the source, names, metadata; about so much, since headers are not laid out here. */
qd_code qd_format_other_bytes(const qd_format_choice *choice, const qd_model *model, uint64_t *out, qd_error *err);
/* Of what is copied beside the weights: tokenizer, config.json and such. */
qd_code qd_format_side_bytes(const qd_model *model, uint64_t *out, qd_error *err);

#endif
