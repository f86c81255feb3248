/* chat_parse.c: the statements of chat templates, one row a tag. */
#include <string.h>

#include "text/chat_parser.h"

typedef struct tag {
    const char *name;
    qd_code (*parse)(qd_chat_parser *p, qd_chat_node **out); /* behind the name */
} tag;

qd_code qd_chat_node_create(qd_chat_parser *p, qd_chat_node_kind kind, qd_chat_node **out)
{
    qd_chat_node *node = NULL;
    qd_code code = qd_chat_arena_get(p->arena, sizeof *node, (void **)&node, p->err);
    if (code != QD_OK)
        return code;
    node->kind = kind;
    node->line = p->at->line;
    *out = node;
    return QD_OK;
}

qd_code qd_chat_node_add(qd_chat_parser *p, qd_chat_node *parent, qd_chat_node *child)
{
    qd_code code = qd_chat_arena_grow(p->arena, (void **)&parent->children, &parent->capacity, parent->count,
                                      sizeof(qd_chat_node *), p->err);
    if (code != QD_OK)
        return code;
    parent->children[parent->count++] = child;
    if (child != NULL && child->height >= parent->height)
        parent->height = child->height + 1;
    if (parent->height > QD_CHAT_HEIGHT)
        return qd_fail(p->err, QD_ETOOBIG, "line %u: more than %d expressions inside each other", p->at->line,
                       QD_CHAT_HEIGHT);
    return QD_OK;
}

qd_code qd_chat_node_wrap(qd_chat_parser *p, qd_chat_node_kind kind, qd_chat_node *first, qd_chat_node *second,
                          qd_chat_node **out)
{
    qd_chat_node *node = NULL;
    qd_code code = qd_chat_node_create(p, kind, &node);
    if (code == QD_OK && first != NULL)
        code = qd_chat_node_add(p, node, first);
    if (code == QD_OK && second != NULL)
        code = qd_chat_node_add(p, node, second);
    if (code == QD_OK)
        *out = node;
    return code;
}

bool qd_chat_at_operator(const qd_chat_parser *p, int op)
{
    return p->at->kind == QD_CHAT_T_OPERATOR && p->at->integer == op;
}

bool qd_chat_at_name(const qd_chat_parser *p, const char *name)
{
    return p->at->kind == QD_CHAT_T_NAME && qd_chat_text_is(p->at->text, name);
}

bool qd_chat_accept_operator(qd_chat_parser *p, int op)
{
    bool here = qd_chat_at_operator(p, op);
    p->at += here;
    return here;
}

bool qd_chat_accept_name(qd_chat_parser *p, const char *name)
{
    bool here = qd_chat_at_name(p, name);
    p->at += here;
    return here;
}

static void describe(const qd_chat_token *token, qd_str *out)
{
    switch (token->kind) {
    case QD_CHAT_T_END:
        qd_str_add(out, "the template's end");
        break;
    case QD_CHAT_T_NAME:
        qd_str_addf(out, "'%.*s'", qd_chat_shown(token->text), token->text.bytes);
        break;
    case QD_CHAT_T_OPERATOR:
        qd_str_addf(out, "'%c%s'", (char)(token->integer & 0xFF), (token->integer >> 8) != 0 ? "..." : "");
        break;
    case QD_CHAT_T_STRING:
    case QD_CHAT_T_INTEGER:
        qd_str_add(out, token->kind == QD_CHAT_T_STRING ? "a string" : "a number");
        break;
    default:
        qd_str_add(out, "a tag's end");
    }
}

qd_code qd_chat_unexpected(qd_chat_parser *p, const char *wanted)
{
    QD_AUTO(qd_str_fini) qd_str found = { 0 };
    describe(p->at, &found);
    return qd_fail(p->err, QD_EFORMAT, "line %u: %s is wanted, found %s", p->at->line, wanted, qd_str_borrow(&found));
}

