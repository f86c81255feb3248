/* chat_lexer.h: a chat template cut into tokens, white space at the tags already taken away.
 * Room: core/text, private to it. May use: base.
 * Threads: pure functions over the caller's data. */
#ifndef QD_TEXT_CHAT_LEXER_H
#define QD_TEXT_CHAT_LEXER_H

#include "text/chat_value.h"

typedef enum qd_chat_token_kind {
    QD_CHAT_T_END,
    QD_CHAT_T_DATA,        /* text between tags */
    QD_CHAT_T_PRINT_BEGIN, /* {{ */
    QD_CHAT_T_PRINT_END,
    QD_CHAT_T_BLOCK_BEGIN, /* {% */
    QD_CHAT_T_BLOCK_END,
    QD_CHAT_T_NAME,
    QD_CHAT_T_STRING, /* `text` with its escapes undone */
    QD_CHAT_T_INTEGER,
    QD_CHAT_T_OPERATOR, /* `integer` is QD_CHAT_OP of it */
} qd_chat_token_kind;

/* An operator of one or two characters as a number: QD_CHAT_OP('=', '='), QD_CHAT_OP('+', 0). */
#define QD_CHAT_OP(first, second) ((int)(first) | (int)(second) << 8)

typedef struct qd_chat_token {
    qd_chat_token_kind kind;
    unsigned line; /* 1 is the first */
    qd_chat_text text;
    int64_t integer;
} qd_chat_token;

typedef struct qd_chat_tokens {
    qd_chat_token *items; /* the last is QD_CHAT_T_END */
    size_t count, capacity;
} qd_chat_tokens;

/* `source`: valid UTF-8 whose lines end with \n alone, without the last of them; it stays where it is. */
qd_code qd_chat_lex(qd_chat_arena *arena, qd_chat_text source, qd_chat_tokens *out, qd_error *err);

/* White space as the language's strip() has it: White_Space and U+001C to U+001F. */
bool qd_chat_is_space(uint32_t c);
/* Bytes of white space at the front; and what is left in front of the white space at the end. */
size_t qd_chat_skip_spaces(qd_chat_text text);
size_t qd_chat_without_spaces(qd_chat_text text);

#endif
