/* chat_parse_expression.c: the expressions of chat templates. Loosest first: a if b else c; or; and; not; comparisons;
 * + -; ~; * / // %; sign; .name [item] (call) |filter, is test. */
#include <string.h>

#include "text/chat_parser.h"

static qd_code parse_unary(qd_chat_parser *p, qd_chat_node **out);
static qd_code parse_postfix(qd_chat_parser *p, qd_chat_node **node);
static qd_code parse_primary(qd_chat_parser *p, qd_chat_node **out);

/* Expressions up to `close`, which is stepped over; a comma may stand behind the last. */
static qd_code parse_list(qd_chat_parser *p, qd_chat_node *list, int close)
{
    qd_code code = QD_OK;
    while (code == QD_OK && !qd_chat_accept_operator(p, close)) {
        qd_chat_node *item = NULL;
        code = qd_chat_parse_expression(p, QD_CHAT_CHOICES, &item);
        if (code == QD_OK)
            code = qd_chat_node_add(p, list, item);
        if (code == QD_OK && !qd_chat_accept_operator(p, QD_CHAT_OP(',', 0)) && !qd_chat_at_operator(p, close))
            code = qd_chat_unexpected(p, "a comma or the end of the list");
    }
    return code;
}

static qd_code parse_dict(qd_chat_parser *p, qd_chat_node *dict)
{
    const int close = QD_CHAT_OP('}', 0);
    qd_code code = QD_OK;
    while (code == QD_OK && !qd_chat_accept_operator(p, close)) {
        qd_chat_node *key = NULL, *value = NULL;
        code = qd_chat_parse_expression(p, QD_CHAT_CHOICES, &key);
        if (code == QD_OK)
            code = qd_chat_expect_operator(p, QD_CHAT_OP(':', 0));
        if (code == QD_OK)
            code = qd_chat_parse_expression(p, QD_CHAT_CHOICES, &value);
        if (code == QD_OK)
            code = qd_chat_node_add(p, dict, key);
        if (code == QD_OK)
            code = qd_chat_node_add(p, dict, value);
        if (code == QD_OK && !qd_chat_accept_operator(p, QD_CHAT_OP(',', 0)) && !qd_chat_at_operator(p, close))
            code = qd_chat_unexpected(p, "a comma or the end of the dictionary");
    }
    return code;
}

static bool is_constant(qd_chat_text name, qd_chat_value *out)
{
    bool yes = qd_chat_text_is(name, "true") || qd_chat_text_is(name, "True");
    if (yes || qd_chat_text_is(name, "false") || qd_chat_text_is(name, "False"))
        *out = qd_chat_of_bool(yes);
    else if (qd_chat_text_is(name, "none") || qd_chat_text_is(name, "None"))
        *out = qd_chat_of_none();
    else
        return false;
    return true;
}

static qd_code parse_name(qd_chat_parser *p, qd_chat_node **out)
{
    qd_code code = qd_chat_node_create(p, QD_CHAT_N_NAME, out);
    if (code != QD_OK)
        return code;
    (*out)->name = p->at++->text;
    if (is_constant((*out)->name, &(*out)->value))
        (*out)->kind = QD_CHAT_N_CONSTANT;
    return QD_OK;
}

/* One string, or several in a row, which are one. */
static qd_code parse_string(qd_chat_parser *p, qd_chat_node **out)
{
    qd_code code = qd_chat_node_create(p, QD_CHAT_N_CONSTANT, out);
    qd_chat_text text = p->at++->text;
    while (code == QD_OK && p->at->kind == QD_CHAT_T_STRING) {
        qd_chat_text more = p->at++->text;
        char *joined = NULL;
        code = qd_chat_arena_get(p->arena, text.length + more.length + 1, (void **)&joined, p->err);
        if (code != QD_OK)
            break;
        memcpy(joined, text.bytes, text.length);
        memcpy(joined + text.length, more.bytes, more.length);
        text = (qd_chat_text){ joined, text.length + more.length };
    }
    if (code == QD_OK)
        (*out)->value = qd_chat_of_text(text);
    return code;
}