qd_code qd_chat_unsupported(qd_chat_parser *p, const char *what)
{
    return qd_fail(p->err, QD_EUNSUPPORTED, "line %u: %s: not supported", p->at->line, what);
}

qd_code qd_chat_expect_operator(qd_chat_parser *p, int op)
{
    char wanted[] = { '\'', (char)(op & 0xFF), '\'', '\0' };
    return qd_chat_accept_operator(p, op) ? QD_OK : qd_chat_unexpected(p, wanted);
}

qd_code qd_chat_expect_any_name(qd_chat_parser *p, qd_chat_text *out)
{
    if (p->at->kind != QD_CHAT_T_NAME)
        return qd_chat_unexpected(p, "a name");
    *out = p->at++->text;
    return QD_OK;
}

qd_code qd_chat_enter(qd_chat_parser *p)
{
    if (++p->nesting > QD_CHAT_HEIGHT)
        return qd_fail(p->err, QD_ETOOBIG, "line %u: more than %d levels inside each other", p->at->line,
                       QD_CHAT_HEIGHT);
    return QD_OK;
}

static qd_code expect_block_end(qd_chat_parser *p)
{
    if (p->at->kind != QD_CHAT_T_BLOCK_END)
        return qd_chat_unexpected(p, "the tag's end");
    p->at++;
    return QD_OK;
}

/* Whether the tag at the place is one of the words, which end a block. */
static bool at_tag(const qd_chat_parser *p, const char *const *words)
{
    if (p->at->kind != QD_CHAT_T_BLOCK_BEGIN || p->at[1].kind != QD_CHAT_T_NAME)
        return false;
    for (; *words != NULL; words++)
        if (qd_chat_text_is(p->at[1].text, *words))
            return true;
    return false;
}

static qd_code parse_statement(qd_chat_parser *p, qd_chat_node **out);

/* Statements up to a tag of `ends` (stepped over up to its name, which is the place then), or up to the template's end
 * when `ends` is NULL. */
static qd_code parse_block(qd_chat_parser *p, const char *const *ends, qd_chat_node **out)
{
    qd_code code = qd_chat_enter(p);
    if (code == QD_OK)
        code = qd_chat_node_create(p, QD_CHAT_N_BLOCK, out);
    while (code == QD_OK && p->at->kind != QD_CHAT_T_END && (ends == NULL || !at_tag(p, ends))) {
        qd_chat_node *statement = NULL;
        code = parse_statement(p, &statement);
        if (code == QD_OK)
            code = qd_chat_node_add(p, *out, statement);
    }
    p->nesting--;
    if (code == QD_OK && ends != NULL && p->at->kind == QD_CHAT_T_END)
        return qd_fail(p->err, QD_EFORMAT, "line %u: the tag '%s' is wanted, found the template's end", p->at->line,
                       ends[0]);
    p->at += code == QD_OK && ends != NULL;
    return code;
}

/* A block behind the tag's end, and its end tag whole. */
static qd_code parse_body(qd_chat_parser *p, const char *end, qd_chat_node **out)
{
    const char *const ends[] = { end, NULL };
    qd_code code = expect_block_end(p);
    if (code == QD_OK)
        code = parse_block(p, ends, out);
    if (code != QD_OK)
        return code;
    p->at++;
    return expect_block_end(p);
}

/* The same where a break or continue inside would leave it half done. */
static qd_code parse_closed_body(qd_chat_parser *p, const char *end, qd_chat_node **out)
{
    size_t loops = p->loops;
    p->loops = 0;
    qd_code code = parse_body(p, end, out);
    p->loops = loops;
    return code;
}

