/* added_tokens.h: tokens that are found in the text before the model sees it.
 * Room: core/text, private to it. May use: base, jansson.
 * Threads: immutable after parsing.
 * Source: formats.md §3 "added_tokens", fixtures.md "Tokenizers". */
#ifndef QD_TEXT_ADDED_TOKENS_H
#define QD_TEXT_ADDED_TOKENS_H

#include "text/component.h"
#include "text/finder.h"
#include "text/vocab.h"

typedef struct qd_added_token {
    char *content;
    uint32_t id;
    size_t length; /* of the text that is looked for: normalized where it is normalized */
    bool single_word, lstrip, rstrip, normalized, special;
} qd_added_token;

/* Zero-initialize; qd_added_tokens_fini. */
typedef struct qd_added_tokens {
    qd_added_token *items;
    size_t count;
    qd_finder raw;        /* normalized: false: looked for in the text as it came */
    qd_finder normalized; /* the others, normalized themselves: looked for in normalized text */
} qd_added_tokens;

void qd_added_tokens_fini(qd_added_tokens *tokens);
/* `list` may be NULL or null. A token that `vocab` has too keeps its id there, as the usual readers do, whatever the
 * list says. Normalized tokens go through `normalizer` first. */
qd_code qd_added_tokens_parse(const json_t *list, const qd_vocab *vocab, const qd_chain *normalizer,
                              qd_added_tokens *out, qd_error *err);
/* NULL: none. */
const qd_added_token *qd_added_tokens_find(const qd_added_tokens *tokens, const char *content);

/* A part of a text: an added token, or what stands between two (token NULL). */
typedef struct qd_text_part {
    size_t start, end;
    const qd_added_token *token;
} qd_text_part;

/* Zero-initialize; qd_text_parts_fini. */
typedef struct qd_text_parts {
    qd_text_part *items;
    size_t count, capacity;
    qd_finds finds; /* what they were made from */
} qd_text_parts;
void qd_text_parts_fini(qd_text_parts *parts);

/* Replaces `out`: the text cut at the tokens of `finder` (a member of `tokens`), leftmost first, longest of those. */
qd_code qd_added_tokens_cut(const qd_added_tokens *tokens, const qd_finder *finder, const char *text, size_t length,
                            qd_text_parts *out, qd_error *err);

#endif
