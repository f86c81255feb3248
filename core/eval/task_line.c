/* task_line.c: see task_line.h. */
#include "eval/task_line.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "text/prose.h"

void qd_example_fini(qd_example *example)
{
    for (size_t i = 0; i < example->count; i++) {
        free(example->pairs[i].context);
        free(example->pairs[i].continuation);
    }
    *example = (qd_example){ 0 };
}

bool qd_line_has(const json_t *line, const char *key)
{
    return json_object_get(line, key) != NULL;
}

qd_code qd_line_text(const json_t *line, const char *key, const char **out, qd_error *err)
{
    const json_t *value = json_object_get(line, key);
    if (!json_is_string(value))
        return qd_fail(err, QD_EFORMAT, "field '%s': a string is wanted, found %s", key, qd_json_type_name(value));
    *out = json_string_value(value);
    return QD_OK;
}

static qd_code texts_of(const json_t *list, const char *key, size_t least, const char **out, size_t *out_count,
                        qd_error *err)
{
    size_t count = json_array_size(list);
    if (!json_is_array(list))
        return qd_fail(err, QD_EFORMAT, "field '%s': a list of strings is wanted, found %s", key,
                       qd_json_type_name(list));
    if (count < least || count > QD_CHOICES_MAX)
        return qd_fail(err, QD_EFORMAT, "field '%s': %zu strings; wanted are %zu to %d", key, count, least,
                       QD_CHOICES_MAX);
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_string(item))
            return qd_fail(err, QD_EFORMAT, "field '%s': item %zu: a string is wanted, found %s", key, i,
                           qd_json_type_name(item));
        out[i] = json_string_value(item);
    }
    *out_count = count;
    return QD_OK;
}

qd_code qd_line_texts(const json_t *line, const char *key, size_t least, const char **out, size_t *out_count,
                      qd_error *err)
{
    return texts_of(json_object_get(line, key), key, least, out, out_count, err);
}

/* "0" to "999": the digits of an index. */
static bool read_digits(const char *text, json_int_t *out)
{
    size_t length = strspn(text, "0123456789");
    if (length == 0 || length > 3 || text[length] != '\0')
        return false;
    *out = (json_int_t)strtol(text, NULL, 10);
    return true;
}

qd_code qd_line_index(const json_t *line, const char *key, size_t count, size_t *out, qd_error *err)
{
    const json_t *value = json_object_get(line, key);
    json_int_t index = -1;
    if (json_is_integer(value))
        index = json_integer_value(value);
    else if (json_is_boolean(value))
        index = json_is_true(value);
    else if (!json_is_string(value) || !read_digits(json_string_value(value), &index))
        return qd_fail(err, QD_EFORMAT, "field '%s': the number of the right choice is wanted, found %s", key,
                       qd_json_type_name(value));
    if (index < 0 || (size_t)index >= count)
        return qd_fail(err, QD_EFORMAT, "field '%s': %lld is not in 0..%zu", key, (long long)index, count - 1);
    *out = (size_t)index;
    return QD_OK;
}

/* Without the blanks in front of it, which some lines have. */
static qd_code find_label(const char *answer, const char *const *labels, size_t count, size_t *out, qd_error *err)
{
    answer += qd_prose_begin(answer, strlen(answer));
    for (*out = 0; *out < count; ++*out)
        if (strcmp(labels[*out], answer) == 0)
            return QD_OK;
    return qd_fail(err, QD_EFORMAT, "field 'answerKey': '%.40s' is none of the %zu labels of 'choices'", answer, count);
}

qd_code qd_line_labelled(const json_t *line, const char **out, size_t *out_count, size_t *out_gold, qd_error *err)
{
    const char *labels[QD_CHOICES_MAX], *answer = NULL;
    size_t label_count = 0;
    const json_t *choices = json_object_get(line, "choices");
    if (!json_is_object(choices))
        return qd_fail(err, QD_EFORMAT, "field 'choices': an object of 'text' and 'label' is wanted, found %s",
                       qd_json_type_name(choices));
    qd_code code = texts_of(json_object_get(choices, "text"), "choices.text", 2, out, out_count, err);
    if (code == QD_OK)
        code = texts_of(json_object_get(choices, "label"), "choices.label", 2, labels, &label_count, err);
    if (code == QD_OK && label_count != *out_count)
        code = qd_fail(err, QD_EFORMAT, "field 'choices': %zu labels for %zu texts", label_count, *out_count);
    if (code == QD_OK)
        code = qd_line_text(line, "answerKey", &answer, err);
    return code == QD_OK ? find_label(answer, labels, label_count, out_gold, err) : code;
}

qd_code qd_example_add(qd_example *example, const qd_str *context, const qd_str *continuation, const char *choice,
                       qd_error *err)
{
    qd_pair pair = { .characters = qd_prose_characters(choice) };
    qd_code code = qd_str_check(context, err);
    if (code == QD_OK)
        code = qd_str_check(continuation, err);
    if (code == QD_OK)
        code = qd_dup(qd_str_borrow(context), &pair.context, err);
    if (code == QD_OK && (code = qd_dup(qd_str_borrow(continuation), &pair.continuation, err)) != QD_OK)
        free(pair.context);
    if (code == QD_OK)
        example->pairs[example->count++] = pair;
    return code;
}

qd_code qd_example_add_choice(qd_example *example, const qd_str *context, const char *delimiter, const char *choice,
                              qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str continuation = { 0 };
    qd_str_addf(&continuation, "%s%s", delimiter, choice);
    return qd_example_add(example, context, &continuation, choice, err);
}
