/* gguf_source.h: the tensors of a GGUF set under the names and in the row order of its architecture's safetensors.
 * Room: core/model, private to it. May use: base, linalg, jansson.
 * Threads: called from one thread.
 * Source: formats.md §6.3. */
#ifndef QD_MODEL_GGUF_SOURCE_H
#define QD_MODEL_GGUF_SOURCE_H

#include "model/shards.h"

/* Fills own, own_file and renamed of `shards`, whose set is open: q and k rows say how they lie, NVFP4's scales of whole
 * tensors are put to their weights, and what only describes (rope_freqs.weight) is left out. */
qd_code qd_gguf_source_read(qd_shards *shards, qd_error *err);

#endif
