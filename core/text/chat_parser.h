/* chat_parser.h: what the two halves of the template parser share: statements (chat_parse.c) and expressions
 * (chat_parse_expression.c).
 * Room: core/text, private to it. May use: base.
 * Threads: belongs to one call. */
#ifndef QD_TEXT_CHAT_PARSER_H
#define QD_TEXT_CHAT_PARSER_H

#include "base/str.h"
#include "text/chat_tree.h"

typedef struct qd_chat_parser {
    qd_chat_arena *arena;
    const qd_chat_token *at;
    size_t nesting;
    size_t loops; /* around the place: break and continue are for them */
    qd_error *err;
} qd_chat_parser;

qd_code qd_chat_node_create(qd_chat_parser *p, qd_chat_node_kind kind, qd_chat_node **out);
/* `child` may be NULL: a place that stays empty. */
qd_code qd_chat_node_add(qd_chat_parser *p, qd_chat_node *parent, qd_chat_node *child);
/* Creates a node with up to two children, NULL: none; *out may be one of them. */
qd_code qd_chat_node_wrap(qd_chat_parser *p, qd_chat_node_kind kind, qd_chat_node *first, qd_chat_node *second,
                          qd_chat_node **out);

bool qd_chat_at_operator(const qd_chat_parser *p, int op);
bool qd_chat_at_name(const qd_chat_parser *p, const char *name);
/* Steps over the token when it is the one. */
bool qd_chat_accept_operator(qd_chat_parser *p, int op);
bool qd_chat_accept_name(qd_chat_parser *p, const char *name);
qd_code qd_chat_expect_operator(qd_chat_parser *p, int op);
/* The name at the place, stepped over. */
qd_code qd_chat_expect_any_name(qd_chat_parser *p, qd_chat_text *out);
/* QD_EFORMAT: "line 3: `wanted` is wanted, found ...". */
qd_code qd_chat_unexpected(qd_chat_parser *p, const char *wanted);
qd_code qd_chat_unsupported(qd_chat_parser *p, const char *what);
/* One level deeper; QD_ETOOBIG below QD_CHAT_HEIGHT of them. */
qd_code qd_chat_enter(qd_chat_parser *p);

/* Whether "a if b else c" is one expression there, or the if belongs to what surrounds it. */
typedef enum qd_chat_choices { QD_CHAT_CHOICES, QD_CHAT_NO_CHOICES } qd_chat_choices;
qd_code qd_chat_parse_expression(qd_chat_parser *p, qd_chat_choices choices, qd_chat_node **out);
/* An expression, or several with commas between them: a tuple. */
qd_code qd_chat_parse_tuple(qd_chat_parser *p, qd_chat_choices choices, qd_chat_node **out);

#endif
