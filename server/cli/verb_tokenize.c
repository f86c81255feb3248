/* verb_tokenize.c: quantd tokenize: JSON lines in, JSON lines out; the tokenizer by itself. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/verb.h"
#include "engine/source.h"

enum { SPECIAL, LINE_DEPTH = 4 };
static const qd_verb_option options[] = {
    [SPECIAL] = { "special", NULL, NULL, "add what the post-processor adds (BOS, EOS)" },
    { 0 },
};

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

static qd_code encode_line(const qd_tokenizer *tokenizer, const char *line, size_t length, qd_special special,
                           qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *object = NULL;
    qd_code code = qd_json_parse_object(line, length, LINE_DEPTH, &object, err);
    if (code != QD_OK)
        return code;
    const json_t *text = json_object_get(object, "text");
    if (!json_is_string(text))
        return qd_fail(err, QD_EFORMAT, "'text': a string is wanted, found %s", qd_json_type_name(text));
    QD_AUTO(qd_ids_fini) qd_ids ids = { 0 };
    code = qd_tokenizer_encode(tokenizer, json_string_value(text), json_string_length(text), special, &ids, err);
    return code == QD_OK ? print_ids(&ids, err) : code;
}

static qd_code encode_lines(const qd_tokenizer *tokenizer, qd_special special, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *line = NULL;
    size_t capacity = 0, number = 0;
    ssize_t length;
    while ((length = getline(&line, &capacity, stdin)) >= 0) {
        number++;
        if (length == 0 || strspn(line, " \r\n") == (size_t)length)
            continue;
        qd_code code = encode_line(tokenizer, line, (size_t)length, special, err);
        if (code != QD_OK)
            return qd_within(err, code, "line %zu", number);
    }
    return fflush(stdout) == 0 ? QD_OK : qd_fail_errno(err, "standard output");
}

static int run(const qd_arguments *arguments)
{
    qd_error err = { 0 };
    qd_tokenizer *tokenizer = NULL;
    qd_code code = qd_source_tokenizer(arguments->operands[0], &tokenizer, &err);
    if (code == QD_OK)
        code = encode_lines(tokenizer, arguments->values[SPECIAL] == NULL ? QD_SPECIAL_NONE : QD_SPECIAL_ADD, &err);
    qd_tokenizer_destroy(tokenizer);
    return code == QD_OK ? QD_EXIT_OK : qd_verb_fail(code, &err);
}

const qd_verb qd_verb_tokenize = {
    .name = "tokenize",
    .summary = "JSON lines in ({\"text\":...}), JSON lines out ({\"ids\":[...]}): the tokenizer by itself",
    .operands = "MODEL",
    .operand_count = 1,
    .options = options,
    .run = run,
};
