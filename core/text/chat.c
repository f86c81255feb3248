/* chat.c: see chat.h. */
#include "text/chat.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "text/chat_run.h"
#include "text/utf8.h"

enum { TEMPLATE_MEMORY = 256 << 20 }; /* of a compiled template */

/* What one rendering may use, and what it may use beside that for each byte of the conversation. Common templates take
 * some hundred steps a message, and copy its text two or three times. */
enum {
    STEPS = 2000000,
    STEPS_A_BYTE = 1,
    MEMORY = 64 << 20,
    MEMORY_A_BYTE = 16,
    OUTPUT = 16 << 20,
    OUTPUT_A_BYTE = 8,
};

struct qd_chat {
    qd_chat_arena arena; /* holds the tree */
    qd_str source;
    qd_chat_node *tree;
    json_t *variables;
};

void qd_chat_destroy(qd_chat *chat)
{
    if (chat == NULL)
        return;
    qd_chat_arena_fini(&chat->arena);
    qd_str_fini(&chat->source);
    json_decref(chat->variables);
    free(chat);
}

/* Every line end is \n, and the last line has none. */
static void normalize(const char *text, size_t length, qd_str *out)
{
    for (size_t at = 0; at < length; at++) {
        if (text[at] == '\r') {
            qd_str_add(out, "\n");
            at += at + 1 < length && text[at + 1] == '\n';
        } else
            qd_str_add_bytes(out, text + at, 1);
    }
    if (out->length > 0 && !out->failed && out->data[out->length - 1] == '\n')
        out->data[--out->length] = '\0';
}

static qd_code compile(qd_chat *chat, const char *text, size_t length, qd_error *err)
{
    qd_chat_tokens tokens = { 0 };
    if (length > QD_CHAT_TEMPLATE_LIMIT)
        return qd_fail(err, QD_ETOOBIG, "%zu bytes; at most %d are allowed", length, QD_CHAT_TEMPLATE_LIMIT);
    if (qd_utf8_valid_prefix(text, length) < length)
        return qd_fail(err, QD_EFORMAT, "the text is no UTF-8");
    normalize(text, length, &chat->source);
    qd_code code = qd_str_check(&chat->source, err);
    const qd_chat_text source = { qd_str_borrow(&chat->source), chat->source.length };
    chat->arena.limit = TEMPLATE_MEMORY;
    if (code == QD_OK)
        code = qd_chat_lex(&chat->arena, source, &tokens, err);
    return code == QD_OK ? qd_chat_parse(&chat->arena, &tokens, &chat->tree, err) : code;
}

/* The variables that are texts. */
static qd_code keep_variables(qd_chat *chat, const json_t *variables, qd_error *err)
{
    const char *name;
    json_t *value;
    chat->variables = json_object();
    json_object_foreach((json_t *)variables, name, value)
    {
        if (json_is_string(value) && json_object_set_new(chat->variables, name, json_copy(value)) != 0)
            return qd_fail(err, QD_ENOMEM, "out of memory");
    }
    return chat->variables == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}

qd_code qd_chat_compile(const char *text, size_t length, const json_t *variables, qd_chat **out, qd_error *err)
{
    qd_chat *chat = NULL;
    qd_code code = qd_alloc(1, sizeof *chat, (void **)&chat, err);
    if (code == QD_OK)
        code = compile(chat, text, length, err);
    if (code == QD_OK)
        code = keep_variables(chat, variables, err);
    if (code == QD_OK) {
        *out = chat;
        return QD_OK;
    }
    qd_chat_destroy(chat);
    return qd_within(err, code, "chat template");
}

static qd_code check_message(const json_t *message, size_t i, qd_error *err)
{
    static const char *const tools[] = { "tool_calls", "tool_call_id", "function_call" };
    const char *role = json_string_value(json_object_get(message, "role"));
    const json_t *content = json_object_get(message, "content");
    if (!json_is_object(message) || role == NULL)
        return qd_fail(err, QD_EFORMAT, "message %zu: an object with a string 'role' is wanted, found %s", i,
                       qd_json_type_name(json_is_object(message) ? json_object_get(message, "role") : message));
    for (size_t k = 0; k < QD_LENGTH(tools); k++)
        if (json_object_get(message, tools[k]) != NULL && !json_is_null(json_object_get(message, tools[k])))
            return qd_fail(err, QD_EUNSUPPORTED, "message %zu: '%s': tools are not supported", i, tools[k]);
    if (strcmp(role, "tool") == 0 || strcmp(role, "function") == 0)
        return qd_fail(err, QD_EUNSUPPORTED, "message %zu: the role '%s': tools are not supported", i, role);
    if (!json_is_string(content))
        return qd_fail(err, QD_EFORMAT, "message %zu: 'content': a string is wanted, found %s", i,
                       qd_json_type_name(content));
    return QD_OK;
}

/* messages, the special tokens, and what readers give beside them when there are neither tools nor documents. */
static qd_code define_variables(qd_chat_run *run, const qd_chat *chat, const json_t *messages)
{
    const char *name;
    json_t *value;
    qd_chat_value converted;
    qd_code code = QD_OK;
    json_object_foreach(chat->variables, name, value)
    {
        if (code == QD_OK)
            code = qd_chat_of_json(&run->arena, value, &converted, run->err);
        if (code == QD_OK)
            code = qd_chat_define(run, qd_chat_of_string(name).as.text, converted);
    }
    if (code == QD_OK)
        code = qd_chat_of_json(&run->arena, messages, &converted, run->err);
    if (code == QD_OK)
        code = qd_chat_define(run, qd_chat_of_string("messages").as.text, converted);
    if (code == QD_OK)
        code = qd_chat_define(run, qd_chat_of_string("tools").as.text, qd_chat_of_none());
    if (code == QD_OK)
        code = qd_chat_define(run, qd_chat_of_string("documents").as.text, qd_chat_of_none());
    if (code == QD_OK)
        code = qd_chat_define(run, qd_chat_of_string("add_generation_prompt").as.text, qd_chat_of_bool(false));
    return code;
}

static void run_fini(qd_chat_run *run)
{
    qd_chat_arena_fini(&run->arena);
}

static void set_limits(qd_chat_run *run, size_t bytes)
{
    run->steps = STEPS + STEPS_A_BYTE * bytes;
    run->arena.limit = MEMORY + MEMORY_A_BYTE * bytes;
    run->most = OUTPUT + OUTPUT_A_BYTE * bytes;
}

qd_code qd_chat_render(const qd_chat *chat, const json_t *messages, qd_str *out, qd_error *err)
{
    if (!json_is_array(messages))
        return qd_fail(err, QD_EFORMAT, "a conversation: an array of messages is wanted, found %s",
                       qd_json_type_name(messages));
    size_t bytes = 0;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        qd_code code = check_message(json_array_get(messages, i), i, err);
        if (code != QD_OK)
            return code;
        bytes += json_string_length(json_object_get(json_array_get(messages, i), "content"));
    }
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    QD_AUTO(run_fini) qd_chat_run run = { .out = &text, .err = err };
    qd_chat_scope scope = { 0 };
    run.scope = &scope;
    set_limits(&run, bytes);
    qd_code code = define_variables(&run, chat, messages);
    if (code == QD_OK)
        code = qd_chat_execute(&run, chat->tree);
    if (code != QD_OK)
        return qd_within(err, code, "chat template");
    qd_str_add_bytes(out, qd_str_borrow(&text), text.length);
    return qd_str_check(out, err);
}
