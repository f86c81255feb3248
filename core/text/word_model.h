/* word_model.h: what turns one pre-token into ids. A new model is a row and a file.
 * Room: core/text, private to it. May use: base, jansson.
 * Threads: a model's state is immutable after parsing; scratch belongs to one call. */
#ifndef QD_TEXT_WORD_MODEL_H
#define QD_TEXT_WORD_MODEL_H

#include "base/json.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

typedef struct qd_word_model {
    const char *name; /* "type" of the file's `model` */
    /* Fills `vocab` and makes the state, from the file's `model` object. */
    qd_code (*parse)(const json_t *model, qd_vocab *vocab, void **out_state, qd_error *err);
    void (*destroy)(void *state);
    /* Bytes of zeroed memory that a call needs, and what releases what grew in it. */
    size_t scratch_size;
    void (*scratch_fini)(void *scratch);
    /* Appends the ids of one word of valid UTF-8, length > 0. Time O(n log n). */
    qd_code (*encode)(const void *state, const qd_vocab *vocab, void *scratch, const char *word, size_t length,
                      qd_ids *ids, qd_error *err);
} qd_word_model;

extern const qd_word_model qd_word_model_bpe, qd_word_model_unigram;

/* The row that `model` names; a file without "type" that has merges is BPE, as GPT-2's. */
qd_code qd_word_model_find(const json_t *model, const qd_word_model **out, qd_error *err);
/* "<0x0A>" for 10: out holds 7 bytes. */
void qd_word_model_byte_token(unsigned char byte, char out[7]);

#endif
