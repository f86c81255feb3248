/* document_line.c: see document_line.h. */
#include "text/document_line.h"

#include <string.h>

#include "base/json.h"

enum { LINE_DEPTH = 64, KEYS_SHOWN = 12, KEY_SHOWN = 40 };

#define SHAPES "'text', 'messages', or 'prompt' and 'completion'"

/* ---- messages ---- */

static qd_code check_message(const json_t *message, size_t index, const char *key, qd_error *err)
{
    if (!json_is_object(message))
        return qd_fail(err, QD_EFORMAT, "%s[%zu]: an object is wanted, found %s", key, index,
                       qd_json_type_name(message));
    const json_t *role = json_object_get(message, "role");
    return json_is_string(role) ? QD_OK
                                : qd_fail(err, QD_EFORMAT, "%s[%zu].role: a string is wanted, found %s", key, index,
                                          qd_json_type_name(role));
}

static qd_code add_messages(const json_t *list, const char *key, json_t *out, qd_error *err)
{
    size_t index;
    const json_t *message;
    json_array_foreach(list, index, message)
    {
        qd_code code = check_message(message, index, key, err);
        if (code != QD_OK)
            return code;
    }
    return json_array_extend(out, (json_t *)(uintptr_t)list) == 0 ? QD_OK : qd_fail(err, QD_ENOMEM, "out of memory");
}

static qd_code render(const json_t *messages, const char *key, const qd_renderer *renderer, qd_str *text, qd_error *err)
{
    if (renderer == NULL)
        return qd_fail(err, QD_EUNSUPPORTED,
                       "%s: a conversation needs the model's chat template, and the model has none; 'text', or "
                       "'prompt' and 'completion' as strings need none",
                       key);
    if (json_array_size(messages) == 0)
        return QD_OK; /* as empty as an empty text */
    qd_code code = renderer->render(renderer->ctx, messages, text, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "%s", key);
}

static qd_code of_messages(const json_t *list, const qd_renderer *renderer, qd_str *text, qd_error *err)
{
    static const char key[] = "messages";
    QD_AUTO(qd_json_fini) json_t *messages = json_array();
    if (!json_is_array(list))
        return qd_fail(err, QD_EFORMAT, "%s: an array is wanted, found %s", key, qd_json_type_name(list));
    qd_code code = messages == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : add_messages(list, key, messages, err);
    return code == QD_OK ? render(messages, key, renderer, text, err) : code;
}

static qd_code of_exchange(const json_t *prompt, const json_t *completion, const qd_renderer *renderer, qd_str *text,
                           qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *messages = json_array();
    qd_code code = add_messages(prompt, "prompt", messages, err);
    if (code == QD_OK)
        code = add_messages(completion, "completion", messages, err);
    return code == QD_OK ? render(messages, "prompt", renderer, text, err) : code;
}

/* ---- shapes ---- */

static void add_string(const json_t *value, qd_str *text)
{
    qd_str_add_bytes(text, json_string_value(value), json_string_length(value));
}

static qd_code of_pair(const json_t *prompt, const json_t *completion, const qd_renderer *renderer, qd_str *text,
                       qd_error *err)
{
    if (json_is_array(prompt) && json_is_array(completion))
        return of_exchange(prompt, completion, renderer, text, err);
    if (!json_is_string(prompt) || !json_is_string(completion))
        return qd_fail(err, QD_EFORMAT, "prompt and completion: two strings or two arrays of messages, found %s and %s",
                       qd_json_type_name(prompt), qd_json_type_name(completion));
    add_string(prompt, text);
    add_string(completion, text);
    return QD_OK;
}

static qd_code of_text(const json_t *value, qd_str *text, qd_error *err)
{
    if (!json_is_string(value))
        return qd_fail(err, QD_EFORMAT, "text: a string is wanted, found %s", qd_json_type_name(value));
    add_string(value, text);
    return QD_OK;
}

/* As far as it can be shown in a line. */
static void add_key(const char *key, qd_str *out)
{
    qd_str_add(out, "'");
    for (size_t i = 0; key[i] != '\0' && i < KEY_SHOWN; i++)
        qd_str_addf(out, "%c", key[i] >= ' ' && key[i] <= '~' ? key[i] : '?');
    qd_str_add(out, "'");
}

static qd_code refuse_keys(const json_t *object, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str keys = { 0 };
    const char *key;
    json_t *value;
    size_t shown = 0;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (shown == KEYS_SHOWN) {
            qd_str_add(&keys, ", ...");
            break;
        }
        qd_str_add(&keys, shown++ == 0 ? "" : ", ");
        add_key(key, &keys);
    }
    return qd_fail(err, QD_EFORMAT, "it has %s; " SHAPES " is wanted", shown == 0 ? "no keys" : qd_str_borrow(&keys));
}

/* null is what tables write where a row has no such column. */
static const json_t *member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

static qd_code of_object(const json_t *object, const qd_renderer *renderer, qd_str *text, qd_error *err)
{
    const json_t *plain = member(object, "text"), *messages = member(object, "messages"),
                 *prompt = member(object, "prompt"), *completion = member(object, "completion");
    if (plain != NULL && messages != NULL)
        return qd_fail(err, QD_EFORMAT, "it has both 'text' and 'messages': which of them is the document?");
    if (plain != NULL)
        return of_text(plain, text, err);
    if (messages != NULL)
        return of_messages(messages, renderer, text, err);
    return prompt != NULL && completion != NULL ? of_pair(prompt, completion, renderer, text, err)
                                                : refuse_keys(object, err);
}

qd_code qd_document_of_line(const char *line, size_t length, const qd_renderer *renderer, qd_str *text, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *object = NULL;
    qd_code code = qd_json_parse_object_wide(line, length, LINE_DEPTH, &object, err);
    if (code == QD_OK)
        code = of_object(object, renderer, text, err);
    return code == QD_OK ? qd_str_check(text, err) : code;
}

/* ---- without a template ---- */

static qd_code render_plain(void *ctx, const json_t *messages, qd_str *out, qd_error *err)
{
    size_t index;
    const json_t *message;
    (void)ctx;
    json_array_foreach(messages, index, message)
    {
        add_string(json_object_get(message, "role"), out);
        qd_str_add(out, "\n");
        if (json_is_string(json_object_get(message, "content")))
            add_string(json_object_get(message, "content"), out);
        qd_str_add(out, "\n");
    }
    return qd_str_check(out, err);
}

const qd_renderer qd_renderer_plain = { .render = render_plain };