static qd_code parse_if(qd_chat_parser *p, qd_chat_node **out)
{
    static const char *const ends[] = { "endif", "elif", "else", NULL };
    static const char *const last[] = { "endif", NULL };
    qd_code code = qd_chat_node_create(p, QD_CHAT_N_IF, out);
    for (bool more = true; code == QD_OK && more;) {
        qd_chat_node *condition = NULL, *block = NULL;
        code = qd_chat_parse_tuple(p, QD_CHAT_NO_CHOICES, &condition);
        if (code == QD_OK)
            code = qd_chat_node_add(p, *out, condition);
        if (code == QD_OK)
            code = expect_block_end(p);
        if (code == QD_OK)
            code = parse_block(p, ends, &block);
        if (code == QD_OK)
            code = qd_chat_node_add(p, *out, block);
        more = code == QD_OK && qd_chat_accept_name(p, "elif");
    }
    if (code == QD_OK && qd_chat_accept_name(p, "else")) {
        qd_chat_node *block = NULL;
        code = expect_block_end(p);
        if (code == QD_OK)
            code = parse_block(p, last, &block);
        if (code == QD_OK)
            code = qd_chat_node_add(p, *out, block);
    }
    if (code != QD_OK)
        return code;
    p->at++; /* endif */
    return expect_block_end(p);
}

/* A name that may be given a value. */
static qd_code parse_target_name(qd_chat_parser *p, qd_chat_node **out)
{
    static const char *const reserved[] = { "true", "false", "none", "True", "False", "None", "loop" };
    qd_chat_text name;
    qd_code code = qd_chat_expect_any_name(p, &name);
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(reserved); i++)
        if (qd_chat_text_is(name, reserved[i]))
            return qd_fail(p->err, QD_EFORMAT, "line %u: '%s' cannot be given a value", p->at->line, reserved[i]);
    if (code == QD_OK)
        code = qd_chat_node_create(p, QD_CHAT_N_NAME, out);
    if (code == QD_OK)
        (*out)->name = name;
    return code;
}

/* a; or a, b, in parentheses or not. */
static qd_code parse_loop_target(qd_chat_parser *p, qd_chat_node **out)
{
    bool parenthesis = qd_chat_accept_operator(p, QD_CHAT_OP('(', 0));
    qd_code code = parse_target_name(p, out);
    if (code == QD_OK && (parenthesis || qd_chat_at_operator(p, QD_CHAT_OP(',', 0))))
        code = qd_chat_node_wrap(p, QD_CHAT_N_TUPLE, *out, NULL, out);
    while (code == QD_OK && qd_chat_accept_operator(p, QD_CHAT_OP(',', 0))) {
        qd_chat_node *name = NULL;
        code = parse_target_name(p, &name);
        if (code == QD_OK)
            code = qd_chat_node_add(p, *out, name);
    }
    return code == QD_OK && parenthesis ? qd_chat_expect_operator(p, QD_CHAT_OP(')', 0)) : code;
}

/* Behind the head of a for: its block and its else's, which is NULL where there is none. */
static qd_code parse_loop_blocks(qd_chat_parser *p, qd_chat_node *loop)
{
    static const char *const ends[] = { "endfor", "else", NULL };
    static const char *const last[] = { "endfor", NULL };
    qd_chat_node *body = NULL, *otherwise = NULL;
    qd_code code = expect_block_end(p);
    p->loops++;
    if (code == QD_OK)
        code = parse_block(p, ends, &body);
    p->loops--;
    if (code == QD_OK)
        code = qd_chat_node_add(p, loop, body);
    if (code == QD_OK && qd_chat_accept_name(p, "else")) {
        code = expect_block_end(p);
        if (code == QD_OK)
            code = parse_block(p, last, &otherwise);
    }
    if (code == QD_OK)
        code = qd_chat_node_add(p, loop, otherwise);
    if (code != QD_OK)
        return code;
    p->at++; /* endfor */
    return expect_block_end(p);
}