/* (a), (a,), (a, b), (). */
static qd_code parse_parenthesis(qd_chat_parser *p, qd_chat_node **out)
{
    const int close = QD_CHAT_OP(')', 0), comma = QD_CHAT_OP(',', 0);
    qd_chat_node *first = NULL;
    if (!qd_chat_at_operator(p, close)) {
        qd_code code = qd_chat_parse_expression(p, QD_CHAT_CHOICES, &first);
        if (code != QD_OK)
            return code;
        if (qd_chat_accept_operator(p, close)) {
            *out = first;
            return QD_OK;
        }
        if (!qd_chat_accept_operator(p, comma))
            return qd_chat_unexpected(p, "')'");
    }
    qd_code code = qd_chat_node_wrap(p, QD_CHAT_N_TUPLE, first, NULL, out);
    return code == QD_OK ? parse_list(p, *out, close) : code;
}

static qd_code parse_bracketed(qd_chat_parser *p, qd_chat_node **out)
{
    if (qd_chat_accept_operator(p, QD_CHAT_OP('(', 0)))
        return parse_parenthesis(p, out);
    bool list = qd_chat_accept_operator(p, QD_CHAT_OP('[', 0));
    if (!list && !qd_chat_accept_operator(p, QD_CHAT_OP('{', 0)))
        return qd_chat_unexpected(p, "an expression");
    qd_code code = qd_chat_node_create(p, list ? QD_CHAT_N_LIST : QD_CHAT_N_DICT, out);
    if (code != QD_OK)
        return code;
    return list ? parse_list(p, *out, QD_CHAT_OP(']', 0)) : parse_dict(p, *out);
}

static qd_code parse_primary(qd_chat_parser *p, qd_chat_node **out)
{
    switch (p->at->kind) {
    case QD_CHAT_T_NAME:
        return parse_name(p, out);
    case QD_CHAT_T_STRING:
        return parse_string(p, out);
    case QD_CHAT_T_INTEGER: {
        qd_code code = qd_chat_node_create(p, QD_CHAT_N_CONSTANT, out);
        if (code == QD_OK)
            (*out)->value = qd_chat_of_integer(p->at++->integer);
        return code;
    }
    default: {
        qd_code code = qd_chat_enter(p);
        if (code == QD_OK)
            code = parse_bracketed(p, out);
        p->nesting--;
        return code;
    }
    }
}

/* Behind a '(': positional arguments and name=value ones. */
static qd_code parse_arguments(qd_chat_parser *p, qd_chat_node *call)
{
    const int close = QD_CHAT_OP(')', 0);
    qd_code code = qd_chat_enter(p);
    while (code == QD_OK && !qd_chat_accept_operator(p, close)) {
        qd_chat_node *argument = NULL, *keyword = NULL;
        if (qd_chat_at_operator(p, QD_CHAT_OP('*', 0)) || qd_chat_at_operator(p, QD_CHAT_OP('*', '*')))
            return qd_chat_unsupported(p, "arguments made of a list or dictionary (* and **)");
        const qd_chat_token *next = p->at->kind == QD_CHAT_T_END ? p->at : p->at + 1;
        if (p->at->kind == QD_CHAT_T_NAME && next->kind == QD_CHAT_T_OPERATOR && next->integer == QD_CHAT_OP('=', 0)) {
            code = qd_chat_node_create(p, QD_CHAT_N_KEYWORD, &keyword);
            if (code != QD_OK)
                return code;
            keyword->name = p->at->text;
            p->at += 2;
        }
        code = qd_chat_parse_expression(p, QD_CHAT_CHOICES, &argument);
        if (code == QD_OK && keyword != NULL)
            code = qd_chat_node_add(p, keyword, argument);
        if (code == QD_OK)
            code = qd_chat_node_add(p, call, keyword == NULL ? argument : keyword);
        if (code == QD_OK && !qd_chat_accept_operator(p, QD_CHAT_OP(',', 0)) && !qd_chat_at_operator(p, close))
            code = qd_chat_unexpected(p, "a comma or ')'");
    }
    p->nesting--;
    return code;
}

