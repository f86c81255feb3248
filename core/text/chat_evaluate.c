/* chat_evaluate.c: evaluating a template's expressions. */
#include "text/chat_run.h"

enum { DEPTH = 1000, ARGUMENTS = 32 };

static qd_code name(qd_chat_run *run, const qd_chat_node *node, qd_chat_value *out)
{
    for (const qd_chat_scope *scope = run->scope; scope != NULL; scope = scope->outer) {
        qd_chat_value *found;
        qd_code code = qd_chat_look_up(run, &scope->names, node->name, &found);
        if (code != QD_OK)
            return code;
        if (found != NULL) {
            *out = *found;
            return QD_OK;
        }
    }
    static const char *const refused[] = { "dict",   "lipsum",  "cycler", "joiner", "self",
                                           "caller", "varargs", "kwargs", "super" };
    for (size_t i = 0; i < QD_LENGTH(refused); i++)
        if (qd_chat_text_is(node->name, refused[i]))
            return qd_chat_fail(run, QD_EUNSUPPORTED, "'%s': not supported", refused[i]);
    const qd_chat_callable *function = qd_chat_find(&qd_chat_functions, node->name);
    *out = function == NULL ? qd_chat_undefined(node->name)
                            : (qd_chat_value){ .kind = QD_CHAT_FUNCTION, .as.function = function };
    return QD_OK;
}

static qd_code list(qd_chat_run *run, const qd_chat_node *node, qd_chat_value *out)
{
    qd_chat_list *made = NULL;
    qd_code code = qd_chat_list_create(run, &made);
    for (size_t i = 0; code == QD_OK && i < node->count; i++) {
        qd_chat_value item;
        code = qd_chat_evaluate(run, node->children[i], &item);
        if (code == QD_OK)
            code = qd_chat_list_add(&run->arena, made, item, run->err);
    }
    if (code != QD_OK)
        return code;
    made->sequence = node->kind == QD_CHAT_N_TUPLE ? QD_CHAT_TUPLE : QD_CHAT_PLAIN_LIST;
    *out = qd_chat_of_list(made);
    return QD_OK;
}

static qd_code dict(qd_chat_run *run, const qd_chat_node *node, qd_chat_value *out)
{
    qd_chat_dict *made = NULL;
    qd_code code = qd_chat_arena_get(&run->arena, sizeof *made, (void **)&made, run->err);
    for (size_t i = 0; code == QD_OK && i + 1 < node->count; i += 2) {
        qd_chat_value key, value;
        code = qd_chat_evaluate(run, node->children[i], &key);
        if (code == QD_OK)
            code = qd_chat_evaluate(run, node->children[i + 1], &value);
        if (code == QD_OK && key.kind != QD_CHAT_TEXT)
            return qd_chat_fail(run, QD_EUNSUPPORTED, "%s as a dictionary's key: only texts are supported",
                                qd_chat_kind_name(key.kind));
        if (code == QD_OK)
            code = qd_chat_put(run, made, key.as.text, value);
    }
    *out = (qd_chat_value){ .kind = QD_CHAT_DICT, .as.dict = made };
    return code;
}

static qd_code slice(qd_chat_run *run, const qd_chat_node *node, qd_chat_value *out)
{
    qd_chat_value object, bounds[3] = { { 0 } };
    qd_code code = qd_chat_evaluate(run, node->children[0], &object);
    for (size_t i = 0; code == QD_OK && i < 3; i++)
        if (node->children[i + 1] != NULL)
            code = qd_chat_evaluate(run, node->children[i + 1], &bounds[i]);
    return code == QD_OK ? qd_chat_slice(run, &object, bounds, out) : code;
}

/* Room for the arguments of one call. */
typedef struct arguments {
    qd_chat_value values[ARGUMENTS];
    qd_chat_text names[ARGUMENTS];
    qd_chat_given given;
} arguments;

/* The children of a call, filter or test, but the first. */
static qd_code evaluate_arguments(qd_chat_run *run, const qd_chat_node *node, arguments *a)
{
    a->given = (qd_chat_given){ a->values, a->names, node->count - 1 };
    if (a->given.count > ARGUMENTS)
        return qd_chat_fail(run, QD_ETOOBIG, "a call with more than %d arguments", ARGUMENTS);
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < a->given.count; i++) {
        const qd_chat_node *argument = node->children[i + 1];
        bool keyword = argument->kind == QD_CHAT_N_KEYWORD;
        a->names[i] = keyword ? argument->name : (qd_chat_text){ "", 0 };
        code = qd_chat_evaluate(run, keyword ? argument->children[0] : argument, &a->values[i]);
    }
    return code;
}