static qd_code parse_for(qd_chat_parser *p, qd_chat_node **out)
{
    qd_chat_node *target = NULL, *items = NULL, *filter = NULL;
    qd_code code = parse_loop_target(p, &target);
    if (code == QD_OK && !qd_chat_accept_name(p, "in"))
        return qd_chat_unexpected(p, "'in'");
    if (code == QD_OK)
        code = qd_chat_parse_tuple(p, QD_CHAT_NO_CHOICES, &items);
    if (code == QD_OK && qd_chat_accept_name(p, "if"))
        code = qd_chat_parse_expression(p, QD_CHAT_CHOICES, &filter);
    if (code == QD_OK && qd_chat_at_name(p, "recursive"))
        return qd_chat_unsupported(p, "a recursive loop");
    if (code == QD_OK)
        code = qd_chat_node_wrap(p, QD_CHAT_N_FOR, target, items, out);
    if (code == QD_OK)
        code = qd_chat_node_add(p, *out, filter);
    return code == QD_OK ? parse_loop_blocks(p, *out) : code;
}

/* set a = ..., set namespace.a = ..., set a -> a block's text. */
static qd_code parse_set(qd_chat_parser *p, qd_chat_node **out)
{
    qd_chat_node *target = NULL, *value = NULL;
    qd_code code = parse_target_name(p, &target);
    if (code == QD_OK && qd_chat_accept_operator(p, QD_CHAT_OP('.', 0))) {
        qd_chat_text name;
        code = qd_chat_expect_any_name(p, &name);
        if (code == QD_OK)
            code = qd_chat_node_wrap(p, QD_CHAT_N_ATTRIBUTE, target, NULL, &target);
        if (code == QD_OK)
            target->name = name;
    }
    if (code != QD_OK)
        return code;
    if (qd_chat_at_operator(p, QD_CHAT_OP(',', 0)) || qd_chat_at_operator(p, QD_CHAT_OP('|', 0)))
        return qd_chat_unsupported(p, "set of several names, or of a filtered block");
    if (p->at->kind == QD_CHAT_T_BLOCK_END) {
        code = parse_closed_body(p, "endset", &value);
        return code == QD_OK ? qd_chat_node_wrap(p, QD_CHAT_N_SET_BLOCK, target, value, out) : code;
    }
    code = qd_chat_expect_operator(p, QD_CHAT_OP('=', 0));
    if (code == QD_OK)
        code = qd_chat_parse_tuple(p, QD_CHAT_CHOICES, &value);
    if (code == QD_OK)
        code = qd_chat_node_wrap(p, QD_CHAT_N_SET, target, value, out);
    return code == QD_OK ? expect_block_end(p) : code;
}

static qd_code parse_parameters(qd_chat_parser *p, qd_chat_node *macro)
{
    const int close = QD_CHAT_OP(')', 0);
    qd_code code = qd_chat_expect_operator(p, QD_CHAT_OP('(', 0));
    while (code == QD_OK && !qd_chat_accept_operator(p, close)) {
        qd_chat_node *parameter = NULL, *fallback = NULL;
        code = parse_target_name(p, &parameter);
        if (code != QD_OK)
            return code;
        parameter->kind = QD_CHAT_N_PARAMETER;
        if (qd_chat_accept_operator(p, QD_CHAT_OP('=', 0)))
            code = qd_chat_parse_expression(p, QD_CHAT_CHOICES, &fallback);
        if (code == QD_OK)
            code = qd_chat_node_add(p, parameter, fallback);
        if (code == QD_OK)
            code = qd_chat_node_add(p, macro, parameter);
        if (code == QD_OK && !qd_chat_accept_operator(p, QD_CHAT_OP(',', 0)) && !qd_chat_at_operator(p, close))
            code = qd_chat_unexpected(p, "a comma or ')'");
    }
    return code;
}

static qd_code parse_macro(qd_chat_parser *p, qd_chat_node **out)
{
    if (p->loops > 0)
        return qd_chat_unsupported(p, "a macro inside a loop");
    qd_chat_node *name = NULL, *body = NULL;
    qd_code code = parse_target_name(p, &name);
    if (code == QD_OK)
        code = qd_chat_node_create(p, QD_CHAT_N_MACRO, out);
    if (code == QD_OK)
        code = qd_chat_node_add(p, *out, NULL); /* the block's place */
    if (code != QD_OK)
        return code;
    (*out)->name = name->name;
    code = parse_parameters(p, *out);
    if (code == QD_OK)
        code = parse_closed_body(p, "endmacro", &body);
    if (code != QD_OK)
        return code;
    (*out)->children[0] = body;
    return QD_OK;
}

