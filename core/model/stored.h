/* stored.h: in what the weights of an open model are stored: the float type that stands for it, and words for people.
 * Room: core/model, private to it. May use: base.
 * Threads: pure functions of an open model. */
#ifndef QD_MODEL_STORED_H
#define QD_MODEL_STORED_H

#include "model/model.h"

/* "BF16", "F16" or "F32": the type most linear weights have; F32 for the blocks of GGUF files, which only it holds;
 * BF16 for 8-bit floats; the embedding's where all weights are packed away. */
const char *qd_stored_dtype(const qd_model *model);
/* "GGUF Q4_K, Q6_K": the block types of the linear weights, by the elements they hold. Leaves `out` alone where there
 * are none. */
void qd_stored_words(const qd_model *model, char *out, size_t size);

#endif
