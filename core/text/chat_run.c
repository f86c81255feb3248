/* chat_run.c: running a template's statements. A loop's rounds and a macro's calls have names of their own; an if has
 * not. */
#include "text/chat_run.h"

#include <stdio.h>

enum { DEPTH = 1000, BYTES_A_STEP = 64 };

qd_code qd_chat_fail(qd_chat_run *run, qd_code code, const char *format, ...)
{
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return qd_fail(run->err, code, "line %u: %s", run->line, text);
}

qd_code qd_chat_spend(qd_chat_run *run, size_t bytes)
{
    size_t cost = 1 + bytes / BYTES_A_STEP;
    if (cost > run->steps)
        return qd_chat_fail(run, QD_ETOOBIG, "the template takes more steps than a conversation needs");
    run->steps -= cost;
    return QD_OK;
}

qd_code qd_chat_define(qd_chat_run *run, qd_chat_text name, qd_chat_value value)
{
    return qd_chat_put(run, &run->scope->names, name, value);
}

/* A new scope inside `outer`, entered; the caller leaves it by setting run->scope back. */
static qd_code enter_scope(qd_chat_run *run, qd_chat_scope *outer)
{
    qd_chat_scope *scope = NULL;
    qd_code code = qd_chat_arena_get(&run->arena, sizeof *scope, (void **)&scope, run->err);
    if (code == QD_OK) {
        scope->outer = outer;
        run->scope = scope;
    }
    return code;
}

static qd_code write_text(qd_chat_run *run, qd_chat_text text)
{
    qd_code code = qd_chat_spend(run, text.length);
    if (code != QD_OK)
        return code;
    if (text.length > run->most || run->out->length > run->most - text.length)
        return qd_chat_fail(run, QD_ETOOBIG, "more than %zu MiB of text", run->most >> 20);
    qd_str_add_bytes(run->out, text.bytes, text.length);
    return qd_str_check(run->out, run->err);
}

static qd_code print(qd_chat_run *run, const qd_chat_node *node)
{
    qd_chat_value value;
    qd_chat_text text;
    qd_code code = qd_chat_evaluate(run, node->children[0], &value);
    if (code == QD_OK)
        code = qd_chat_print(run, &value, &text);
    return code == QD_OK ? write_text(run, text) : code;
}

static qd_code run_if(qd_chat_run *run, const qd_chat_node *node)
{
    size_t i = 0;
    for (; i + 1 < node->count; i += 2) {
        qd_chat_value condition;
        qd_code code = qd_chat_evaluate(run, node->children[i], &condition);
        if (code != QD_OK)
            return code;
        if (qd_chat_is_true(&condition))
            return qd_chat_execute(run, node->children[i + 1]);
    }
    return i < node->count ? qd_chat_execute(run, node->children[i]) : QD_OK;
}

/* The value to a name, or the items of the value to names. */
static qd_code assign(qd_chat_run *run, const qd_chat_node *target, const qd_chat_value *value)
{
    if (target->kind == QD_CHAT_N_NAME)
        return qd_chat_define(run, target->name, *value);
    const qd_chat_list *items;
    qd_code code = qd_chat_items(run, value, &items);
    if (code == QD_OK && items->count != target->count)
        return qd_chat_fail(run, QD_EINVAL, "%zu values for %zu names", items->count, target->count);
    for (size_t i = 0; code == QD_OK && i < target->count; i++)
        code = qd_chat_define(run, target->children[i]->name, items->items[i]);
    return code;
}

/* Replaces *items by those that the filter lets through. */
static qd_code filter_items(qd_chat_run *run, const qd_chat_node *node, const qd_chat_list **items)
{
    qd_chat_list *kept = NULL;
    qd_code code = qd_chat_list_create(run, &kept);
    for (size_t i = 0; code == QD_OK && i < (*items)->count; i++) {
        qd_chat_value passes;
        code = assign(run, node->children[0], &(*items)->items[i]);
        if (code == QD_OK)
            code = qd_chat_evaluate(run, node->children[2], &passes);
        if (code == QD_OK && qd_chat_is_true(&passes))
            code = qd_chat_list_add(&run->arena, kept, (*items)->items[i], run->err);
    }
    *items = kept;
    return code;
}