static qd_code call(qd_chat_run *run, const qd_chat_node *node, qd_chat_value *out)
{
    arguments a;
    qd_chat_value callee;
    qd_code code = qd_chat_evaluate(run, node->children[0], &callee);
    if (code == QD_OK)
        code = evaluate_arguments(run, node, &a);
    run->line = node->line;
    if (code != QD_OK)
        return code;
    switch (callee.kind) {
    case QD_CHAT_MACRO:
        return qd_chat_call_macro(run, callee.as.macro, &a.given, out);
    case QD_CHAT_FUNCTION:
        return qd_chat_call(run, callee.as.function, NULL, &a.given, out);
    case QD_CHAT_METHOD:
        return qd_chat_call(run, callee.as.method->row, &callee.as.method->self, &a.given, out);
    case QD_CHAT_UNDEFINED:
        return qd_chat_fail(run, QD_EINVAL, "'%.*s' is undefined and cannot be called", qd_chat_shown(callee.as.text),
                            callee.as.text.bytes);
    default:
        return qd_chat_fail(run, QD_EINVAL, "%s cannot be called", qd_chat_kind_name(callee.kind));
    }
}

static qd_code filter_or_test(qd_chat_run *run, const qd_chat_node *node, qd_chat_value *out)
{
    arguments a;
    qd_chat_value object;
    const qd_chat_callable *row = NULL;
    qd_code code = qd_chat_evaluate(run, node->children[0], &object);
    if (code == QD_OK)
        code = evaluate_arguments(run, node, &a);
    run->line = node->line;
    if (code == QD_OK)
        code = qd_chat_require(run, node->kind == QD_CHAT_N_TEST ? &qd_chat_tests : &qd_chat_filters, node->name, &row);
    return code == QD_OK ? qd_chat_call(run, row, &object, &a.given, out) : code;
}

/* The first of the two that decides. */
static qd_code and_or(qd_chat_run *run, const qd_chat_node *node, qd_chat_value *out)
{
    qd_code code = qd_chat_evaluate(run, node->children[0], out);
    if (code != QD_OK || qd_chat_is_true(out) == (node->kind == QD_CHAT_N_OR))
        return code;
    return qd_chat_evaluate(run, node->children[1], out);
}

static qd_code choice(qd_chat_run *run, const qd_chat_node *node, qd_chat_value *out)
{
    static const qd_chat_text nobody = { "the value of an if without else", 31 };
    qd_code code = qd_chat_evaluate(run, node->children[1], out);
    if (code != QD_OK)
        return code;
    const qd_chat_node *chosen = node->children[qd_chat_is_true(out) ? 0 : 2];
    if (chosen != NULL)
        return qd_chat_evaluate(run, chosen, out);
    *out = qd_chat_undefined(nobody);
    return QD_OK;
}

static qd_code negate(qd_chat_run *run, const qd_chat_node *node, qd_chat_value *out)
{
    qd_code code = qd_chat_evaluate(run, node->children[0], out);
    if (code != QD_OK)
        return code;
    if (out->kind != QD_CHAT_INTEGER || out->as.integer == INT64_MIN)
        return qd_chat_fail(run, QD_EINVAL, "a minus before %s", qd_chat_kind_name(out->kind));
    out->as.integer = -out->as.integer;
    return QD_OK;
}

static qd_code two(qd_chat_run *run, const qd_chat_node *node, qd_chat_value *out)
{
    qd_chat_value left, right;
    qd_code code = qd_chat_evaluate(run, node->children[0], &left);
    if (code == QD_OK)
        code = qd_chat_evaluate(run, node->children[1], &right);
    run->line = node->line;
    if (code != QD_OK)
        return code;
    return node->kind == QD_CHAT_N_ITEM ? qd_chat_item(run, &left, &right, out)
                                        : qd_chat_binary(run, node->op, &left, &right, out);
}

