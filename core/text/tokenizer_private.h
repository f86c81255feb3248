/* tokenizer_private.h: what a tokenizer is made of.
 * Room: core/text, private to it. May use: base.
 * Threads: immutable after open. */
#ifndef QD_TEXT_TOKENIZER_PRIVATE_H
#define QD_TEXT_TOKENIZER_PRIVATE_H

#include "text/added_tokens.h"
#include "text/component.h"
#include "text/post_processor.h"
#include "text/vocab.h"
#include "text/word_model.h"

struct qd_tokenizer {
    qd_chain normalizer, pre_tokenizer, decoder;
    qd_added_tokens added;
    qd_post_processor post;
    const qd_word_model *model;
    void *model_state;
    qd_vocab vocab;
    const qd_added_token **added_by_id; /* vocabulary of them; NULL: the id is the model's, or nobody's */
    size_t vocabulary;                  /* 1 + largest id */
    bool decodes_plainly;               /* no decoder: tokens are put together with spaces */
    int64_t bos;                        /* -1: none */
};

#endif
