/* chat_tree.h: a chat template as a tree.
 * Room: core/text, private to it. May use: base.
 * Threads: immutable after parsing. */
#ifndef QD_TEXT_CHAT_TREE_H
#define QD_TEXT_CHAT_TREE_H

#include "text/chat_lexer.h"

/* Behind each kind: its children. A child in [brackets] is NULL where the template has none. */
typedef enum qd_chat_node_kind {
    /* Statements */
    QD_CHAT_N_BLOCK,      /* statements */
    QD_CHAT_N_DATA,       /* `value` is the text */
    QD_CHAT_N_PRINT,      /* expression */
    QD_CHAT_N_IF,         /* condition, block, condition, block, ... and an else's block, when the number is odd */
    QD_CHAT_N_FOR,        /* target, expression, [filter], block, [else's block] */
    QD_CHAT_N_SET,        /* target, expression */
    QD_CHAT_N_SET_BLOCK,  /* target, block */
    QD_CHAT_N_MACRO,      /* block, parameters; `name` */
    QD_CHAT_N_PARAMETER,  /* [default]; `name` */
    QD_CHAT_N_GENERATION, /* block */
    QD_CHAT_N_BREAK,
    QD_CHAT_N_CONTINUE,
    /* Expressions; targets are names, attributes of a name, or tuples of names */
    QD_CHAT_N_CONSTANT,  /* `value` */
    QD_CHAT_N_NAME,      /* `name` */
    QD_CHAT_N_LIST,      /* expressions */
    QD_CHAT_N_TUPLE,     /* expressions */
    QD_CHAT_N_DICT,      /* key, value, key, value, ... */
    QD_CHAT_N_ATTRIBUTE, /* object; `name` */
    QD_CHAT_N_ITEM,      /* object, key */
    QD_CHAT_N_SLICE,     /* object, [start], [stop], [step] */
    QD_CHAT_N_CALL,      /* what is called, arguments */
    QD_CHAT_N_KEYWORD,   /* argument; `name` */
    QD_CHAT_N_FILTER,    /* object, arguments; `name` */
    QD_CHAT_N_TEST,      /* object, arguments; `name` */
    QD_CHAT_N_NOT,       /* expression */
    QD_CHAT_N_NEGATE,    /* expression */
    QD_CHAT_N_AND,       /* left, right */
    QD_CHAT_N_OR,        /* left, right */
    QD_CHAT_N_BINARY,    /* left, right; `op` */
    QD_CHAT_N_CHOICE,    /* value, condition, [other value] */
} qd_chat_node_kind;

/* Operators of two words. */
enum { QD_CHAT_OP_IN = 1 << 16, QD_CHAT_OP_NOT_IN = 1 << 17 };

typedef struct qd_chat_node {
    qd_chat_node_kind kind;
    unsigned line, height; /* height of the tree below */
    int op;
    qd_chat_text name;
    qd_chat_value value;
    struct qd_chat_node **children;
    size_t count, capacity;
} qd_chat_node;

enum { QD_CHAT_HEIGHT = 200 }; /* of a tree, and nesting while it is read */

/* *out is a QD_CHAT_N_BLOCK in the arena. QD_EFORMAT: no template; QD_EUNSUPPORTED: more than is supported. */
qd_code qd_chat_parse(qd_chat_arena *arena, const qd_chat_tokens *tokens, qd_chat_node **out, qd_error *err);

#endif