/* Behind a '[': [key], [start:stop:step]. */
static qd_code parse_item(qd_chat_parser *p, qd_chat_node *object, qd_chat_node **out)
{
    const int colon = QD_CHAT_OP(':', 0), close = QD_CHAT_OP(']', 0);
    qd_chat_node *parts[3] = { NULL };
    size_t count = 0;
    qd_code code = qd_chat_enter(p);
    for (;;) {
        if (code == QD_OK && !qd_chat_at_operator(p, colon) && !qd_chat_at_operator(p, close))
            code = qd_chat_parse_expression(p, QD_CHAT_CHOICES, &parts[count]);
        if (code != QD_OK || count == 2 || !qd_chat_accept_operator(p, colon))
            break;
        count++;
    }
    p->nesting--;
    if (code == QD_OK && qd_chat_at_operator(p, QD_CHAT_OP(',', 0)))
        return qd_chat_unsupported(p, "a subscript with commas");
    if (code == QD_OK)
        code = qd_chat_expect_operator(p, close);
    if (code == QD_OK && count == 0 && parts[0] == NULL)
        return qd_chat_unexpected(p, "a key between brackets");
    if (code != QD_OK || count == 0)
        return code == QD_OK ? qd_chat_node_wrap(p, QD_CHAT_N_ITEM, object, parts[0], out) : code;
    code = qd_chat_node_wrap(p, QD_CHAT_N_SLICE, object, NULL, out);
    for (size_t i = 0; code == QD_OK && i < 3; i++)
        code = qd_chat_node_add(p, *out, parts[i]);
    return code;
}

static qd_code parse_attribute(qd_chat_parser *p, qd_chat_node **node)
{
    if (p->at->kind == QD_CHAT_T_INTEGER) {
        qd_chat_node *key = NULL;
        qd_code code = parse_primary(p, &key);
        return code == QD_OK ? qd_chat_node_wrap(p, QD_CHAT_N_ITEM, *node, key, node) : code;
    }
    qd_chat_text name;
    qd_code code = qd_chat_expect_any_name(p, &name);
    if (code == QD_OK)
        code = qd_chat_node_wrap(p, QD_CHAT_N_ATTRIBUTE, *node, NULL, node);
    if (code == QD_OK)
        (*node)->name = name;
    return code;
}

static qd_code parse_call(qd_chat_parser *p, qd_chat_node **node)
{
    qd_code code = qd_chat_node_wrap(p, QD_CHAT_N_CALL, *node, NULL, node);
    return code == QD_OK ? parse_arguments(p, *node) : code;
}

static qd_code parse_postfix(qd_chat_parser *p, qd_chat_node **node)
{
    qd_code code = QD_OK;
    for (;;) {
        if (code != QD_OK)
            return code;
        if (qd_chat_accept_operator(p, QD_CHAT_OP('.', 0)))
            code = parse_attribute(p, node);
        else if (qd_chat_accept_operator(p, QD_CHAT_OP('[', 0)))
            code = parse_item(p, *node, node);
        else if (qd_chat_accept_operator(p, QD_CHAT_OP('(', 0)))
            code = parse_call(p, node);
        else
            return QD_OK;
    }
}

static qd_code parse_filter(qd_chat_parser *p, qd_chat_node **node)
{
    qd_chat_text name;
    qd_code code = qd_chat_expect_any_name(p, &name);
    if (code == QD_OK)
        code = qd_chat_node_wrap(p, QD_CHAT_N_FILTER, *node, NULL, node);
    if (code != QD_OK)
        return code;
    (*node)->name = name;
    return qd_chat_accept_operator(p, QD_CHAT_OP('(', 0)) ? parse_arguments(p, *node) : QD_OK;
}

/* Whether the argument of a test without parentheses begins here: "is divisibleby 3". */
static bool argument_begins(const qd_chat_parser *p)
{
    static const char *const words[] = { "else", "or", "and", "is" };
    for (size_t i = 0; i < QD_LENGTH(words); i++)
        if (qd_chat_at_name(p, words[i]))
            return false;
    return p->at->kind == QD_CHAT_T_NAME || p->at->kind == QD_CHAT_T_STRING || p->at->kind == QD_CHAT_T_INTEGER ||
           qd_chat_at_operator(p, QD_CHAT_OP('[', 0)) || qd_chat_at_operator(p, QD_CHAT_OP('{', 0));
}

/* The language takes these words for the test's argument, and fails. */
static bool at_word_that_is_no_argument(const qd_chat_parser *p)
{
    return qd_chat_at_name(p, "if") || qd_chat_at_name(p, "in") || qd_chat_at_name(p, "not");
}