static qd_code evaluate(qd_chat_run *run, const qd_chat_node *node, qd_chat_value *out)
{
    qd_code code;
    switch (node->kind) {
    case QD_CHAT_N_CONSTANT:
        *out = node->value;
        return QD_OK;
    case QD_CHAT_N_NAME:
        return name(run, node, out);
    case QD_CHAT_N_LIST:
    case QD_CHAT_N_TUPLE:
        return list(run, node, out);
    case QD_CHAT_N_DICT:
        return dict(run, node, out);
    case QD_CHAT_N_ATTRIBUTE: {
        qd_chat_value object;
        code = qd_chat_evaluate(run, node->children[0], &object);
        return code == QD_OK ? qd_chat_attribute(run, &object, node->name, out) : code;
    }
    case QD_CHAT_N_ITEM:
    case QD_CHAT_N_BINARY:
        return two(run, node, out);
    case QD_CHAT_N_SLICE:
        return slice(run, node, out);
    case QD_CHAT_N_CALL:
        return call(run, node, out);
    case QD_CHAT_N_FILTER:
    case QD_CHAT_N_TEST:
        return filter_or_test(run, node, out);
    case QD_CHAT_N_NOT:
        code = qd_chat_evaluate(run, node->children[0], out);
        if (code == QD_OK)
            *out = qd_chat_of_bool(!qd_chat_is_true(out));
        return code;
    case QD_CHAT_N_NEGATE:
        return negate(run, node, out);
    case QD_CHAT_N_AND:
    case QD_CHAT_N_OR:
        return and_or(run, node, out);
    case QD_CHAT_N_CHOICE:
        return choice(run, node, out);
    default:
        return qd_chat_fail(run, QD_EINTERNAL, "no expression: %d", (int)node->kind);
    }
}

qd_code qd_chat_evaluate(qd_chat_run *run, const qd_chat_node *node, qd_chat_value *out)
{
    *out = (qd_chat_value){ 0 };
    run->line = node->line;
    qd_code code = qd_chat_spend(run, 0);
    if (code == QD_OK && ++run->depth > DEPTH)
        code = qd_chat_fail(run, QD_ETOOBIG, "expressions and macros inside each other without end");
    else if (code == QD_OK)
        code = evaluate(run, node, out);
    run->depth -= run->depth > 0;
    return code;
}

const qd_chat_callable *qd_chat_find(const qd_chat_table *table, qd_chat_text word)
{
    for (size_t i = 0; i < table->count; i++)
        if (qd_chat_text_is(word, table->rows[i].name))
            return &table->rows[i];
    return NULL;
}

qd_code qd_chat_require(qd_chat_run *run, const qd_chat_table *table, qd_chat_text word, const qd_chat_callable **out)
{
    *out = qd_chat_find(table, word);
    if (*out != NULL)
        return QD_OK;
    QD_AUTO(qd_str_fini) qd_str known = { 0 };
    for (size_t i = 0; i < table->count; i++)
        qd_str_addf(&known, "%s%s", i == 0 ? "" : ", ", table->rows[i].name);
    return qd_chat_fail(run, QD_EUNSUPPORTED, "the %s '%.*s' is not supported; known: %s", table->what,
                        qd_chat_shown(word), word.bytes, qd_str_borrow(&known));
}

/* Where the argument goes: its position, or that of its name; QD_CHAT_PARAMETERS when nowhere. */
static size_t place_of(const qd_chat_callable *row, const qd_chat_given *given, size_t i)
{
    for (size_t k = 0; k < QD_CHAT_PARAMETERS && row->parameters[k] != NULL; k++)
        if (given->names[i].length == 0 ? k == i : qd_chat_text_is(given->names[i], row->parameters[k]))
            return k;
    return QD_CHAT_PARAMETERS;
}

qd_code qd_chat_call(qd_chat_run *run, const qd_chat_callable *row, const qd_chat_value *self,
                     const qd_chat_given *given, qd_chat_value *out)
{
    if (row->call_free != NULL)
        return row->call_free(run, self, given, out);
    qd_chat_value bound[QD_CHAT_PARAMETERS] = { { 0 } };
    for (size_t i = 0; i < given->count; i++) {
        size_t place = place_of(row, given, i);
        if (place == QD_CHAT_PARAMETERS || bound[place].kind != QD_CHAT_ABSENT)
            return qd_chat_fail(run, QD_EUNSUPPORTED, "%s: argument %zu ('%.*s') is not supported", row->name, i + 1,
                                qd_chat_shown(given->names[i]), given->names[i].bytes);
        bound[place] = given->values[i];
    }
    for (size_t k = 0; k < row->required; k++)
        if (bound[k].kind == QD_CHAT_ABSENT)
            return qd_chat_fail(run, QD_EINVAL, "%s: the argument '%s' is missing", row->name, row->parameters[k]);
    qd_code code = qd_chat_spend(run, self != NULL && self->kind == QD_CHAT_TEXT ? self->as.text.length : 0);
    return code == QD_OK ? row->call(run, self, bound, out) : code;
}
