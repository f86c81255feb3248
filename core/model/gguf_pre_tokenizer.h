/* gguf_pre_tokenizer.h: what the names in `tokenizer.ggml.pre` stand for, as steps of a tokenizer.json.
 * Room: core/model; writers of GGUF look here as well. May use: base.
 * Threads: rows are constant.
 * Source: formats.md §3 "Regexes needed", §6.4. A name not listed is refused: a wrong one is silent damage. */
#ifndef QD_MODEL_GGUF_PRE_TOKENIZER_H
#define QD_MODEL_GGUF_PRE_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct qd_gguf_pre_tokenizer {
    const char *name;
    const char *normalizer;      /* JSON */
    const char *pre_tokenizer;   /* JSON */
    bool ignore_merges, add_bos; /* what clients assume where the metadata do not say */
} qd_gguf_pre_tokenizer;

const qd_gguf_pre_tokenizer *qd_gguf_pre_tokenizer_at(size_t index);       /* NULL past the end */
const qd_gguf_pre_tokenizer *qd_gguf_pre_tokenizer_find(const char *name); /* NULL for unknown */

#endif
