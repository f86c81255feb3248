/* float_scales.h: weights of 8-bit floats in safetensors, with scales beside them, as weights that read as numbers.
 * Room: core/model, private to it. May use: base, jansson.
 * Threads: called from one thread.
 *
 * qd_model_reads_quantization says for which quantization_config: quant_method "fp8", or "compressed-tensors" of format
 * "float-quantized". X.weight is F8_E4M3 or F8_E5M2; X.weight_scale_inv (a scale a block of 128 x 128, or of the
 * config's size) or X.weight_scale (a scale a tensor or a row) multiplies it, whatever "inv" suggests. */
#ifndef QD_MODEL_FLOAT_SCALES_H
#define QD_MODEL_FLOAT_SCALES_H

#include <jansson.h>

#include "model/model.h"
#include "model/shards.h"

/* Puts the scales of every 8-bit float tensor to it and takes them out of the set. QD_EFORMAT names a weight whose
 * scale is missing or does not fit. out_words, of `size` bytes: "fp8, blocks of 128 x 128"; "" without such weights. */
qd_code qd_float_scales_attach(const json_t *quantization, qd_shards *shards, char *out_words, size_t size,
                               qd_error *err);

#endif
