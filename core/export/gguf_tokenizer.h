/* gguf_tokenizer.h: tokenizer.json as the keys a GGUF file has for it.
 * Room: core/export, private to it. May use: base, model, jansson. Reads the JSON itself: core/text is another room.
 * Threads: called from one thread.
 * Source: formats.md §3, §6.4. llama.cpp splits text before merging by a pattern that it knows by name; a file that names another one
 * than tokenizer.json describes is damaged in silence, so what is not known is refused. */
#ifndef QD_EXPORT_GGUF_TOKENIZER_H
#define QD_EXPORT_GGUF_TOKENIZER_H

#include <jansson.h>

#include "export/gguf_write.h"

/* JSON strings of this tree hold no NUL byte; a vocabulary may. It is read as U+F8F0, of the private use area, and written as itself again. */
#define QD_GGUF_NUL "\xef\xa3\xb0"
/* The bytes of a tokenizer.json; `text` is changed. QD_EUNSUPPORTED for a file with both. */
qd_code qd_gguf_tokenizer_parse(char *text, size_t length, json_t **out, qd_error *err);

/* The files of a folder; all but `tokenizer` may be NULL. */
typedef struct qd_gguf_texts {
    json_t *tokenizer, *tokenizer_config, *config, *generation;
    char *chat_template; /* of a file of its own */
} qd_gguf_texts;
void qd_gguf_texts_fini(qd_gguf_texts *texts);

/* Vocabulary (`rows` tokens, as many as the embedding has), merges or scores, special ids, chat template. QD_EUNSUPPORTED names what of
 * the tokenizer llama.cpp has no equal of. */
qd_code qd_gguf_tokenizer_put(const qd_gguf_texts *texts, size_t rows, qd_gguf_meta *meta, qd_error *err);

/* ---- gguf_pre_tokenizer.c ---- */
/* How text is cut before merging: what llama.cpp calls it, and the model it is of. */
typedef struct qd_gguf_cutting {
    const char *model, *pre; /* tokenizer.ggml.model and .pre: "gpt2", "llama-bpe"; "llama", "default" */
    bool pieces;             /* SentencePiece's way: scores instead of merges, bytes as <0xHH> */
    bool space_prefix;       /* of those: text begins with a space that is not there */
    bool splits;             /* of those: no piece goes across a space */
} qd_gguf_cutting;
qd_code qd_gguf_cutting_find(const json_t *tokenizer, qd_gguf_cutting *out, qd_error *err);

#endif
