/* encode.c: text to ids: added tokens -> normalizer -> added tokens -> pre-tokenizer -> word model -> post-processor.
 * Source: formats.md §3; fixtures.md: every piece between added tokens is normalized on its own. */
#include <stdlib.h>

#include "base/mem.h"
#include "text/tokenizer_private.h"
#include "text/utf8.h"

/* Everything that one call needs; grows once, is used for every piece. */
typedef struct session {
    const qd_tokenizer *tokenizer;
    qd_text_parts raw, normalized;
    qd_pieces text, words, spare;
    void *scratch;
    qd_ids *ids;
} session;

static void session_fini(session *s)
{
    qd_text_parts_fini(&s->raw);
    qd_text_parts_fini(&s->normalized);
    qd_pieces_fini(&s->text);
    qd_pieces_fini(&s->words);
    qd_pieces_fini(&s->spare);
    if (s->scratch != NULL)
        s->tokenizer->model->scratch_fini(s->scratch);
    free(s->scratch);
}

/* Normalized text without added tokens. */
static qd_code encode_words(session *s, const char *text, size_t length, qd_place place, qd_error *err)
{
    const qd_tokenizer *t = s->tokenizer;
    qd_pieces_clear(&s->words);
    qd_code code = qd_pieces_add(&s->words, text, length, place, err);
    if (code == QD_OK)
        code = qd_chain_run(&t->pre_tokenizer, &s->words, &s->spare, err);
    for (size_t i = 0; code == QD_OK && i < s->words.count; i++)
        if (s->words.items[i].length > 0)
            code = t->model->encode(t->model_state, &t->vocab, s->scratch, qd_piece_text(&s->words, i),
                                    s->words.items[i].length, s->ids, err);
    return code;
}

/* Raw text without the added tokens that are looked for in raw text. */
static qd_code encode_raw(session *s, const char *text, size_t length, qd_place place, qd_error *err)
{
    const qd_tokenizer *t = s->tokenizer;
    qd_pieces_clear(&s->text);
    qd_code code = qd_pieces_add(&s->text, text, length, place, err);
    if (code == QD_OK)
        code = qd_chain_run(&t->normalizer, &s->text, &s->spare, err);
    if (code != QD_OK)
        return code;
    const char *normalized = qd_piece_text(&s->text, 0);
    code =
        qd_added_tokens_cut(&t->added, &t->added.normalized, normalized, s->text.items[0].length, &s->normalized, err);
    for (size_t i = 0; code == QD_OK && i < s->normalized.count; i++) {
        const qd_text_part *part = &s->normalized.items[i];
        if (part->token != NULL)
            code = qd_ids_add(s->ids, part->token->id, err);
        else
            code = encode_words(s, normalized + part->start, part->end - part->start,
                                part->start == 0 ? place : QD_PLACE_INSIDE, err);
    }
    return code;
}

static qd_code encode_clean(session *s, const char *text, size_t length, qd_error *err)
{
    const qd_tokenizer *t = s->tokenizer;
    qd_code code = qd_alloc(1, t->model->scratch_size, &s->scratch, err);
    if (code == QD_OK)
        code = qd_added_tokens_cut(&t->added, &t->added.raw, text, length, &s->raw, err);
    for (size_t i = 0; code == QD_OK && i < s->raw.count; i++) {
        const qd_text_part *part = &s->raw.items[i];
        if (part->token != NULL)
            code = qd_ids_add(s->ids, part->token->id, err);
        else
            code = encode_raw(s, text + part->start, part->end - part->start,
                              part->start == 0 ? QD_PLACE_START : QD_PLACE_INSIDE, err);
    }
    return code;
}

qd_code qd_tokenizer_encode(const qd_tokenizer *tokenizer, const char *text, size_t length, qd_special special,
                            qd_ids *ids, qd_error *err)
{
    QD_AUTO(session_fini) session s = { .tokenizer = tokenizer, .ids = ids };
    QD_AUTO(qd_str_fini) qd_str clean = { 0 };
    if (qd_utf8_valid_prefix(text, length) < length) {
        qd_utf8_clean(text, length, &clean);
        qd_code cleaned = qd_str_check(&clean, err);
        if (cleaned != QD_OK)
            return cleaned;
        text = qd_str_borrow(&clean);
        length = clean.length;
    }
    qd_code code = special == QD_SPECIAL_ADD ? qd_ids_append(ids, &tokenizer->post.before, err) : QD_OK;
    if (code == QD_OK)
        code = encode_clean(&s, text, length, err);
    if (code == QD_OK && special == QD_SPECIAL_ADD)
        code = qd_ids_append(ids, &tokenizer->post.behind, err);
    return code;
}
