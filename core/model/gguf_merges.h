/* gguf_merges.h: the merges of a BPE model: as the metadata list them, or found again from SentencePiece's scores.
 * Room: core/model, private to it. May use: base.
 * Threads: any; nothing is shared. */
#ifndef QD_MODEL_GGUF_MERGES_H
#define QD_MODEL_GGUF_MERGES_H

#include "base/str.h"
#include "model/gguf_vocabulary.h"

/* Appends "merges" as a JSON array of "left right" strings, best first. */
qd_code qd_gguf_merges_listed(const qd_gguf *file, qd_str *out, qd_error *err);
qd_code qd_gguf_merges_scored(const qd_gguf_vocabulary *vocabulary, qd_str *out, qd_error *err);

#endif
