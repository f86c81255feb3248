/* added_tokens.c: see added_tokens.h. */
#include "text/added_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/utf8.h"

enum { LONGEST_CONTENT = 1024, MOST_TOKENS = 1 << 20 };

void qd_added_tokens_fini(qd_added_tokens *tokens)
{
    for (size_t i = 0; i < tokens->count; i++)
        free(tokens->items[i].content);
    free(tokens->items);
    qd_finder_fini(&tokens->raw);
    qd_finder_fini(&tokens->normalized);
    *tokens = (qd_added_tokens){ 0 };
}

void qd_text_parts_fini(qd_text_parts *parts)
{
    free(parts->items);
    qd_finds_fini(&parts->finds);
    *parts = (qd_text_parts){ 0 };
}

static qd_code parse_token(const json_t *entry, const qd_vocab *vocab, qd_added_token *out, qd_error *err)
{
    const char *content;
    size_t id;
    qd_code code = qd_component_text(entry, "content", &content, err);
    if (code == QD_OK)
        code = qd_json_size(entry, "id", SIZE_MAX, &id, err);
    if (code != QD_OK)
        return code;
    if (id > QD_VOCAB_LARGEST_ID)
        return qd_fail(err, QD_EFORMAT, "'%.40s': 'id' is not within 0..%d", content, QD_VOCAB_LARGEST_ID);
    if (content[0] == '\0' || strlen(content) > LONGEST_CONTENT)
        return qd_fail(err, QD_EFORMAT, "token %zu: 'content' of %zu bytes; 1 to %d are allowed", id, strlen(content),
                       LONGEST_CONTENT);
    if (!qd_vocab_find(vocab, content, strlen(content), &out->id))
        out->id = (uint32_t)id;
    code = qd_json_bool(entry, "special", false, &out->special, err);
    if (code == QD_OK)
        code = qd_json_bool(entry, "normalized", !out->special, &out->normalized, err);
    if (code == QD_OK)
        code = qd_json_bool(entry, "single_word", false, &out->single_word, err);
    if (code == QD_OK)
        code = qd_json_bool(entry, "lstrip", false, &out->lstrip, err);
    if (code == QD_OK)
        code = qd_json_bool(entry, "rstrip", false, &out->rstrip, err);
    return code == QD_OK ? qd_dup(content, &out->content, err) : code;
}

/* Puts token `index` where it will be looked for. */
static qd_code register_token(qd_added_tokens *tokens, size_t index, const qd_chain *normalizer, qd_error *err)
{
    qd_added_token *token = &tokens->items[index];
    token->length = strlen(token->content);
    if (!token->normalized)
        return qd_finder_add(&tokens->raw, token->content, token->length, (int32_t)index, err);
    QD_AUTO(qd_pieces_fini) qd_pieces text = { 0 }, spare = { 0 };
    qd_code code = qd_pieces_add(&text, token->content, token->length, QD_PLACE_START, err);
    if (code == QD_OK)
        code = qd_chain_run(normalizer, &text, &spare, err);
    if (code != QD_OK || text.items[0].length == 0)
        return code;
    token->length = text.items[0].length;
    return qd_finder_add(&tokens->normalized, qd_piece_text(&text, 0), token->length, (int32_t)index, err);
}

qd_code qd_added_tokens_parse(const json_t *list, const qd_vocab *vocab, const qd_chain *normalizer,
                              qd_added_tokens *out, qd_error *err)
{
    if (list == NULL || json_is_null(list))
        return QD_OK;
    size_t count = json_array_size(list), i;
    if (!json_is_array(list) || count > MOST_TOKENS)
        return qd_fail(err, QD_EFORMAT, "'added_tokens': an array of at most %d is wanted, found %s", MOST_TOKENS,
                       qd_json_type_name(list));
    qd_code code = qd_alloc(count, sizeof *out->items, (void **)&out->items, err);
    const json_t *entry;
    json_array_foreach(list, i, entry)
    {
        if (code != QD_OK)
            break;
        code = parse_token(entry, vocab, &out->items[i], err);
        if (code == QD_OK) {
            out->count = i + 1;
            code = register_token(out, i, normalizer, err);
        }
    }
    if (code == QD_OK)
        code = qd_finder_finish(&out->raw, err);
    if (code == QD_OK)
        code = qd_finder_finish(&out->normalized, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "'added_tokens'");
}

const qd_added_token *qd_added_tokens_find(const qd_added_tokens *tokens, const char *content)
{
    for (size_t i = 0; i < tokens->count; i++)
        if (strcmp(tokens->items[i].content, content) == 0)
            return &tokens->items[i];
    return NULL;
}

static bool word_char_before(const char *text, size_t at)
{
    uint32_t c;
    if (at == 0)
        return false;
    (void)qd_utf8_get(text + qd_utf8_before(text, at), &c);
    return qd_char_is_word(c);
}

static bool word_char_at(const char *text, size_t at, size_t length)
{
    uint32_t c;
    if (at >= length)
        return false;
    (void)qd_utf8_get(text + at, &c);
    return qd_char_is_word(c);
}

/* Where the white space that ends at `at` begins, not before `floor`. */
static size_t spaces_before(const char *text, size_t at, size_t floor)
{
    while (at > floor) {
        uint32_t c;
        size_t before = qd_utf8_before(text, at);
        (void)qd_utf8_get(text + before, &c);
        if (!qd_char_is_space(c))
            break;
        at = before;
    }
    return at;
}

static size_t spaces_after(const char *text, size_t at, size_t length)
{
    while (at < length) {
        uint32_t c;
        size_t step = qd_utf8_get(text + at, &c);
        if (!qd_char_is_space(c))
            break;
        at += step;
    }
    return at;
}

static qd_code add_part(qd_text_parts *parts, size_t start, size_t end, const qd_added_token *token, qd_error *err)
{
    if (start == end && token == NULL)
        return QD_OK;
    qd_code code = qd_grow((void **)&parts->items, &parts->capacity, parts->count + 1, sizeof *parts->items, err);
    if (code == QD_OK)
        parts->items[parts->count++] = (qd_text_part){ start, end, token };
    return code;
}

qd_code qd_added_tokens_cut(const qd_added_tokens *tokens, const qd_finder *finder, const char *text, size_t length,
                            qd_text_parts *out, qd_error *err)
{
    out->count = 0;
    qd_code code = qd_finder_run(finder, text, length, &out->finds, err);
    size_t done = 0, next = 0; /* what is in a part; where the next token may begin */
    for (size_t i = out->finds.count; code == QD_OK && i-- > 0;) {
        const qd_find *find = &out->finds.items[i];
        if (find->start < next)
            continue;
        const qd_added_token *token = &tokens->items[find->value];
        size_t start = find->start, end = start + token->length;
        next = end;
        if (token->single_word && (word_char_before(text, start) || word_char_at(text, end, length)))
            continue;
        if (token->lstrip)
            start = spaces_before(text, start, done);
        if (token->rstrip)
            end = spaces_after(text, end, length);
        code = add_part(out, done, start, NULL, err);
        if (code == QD_OK)
            code = add_part(out, start, end, token, err);
        next = done = end;
    }
    return code == QD_OK ? add_part(out, done, length, NULL, err) : code;
}