static qd_code parse_test(qd_chat_parser *p, qd_chat_node **node)
{
    bool negated = qd_chat_accept_name(p, "not");
    qd_chat_text name;
    qd_code code = qd_chat_expect_any_name(p, &name);
    if (code == QD_OK)
        code = qd_chat_node_wrap(p, QD_CHAT_N_TEST, *node, NULL, node);
    if (code != QD_OK)
        return code;
    (*node)->name = name;
    if (qd_chat_accept_operator(p, QD_CHAT_OP('(', 0)))
        code = parse_arguments(p, *node);
    else if (at_word_that_is_no_argument(p))
        return qd_chat_unexpected(p, "the test in parentheses, or its argument");
    else if (argument_begins(p)) {
        qd_chat_node *argument = NULL;
        code = parse_primary(p, &argument);
        if (code == QD_OK)
            code = parse_postfix(p, &argument);
        if (code == QD_OK)
            code = qd_chat_node_add(p, *node, argument);
    }
    return code == QD_OK && negated ? qd_chat_node_wrap(p, QD_CHAT_N_NOT, *node, NULL, node) : code;
}

static qd_code parse_filters(qd_chat_parser *p, qd_chat_node **node)
{
    qd_code code = QD_OK;
    for (;;) {
        if (code != QD_OK)
            return code;
        if (qd_chat_accept_operator(p, QD_CHAT_OP('|', 0)))
            code = parse_filter(p, node);
        else if (qd_chat_accept_name(p, "is"))
            code = parse_test(p, node);
        else if (qd_chat_accept_operator(p, QD_CHAT_OP('(', 0)))
            code = parse_call(p, node);
        else
            return QD_OK;
    }
}

/* A sign binds tighter than what follows the filters: -x|abs is (-x)|abs. */
static qd_code parse_signed(qd_chat_parser *p, qd_chat_node **out)
{
    if (!qd_chat_accept_operator(p, QD_CHAT_OP('-', 0))) {
        qd_code code = parse_primary(p, out);
        return code == QD_OK ? parse_postfix(p, out) : code;
    }
    qd_code code = qd_chat_enter(p);
    if (code == QD_OK)
        code = parse_signed(p, out);
    p->nesting--;
    if (code == QD_OK)
        code = qd_chat_node_wrap(p, QD_CHAT_N_NEGATE, *out, NULL, out);
    return code == QD_OK ? parse_postfix(p, out) : code;
}

static qd_code parse_unary(qd_chat_parser *p, qd_chat_node **out)
{
    qd_code code = parse_signed(p, out);
    if (code == QD_OK)
        code = parse_filters(p, out);
    if (code == QD_OK && qd_chat_at_operator(p, QD_CHAT_OP('*', '*')))
        return qd_chat_unsupported(p, "powers (**)");
    return code;
}

/* Left-associative operators, one level of them a row; the loosest first. */
static const int levels[][4] = {
    { QD_CHAT_OP('+', 0), QD_CHAT_OP('-', 0) },
    { QD_CHAT_OP('~', 0) },
    { QD_CHAT_OP('*', 0), QD_CHAT_OP('/', 0), QD_CHAT_OP('/', '/'), QD_CHAT_OP('%', 0) },
};

static int accept_level(qd_chat_parser *p, size_t level)
{
    for (size_t i = 0; i < QD_LENGTH(levels[0]); i++)
        if (levels[level][i] != 0 && qd_chat_accept_operator(p, levels[level][i]))
            return levels[level][i];
    return 0;
}

static qd_code parse_level(qd_chat_parser *p, size_t level, qd_chat_node **out)
{
    if (level == QD_LENGTH(levels))
        return parse_unary(p, out);
    qd_code code = parse_level(p, level + 1, out);
    for (int op; code == QD_OK && (op = accept_level(p, level)) != 0;) {
        qd_chat_node *right = NULL;
        code = parse_level(p, level + 1, &right);
        if (code == QD_OK)
            code = qd_chat_node_wrap(p, QD_CHAT_N_BINARY, *out, right, out);
        if (code == QD_OK)
            (*out)->op = op;
    }
    return code;
}

