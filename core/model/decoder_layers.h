/* decoder_layers.h: what layers of a model differ in: windows and rotations.
 * Room: core/model, private to it. May use: base, linalg, jansson.
 * Threads: one, while a model is opened. */
#ifndef QD_MODEL_DECODER_LAYERS_H
#define QD_MODEL_DECODER_LAYERS_H

#include "model/arch_private.h"

/* Allocates and fills the decoder's layers and ropes; its sizes are there. `config` has the defaults. */
qd_code qd_decoder_read_layers(const json_t *config, qd_decoder *decoder, qd_error *err);

#endif