/* What the answer's text is, for those who train on it; nothing changes in the text. */
static qd_code parse_generation(qd_chat_parser *p, qd_chat_node **out)
{
    qd_chat_node *body = NULL;
    qd_code code = parse_closed_body(p, "endgeneration", &body);
    return code == QD_OK ? qd_chat_node_wrap(p, QD_CHAT_N_GENERATION, body, NULL, out) : code;
}

static qd_code parse_jump(qd_chat_parser *p, qd_chat_node_kind kind, qd_chat_node **out)
{
    if (p->loops == 0)
        return qd_chat_unsupported(p, "break or continue outside of a loop, or out of a block that is kept");
    qd_code code = qd_chat_node_create(p, kind, out);
    return code == QD_OK ? expect_block_end(p) : code;
}

static qd_code parse_break(qd_chat_parser *p, qd_chat_node **out)
{
    return parse_jump(p, QD_CHAT_N_BREAK, out);
}

static qd_code parse_continue(qd_chat_parser *p, qd_chat_node **out)
{
    return parse_jump(p, QD_CHAT_N_CONTINUE, out);
}

static const tag tags[] = {
    { "if", parse_if },
    { "for", parse_for },
    { "set", parse_set },
    { "macro", parse_macro },
    { "break", parse_break },
    { "continue", parse_continue },
    { "generation", parse_generation },
};

static qd_code parse_tag(qd_chat_parser *p, qd_chat_node **out)
{
    qd_chat_text name;
    qd_code code = qd_chat_expect_any_name(p, &name);
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(tags); i++)
        if (qd_chat_text_is(name, tags[i].name))
            return tags[i].parse(p, out);
    if (code != QD_OK)
        return code;
    QD_AUTO(qd_str_fini) qd_str known = { 0 };
    for (size_t i = 0; i < QD_LENGTH(tags); i++)
        qd_str_addf(&known, "%s%s", i == 0 ? "" : ", ", tags[i].name);
    return qd_fail(p->err, QD_EUNSUPPORTED, "line %u: the tag '%.*s' is not supported; known: %s", p->at->line,
                   qd_chat_shown(name), name.bytes, qd_str_borrow(&known));
}

static qd_code parse_print(qd_chat_parser *p, qd_chat_node **out)
{
    qd_chat_node *expression = NULL;
    qd_code code = qd_chat_parse_tuple(p, QD_CHAT_CHOICES, &expression);
    if (code == QD_OK)
        code = qd_chat_node_wrap(p, QD_CHAT_N_PRINT, expression, NULL, out);
    if (code == QD_OK && p->at->kind != QD_CHAT_T_PRINT_END)
        return qd_chat_unexpected(p, "'}}'");
    p->at += code == QD_OK;
    return code;
}

static qd_code parse_statement(qd_chat_parser *p, qd_chat_node **out)
{
    const qd_chat_token *token = p->at++;
    if (token->kind == QD_CHAT_T_PRINT_BEGIN)
        return parse_print(p, out);
    if (token->kind == QD_CHAT_T_BLOCK_BEGIN)
        return parse_tag(p, out);
    qd_code code = qd_chat_node_create(p, QD_CHAT_N_DATA, out);
    if (code == QD_OK)
        (*out)->value = qd_chat_of_text(token->text);
    return code;
}

qd_code qd_chat_parse(qd_chat_arena *arena, const qd_chat_tokens *tokens, qd_chat_node **out, qd_error *err)
{
    qd_chat_parser p = { .arena = arena, .at = tokens->items, .err = err };
    return parse_block(&p, NULL, out);
}
