/* decode.c: ids to text. */
#include "text/tokenizer_private.h"

static qd_code token_text(const qd_tokenizer *t, uint32_t id, qd_pieces *out, qd_error *err)
{
    size_t length = 0;
    const qd_added_token *added = id < t->vocabulary ? t->added_by_id[id] : NULL;
    const char *text = added != NULL ? added->content : qd_vocab_text(&t->vocab, id, &length);
    if (text == NULL)
        return qd_fail(err, QD_EINVAL, "the id %u is not in the vocabulary of %zu", id, t->vocabulary);
    size_t start = out->text.length;
    if (added != NULL)
        qd_str_add(&out->text, text);
    else
        qd_str_add_bytes(&out->text, text, length);
    return qd_pieces_close(out, start, QD_PLACE_INSIDE, err);
}

qd_code qd_tokenizer_decode(const qd_tokenizer *tokenizer, const uint32_t *ids, size_t count, qd_str *text,
                            qd_error *err)
{
    QD_AUTO(qd_pieces_fini) qd_pieces tokens = { 0 }, spare = { 0 };
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < count; i++)
        code = token_text(tokenizer, ids[i], &tokens, err);
    if (code == QD_OK)
        code = qd_chain_run(&tokenizer->decoder, &tokens, &spare, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; i < tokens.count; i++) {
        if (i > 0 && tokenizer->decodes_plainly)
            qd_str_add(text, " ");
        qd_str_add_bytes(text, qd_piece_text(&tokens, i), tokens.items[i].length);
    }
    return qd_str_check(text, err);
}
