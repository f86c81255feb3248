/* conversations.c: see conversations.h. */
#include "engine/conversations.h"

#include "engine/source.h"

void qd_conversations_fini(qd_conversations *conversations)
{
    qd_chat_destroy(conversations->chat);
    conversations->chat = NULL;
}

static qd_code render(void *ctx, const json_t *messages, qd_str *out, qd_error *err)
{
    qd_conversations *c = ctx;
    qd_code code = c->chat == NULL ? qd_chat_open(c->model, &c->chat, err) : QD_OK;
    return code == QD_OK ? qd_chat_render(c->chat, messages, out, err) : code;
}

qd_renderer qd_conversations_renderer(qd_conversations *conversations)
{
    return (qd_renderer){ render, conversations };
}

qd_code qd_conversations_corpus(const char *model, const qd_tokenizer *tokenizer, const char *path, qd_corpus_way way,
                                qd_corpus *out, qd_error *err)
{
    QD_AUTO(qd_conversations_fini) qd_conversations conversations = { .model = model };
    const qd_renderer renderer = qd_conversations_renderer(&conversations);
    way.renderer = &renderer;
    return qd_corpus_read(tokenizer, path, &way, out, err);
}
