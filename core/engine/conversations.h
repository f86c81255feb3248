/* conversations.h: the conversations of a text through the model's own chat template, which is opened by the first of them.
 * Room: core/engine. May use: base, text, model.
 * Threads: belongs to one thread. */
#ifndef QD_ENGINE_CONVERSATIONS_H
#define QD_ENGINE_CONVERSATIONS_H

#include "text/chat.h"
#include "text/corpus.h"

typedef struct qd_conversations {
    const char *model; /* a folder or a .gguf file; lives as long */
    qd_chat *chat;     /* NULL until it is asked for */
} qd_conversations;
void qd_conversations_fini(qd_conversations *conversations);

/* What documents are read with; a model without a template has it said at the first conversation. */
qd_renderer qd_conversations_renderer(qd_conversations *conversations);

/* qd_corpus_read of a text for this model: its conversations through the model's template, whatever way.renderer says. */
qd_code qd_conversations_corpus(const char *model, const qd_tokenizer *tokenizer, const char *path, qd_corpus_way way,
                                qd_corpus *out, qd_error *err);

#endif