/* *out_completed: whether a round came to its end, and not to a break or continue. */
static qd_code run_rounds(qd_chat_run *run, const qd_chat_node *node, const qd_chat_list *items, bool *out_completed)
{
    static const qd_chat_text name = { "loop", 4 };
    qd_chat_loop *loop = NULL;
    qd_code code = qd_chat_arena_get(&run->arena, sizeof *loop, (void **)&loop, run->err);
    if (code != QD_OK)
        return code;
    *loop = (qd_chat_loop){ items, 0, ++run->loops };
    for (; code == QD_OK && loop->index < items->count && run->jump != QD_CHAT_BREAK; loop->index++) {
        run->scope->names.count = 0; /* nothing that a round has set is there in the next */
        run->jump = QD_CHAT_GO_ON;
        code = qd_chat_spend(run, 0);
        if (code == QD_OK)
            code = assign(run, node->children[0], &items->items[loop->index]);
        if (code == QD_OK)
            code = qd_chat_define(run, name, (qd_chat_value){ .kind = QD_CHAT_LOOP, .as.loop = loop });
        if (code == QD_OK)
            code = qd_chat_execute(run, node->children[3]);
        *out_completed = *out_completed || run->jump == QD_CHAT_GO_ON;
    }
    run->jump = QD_CHAT_GO_ON;
    run->loops--;
    return code;
}

static qd_code run_for(qd_chat_run *run, const qd_chat_node *node)
{
    qd_chat_scope *outer = run->scope;
    qd_chat_value value;
    const qd_chat_list *items = NULL;
    qd_code code = qd_chat_evaluate(run, node->children[1], &value);
    if (code == QD_OK)
        code = qd_chat_items(run, &value, &items);
    if (code == QD_OK)
        code = enter_scope(run, outer);
    if (code == QD_OK && node->children[2] != NULL)
        code = filter_items(run, node, &items);
    bool completed = false;
    if (code == QD_OK)
        code = run_rounds(run, node, items, &completed);
    if (code == QD_OK && !completed && node->children[4] != NULL) { /* the language's else: no round was completed */
        run->scope->names.count = 0;
        code = qd_chat_execute(run, node->children[4]);
    }
    run->scope = outer;
    return code;
}

static const qd_chat_value *lookup(const qd_chat_run *run, qd_chat_text name)
{
    const qd_chat_value *found = NULL;
    for (const qd_chat_scope *scope = run->scope; scope != NULL && found == NULL; scope = scope->outer)
        found = qd_chat_dict_find(&scope->names, name);
    return found;
}

static qd_code store(qd_chat_run *run, const qd_chat_node *target, qd_chat_value value)
{
    if (target->kind == QD_CHAT_N_NAME)
        return qd_chat_define(run, target->name, value);
    qd_chat_text name = target->children[0]->name;
    const qd_chat_value *object = lookup(run, name);
    if (object == NULL || object->kind != QD_CHAT_NAMESPACE)
        return qd_chat_fail(run, QD_EINVAL, "'%.*s' is no namespace: its attribute cannot be set", qd_chat_shown(name),
                            name.bytes);
    return qd_chat_put(run, object->as.names, target->name, value);
}

/* Runs a block in a scope of its own, what it writes being the value. */
static qd_code capture(qd_chat_run *run, const qd_chat_node *block, qd_chat_scope *scope, qd_chat_value *out)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    qd_str *before = run->out;
    run->out = &text;
    qd_code code = qd_chat_execute(run, block);
    run->out = before;
    run->scope = scope;
    return code == QD_OK ? qd_chat_keep(run, &text, out) : code;
}

static qd_code set_block(qd_chat_run *run, const qd_chat_node *node)
{
    qd_chat_scope *outer = run->scope;
    qd_chat_value text;
    qd_code code = enter_scope(run, outer);
    if (code == QD_OK)
        code = capture(run, node->children[1], outer, &text);
    return code == QD_OK ? store(run, node->children[0], text) : code;
}

static qd_code set(qd_chat_run *run, const qd_chat_node *node)
{
    qd_chat_value value;
    qd_code code = qd_chat_evaluate(run, node->children[1], &value);
    return code == QD_OK ? store(run, node->children[0], value) : code;
}

