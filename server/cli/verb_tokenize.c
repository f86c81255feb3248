/* verb_tokenize.c: quantd tokenize: JSON lines in, JSON lines out; the tokenizer, and the chat template, by themselves.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/verb.h"
#include "engine/conversations.h"
#include "engine/source.h"

enum { SPECIAL, DECODE, RENDER, LINE_DEPTH = 16 };
static const qd_verb_option options[] = {
    [SPECIAL] = { "special", NULL, NULL, "add what the post-processor adds (BOS, EOS)" },
    [DECODE] = { "decode", NULL, NULL, "the other way: {\"ids\":[...]} in, {\"text\":...} out" },
    [RENDER] = { "render", NULL, NULL, "only the chat template: {\"messages\":[...]} in, {\"text\":...} out" },
    { 0 },
};

/* What a line needs. */
typedef struct session {
    const char *model;
    qd_tokenizer *tokenizer; /* NULL when only the template is asked for */
    qd_special special;
} session;

static void session_fini(session *s)
{
    qd_tokenizer_destroy(s->tokenizer);
}

static qd_code print_ids(const qd_ids *ids, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str line = { 0 };
    qd_str_add(&line, "{\"ids\":[");
    for (size_t i = 0; i < ids->count; i++)
        qd_str_addf(&line, "%s%u", i == 0 ? "" : ",", ids->data[i]);
    qd_str_add(&line, "]}\n");
    qd_code code = qd_str_check(&line, err);
    if (code == QD_OK && fwrite(line.data, 1, line.length, stdout) != line.length)
        return qd_fail_errno(err, "standard output");
    return code;
}

static qd_code print_text(const qd_str *text, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *line = json_pack("{s:s%}", "text", qd_str_borrow(text), text->length);
    if (line == NULL) /* a token may hold U+0000 or what is no character at all */
        return qd_fail(err, QD_EUNSUPPORTED, "a text that is no JSON string");
    QD_AUTO(qd_free_pointer) char *printed = qd_json_print(line);
    if (printed == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return puts(printed) >= 0 ? QD_OK : qd_fail_errno(err, "standard output");
}

static qd_code print_document(const session *s, const qd_str *text, qd_error *err)
{
    QD_AUTO(qd_ids_fini) qd_ids ids = { 0 };
    if (s->tokenizer == NULL)
        return print_text(text, err);
    qd_code code = qd_tokenizer_encode(s->tokenizer, qd_str_borrow(text), text->length, s->special, &ids, err);
    return code == QD_OK ? print_ids(&ids, err) : code;
}

static qd_code print_documents(const session *s, qd_documents *documents, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    bool found = true;
    qd_code code = QD_OK;
    while (code == QD_OK && found) {
        code = qd_documents_next(documents, &text, &found, err);
        if (code != QD_OK || !found)
            break;
        code = print_document(s, &text, err);
        if (code != QD_OK)
            qd_within(err, code, "line %zu", qd_documents_line(documents));
    }
    return code;
}

static qd_code all_documents(session *s, qd_error *err)
{
    qd_documents *documents = NULL;
    QD_AUTO(qd_conversations_fini) qd_conversations conversations = { .model = s->model };
    const qd_renderer renderer = qd_conversations_renderer(&conversations);
    const qd_documents_way way = { .format = QD_TEXT_JSONL, .renderer = &renderer, .limit = SIZE_MAX };
    int fd = dup(STDIN_FILENO);
    if (fd < 0)
        return qd_fail_errno(err, "standard input");
    qd_code code = qd_documents_attach(fd, "standard input", &way, &documents, err);
    if (code == QD_OK)
        code = print_documents(s, documents, err);
    qd_documents_close(documents);
    if (code == QD_OK && fflush(stdout) != 0)
        return qd_fail_errno(err, "standard output");
    return code;
}

static qd_code decode_line(session *s, const json_t *object, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    QD_AUTO(qd_ids_fini) qd_ids ids = { 0 };
    const json_t *list = json_object_get(object, "ids"), *id;
    size_t i;
    qd_code code = json_is_array(list)
                       ? QD_OK
                       : qd_fail(err, QD_EFORMAT, "'ids': an array is wanted, found %s", qd_json_type_name(list));
    json_array_foreach(list, i, id)
    {
        if (code == QD_OK &&
            (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > UINT32_MAX))
            return qd_fail(err, QD_EFORMAT, "'ids': number %zu is no token's id", i);
        if (code == QD_OK)
            code = qd_ids_add(&ids, (uint32_t)json_integer_value(id), err);
    }
    if (code == QD_OK)
        code = qd_tokenizer_decode(s->tokenizer, ids.data, ids.count, &text, err);
    return code == QD_OK ? print_text(&text, err) : code;
}

static qd_code decode_object(session *s, const char *line, size_t length, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *object = NULL;
    qd_code code = qd_json_parse_object(line, length, LINE_DEPTH, &object, err);
    return code == QD_OK ? decode_line(s, object, err) : code;
}

static qd_code decode_lines(session *s, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *line = NULL;
    size_t capacity = 0, number = 0;
    ssize_t length;
    while ((length = getline(&line, &capacity, stdin)) >= 0) {
        number++;
        if (length == 0 || strspn(line, " \r\n") == (size_t)length)
            continue;
        qd_code code = decode_object(s, line, (size_t)length, err);
        if (code != QD_OK)
            return qd_within(err, code, "line %zu", number);
    }
    return fflush(stdout) == 0 ? QD_OK : qd_fail_errno(err, "standard output");
}

static int run(const qd_arguments *arguments)
{
    qd_error err = { 0 };
    const bool decodes = arguments->values[DECODE] != NULL, renders = arguments->values[RENDER] != NULL;
    QD_AUTO(session_fini) session s = { .model = arguments->operands[0] };
    s.special = arguments->values[SPECIAL] == NULL ? QD_SPECIAL_NONE : QD_SPECIAL_ADD;
    qd_code code = decodes && renders ? qd_fail(&err, QD_EINVAL, "--decode and --render: one of them") : QD_OK;
    if (code == QD_OK && !renders)
        code = qd_source_tokenizer(s.model, &s.tokenizer, &err);
    if (code == QD_OK)
        code = decodes ? decode_lines(&s, &err) : all_documents(&s, &err);
    return code == QD_OK ? QD_EXIT_OK : qd_verb_fail(code, &err);
}

const qd_verb qd_verb_tokenize = {
    .name = "tokenize",
    .summary = "JSON lines in ({\"text\":...} or {\"messages\":[...]}), JSON lines out ({\"ids\":[...]}): the "
               "tokenizer by itself",
    .operands = "MODEL",
    .operand_count = 1,
    .options = options,
    .run = run,
};