/* The comparison at the place, stepped over; 0: none. */
static int accept_comparison(qd_chat_parser *p)
{
    static const int comparisons[] = { QD_CHAT_OP('=', '='), QD_CHAT_OP('!', '='), QD_CHAT_OP('<', '='),
                                       QD_CHAT_OP('>', '='), QD_CHAT_OP('<', 0),   QD_CHAT_OP('>', 0) };
    for (size_t i = 0; i < QD_LENGTH(comparisons); i++)
        if (qd_chat_accept_operator(p, comparisons[i]))
            return comparisons[i];
    if (qd_chat_accept_name(p, "in"))
        return QD_CHAT_OP_IN;
    const qd_chat_token *start = p->at;
    if (qd_chat_accept_name(p, "not") && qd_chat_accept_name(p, "in"))
        return QD_CHAT_OP_NOT_IN;
    p->at = start;
    return 0;
}

static qd_code parse_comparison(qd_chat_parser *p, qd_chat_node **out)
{
    qd_code code = parse_level(p, 0, out);
    int op = code == QD_OK ? accept_comparison(p) : 0;
    if (op == 0)
        return code;
    qd_chat_node *right = NULL;
    code = parse_level(p, 0, &right);
    if (code == QD_OK)
        code = qd_chat_node_wrap(p, QD_CHAT_N_BINARY, *out, right, out);
    if (code != QD_OK)
        return code;
    (*out)->op = op;
    return accept_comparison(p) == 0 ? QD_OK : qd_chat_unsupported(p, "a chain of comparisons (a < b < c)");
}

static qd_code parse_not(qd_chat_parser *p, qd_chat_node **out)
{
    if (!qd_chat_accept_name(p, "not"))
        return parse_comparison(p, out);
    qd_code code = qd_chat_enter(p);
    if (code == QD_OK)
        code = parse_not(p, out);
    p->nesting--;
    return code == QD_OK ? qd_chat_node_wrap(p, QD_CHAT_N_NOT, *out, NULL, out) : code;
}

static qd_code parse_and(qd_chat_parser *p, qd_chat_node **out)
{
    qd_code code = parse_not(p, out);
    while (code == QD_OK && qd_chat_accept_name(p, "and")) {
        qd_chat_node *right = NULL;
        code = parse_not(p, &right);
        if (code == QD_OK)
            code = qd_chat_node_wrap(p, QD_CHAT_N_AND, *out, right, out);
    }
    return code;
}

static qd_code parse_or(qd_chat_parser *p, qd_chat_node **out)
{
    qd_code code = parse_and(p, out);
    while (code == QD_OK && qd_chat_accept_name(p, "or")) {
        qd_chat_node *right = NULL;
        code = parse_and(p, &right);
        if (code == QD_OK)
            code = qd_chat_node_wrap(p, QD_CHAT_N_OR, *out, right, out);
    }
    return code;
}

static qd_code parse_choice(qd_chat_parser *p, qd_chat_node **out)
{
    qd_code code = parse_or(p, out);
    while (code == QD_OK && qd_chat_accept_name(p, "if")) {
        qd_chat_node *condition = NULL, *other = NULL;
        code = parse_or(p, &condition);
        if (code == QD_OK && qd_chat_accept_name(p, "else"))
            code = parse_choice(p, &other);
        if (code == QD_OK)
            code = qd_chat_node_wrap(p, QD_CHAT_N_CHOICE, *out, condition, out);
        if (code == QD_OK)
            code = qd_chat_node_add(p, *out, other);
    }
    return code;
}

qd_code qd_chat_parse_expression(qd_chat_parser *p, qd_chat_choices choices, qd_chat_node **out)
{
    qd_code code = qd_chat_enter(p);
    if (code == QD_OK)
        code = choices == QD_CHAT_CHOICES ? parse_choice(p, out) : parse_or(p, out);
    p->nesting--;
    return code;
}

qd_code qd_chat_parse_tuple(qd_chat_parser *p, qd_chat_choices choices, qd_chat_node **out)
{
    qd_code code = qd_chat_parse_expression(p, choices, out);
    if (code != QD_OK || !qd_chat_at_operator(p, QD_CHAT_OP(',', 0)))
        return code;
    code = qd_chat_node_wrap(p, QD_CHAT_N_TUPLE, *out, NULL, out);
    while (code == QD_OK && qd_chat_accept_operator(p, QD_CHAT_OP(',', 0))) {
        qd_chat_node *item = NULL;
        if (p->at->kind == QD_CHAT_T_BLOCK_END || p->at->kind == QD_CHAT_T_PRINT_END)
            break;
        code = qd_chat_parse_expression(p, choices, &item);
        if (code == QD_OK)
            code = qd_chat_node_add(p, *out, item);
    }
    return code;
}