static qd_code define_macro(qd_chat_run *run, const qd_chat_node *node)
{
    qd_chat_macro *macro = NULL;
    qd_code code = qd_chat_arena_get(&run->arena, sizeof *macro, (void **)&macro, run->err);
    if (code != QD_OK)
        return code;
    *macro = (qd_chat_macro){ node, run->scope };
    return qd_chat_define(run, node->name, (qd_chat_value){ .kind = QD_CHAT_MACRO, .as.macro = macro });
}

static qd_code generation(qd_chat_run *run, const qd_chat_node *node)
{
    qd_chat_scope *outer = run->scope;
    qd_code code = enter_scope(run, outer);
    if (code == QD_OK)
        code = qd_chat_execute(run, node->children[0]);
    run->scope = outer;
    return code;
}

static qd_code run_statement(qd_chat_run *run, const qd_chat_node *node)
{
    switch (node->kind) {
    case QD_CHAT_N_DATA:
        return write_text(run, node->value.as.text);
    case QD_CHAT_N_PRINT:
        return print(run, node);
    case QD_CHAT_N_IF:
        return run_if(run, node);
    case QD_CHAT_N_FOR:
        return run_for(run, node);
    case QD_CHAT_N_SET:
        return set(run, node);
    case QD_CHAT_N_SET_BLOCK:
        return set_block(run, node);
    case QD_CHAT_N_MACRO:
        return define_macro(run, node);
    case QD_CHAT_N_GENERATION:
        return generation(run, node);
    case QD_CHAT_N_BREAK:
    case QD_CHAT_N_CONTINUE:
        run->jump = node->kind == QD_CHAT_N_BREAK ? QD_CHAT_BREAK : QD_CHAT_CONTINUE;
        return QD_OK;
    default:
        return qd_chat_fail(run, QD_EINTERNAL, "no statement: %d", (int)node->kind);
    }
}

qd_code qd_chat_execute(qd_chat_run *run, const qd_chat_node *block)
{
    qd_code code = QD_OK;
    if (++run->depth > DEPTH)
        code = qd_chat_fail(run, QD_ETOOBIG, "macros that call each other without end");
    for (size_t i = 0; code == QD_OK && i < block->count && run->jump == QD_CHAT_GO_ON; i++) {
        run->line = block->children[i]->line;
        code = qd_chat_spend(run, 0);
        if (code == QD_OK)
            code = run_statement(run, block->children[i]);
    }
    run->depth--;
    return code;
}

static bool parameter_is(const qd_chat_node *parameter, qd_chat_text name)
{
    return qd_chat_text_equal(parameter->name, name);
}

/* Gives the macro's parameters their values, in its scope. */
static qd_code bind(qd_chat_run *run, const qd_chat_node *node, const qd_chat_given *given)
{
    size_t bound = 0, positional = 0;
    qd_code code = QD_OK;
    for (size_t i = 1; code == QD_OK && i < node->count; i++) {
        const qd_chat_node *parameter = node->children[i];
        qd_chat_value value = qd_chat_undefined(parameter->name);
        size_t at = given->count;
        if (positional < given->count && given->names[positional].length == 0)
            at = positional++;
        for (size_t k = 0; at == given->count && k < given->count; k++)
            if (parameter_is(parameter, given->names[k]))
                at = k;
        if (at < given->count) {
            value = given->values[at];
            bound++;
        } else if (parameter->children[0] != NULL)
            code = qd_chat_evaluate(run, parameter->children[0], &value);
        if (code == QD_OK)
            code = qd_chat_define(run, parameter->name, value);
    }
    if (code == QD_OK && bound != given->count)
        return qd_chat_fail(run, QD_EINVAL, "the macro '%.*s' is given arguments that it has no names for",
                            qd_chat_shown(node->name), node->name.bytes);
    return code;
}

qd_code qd_chat_call_macro(qd_chat_run *run, const qd_chat_macro *macro, const qd_chat_given *given, qd_chat_value *out)
{
    qd_chat_scope *caller = run->scope;
    qd_code code = enter_scope(run, macro->scope);
    if (code == QD_OK)
        code = bind(run, macro->node, given);
    if (code == QD_OK)
        code = capture(run, macro->node->children[0], caller, out);
    run->scope = caller;
    return code;
}
