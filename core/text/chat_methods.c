/* chat_methods.c: the methods of texts and dictionaries in chat templates, and the functions. A new one is a row. */
#include <string.h>

#include "text/chat_text.h"

static qd_code strip(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    return qd_chat_strip(run, self->as.text, &arguments[0], QD_CHAT_BOTH, out);
}

static qd_code lstrip(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    return qd_chat_strip(run, self->as.text, &arguments[0], QD_CHAT_LEFT, out);
}

static qd_code rstrip(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    return qd_chat_strip(run, self->as.text, &arguments[0], QD_CHAT_RIGHT, out);
}

static qd_code upper(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    (void)arguments;
    return qd_chat_change_case(run, self->as.text, QD_CHAT_UPPER, out);
}

static qd_code lower(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    (void)arguments;
    return qd_chat_change_case(run, self->as.text, QD_CHAT_LOWER, out);
}

static qd_code capitalize(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments,
                          qd_chat_value *out)
{
    (void)arguments;
    return qd_chat_change_case(run, self->as.text, QD_CHAT_CAPITALIZE, out);
}

static qd_code title(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    (void)arguments;
    return qd_chat_change_case(run, self->as.text, QD_CHAT_TITLE_METHOD, out);
}

/* An argument that must be a text. */
static qd_code text_argument(qd_chat_run *run, const qd_chat_value *argument, qd_chat_text *out)
{
    if (argument->kind != QD_CHAT_TEXT)
        return qd_chat_fail(run, QD_EINVAL, "a text is wanted as argument, found %s",
                            qd_chat_kind_name(argument->kind));
    *out = argument->as.text;
    return QD_OK;
}

static qd_code split(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    int64_t most = arguments[1].kind == QD_CHAT_INTEGER ? arguments[1].as.integer : -1;
    return qd_chat_split(run, self->as.text, &arguments[0], most, out);
}

static qd_code replace(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    qd_chat_text old, fresh;
    qd_code code = text_argument(run, &arguments[0], &old);
    if (code == QD_OK)
        code = text_argument(run, &arguments[1], &fresh);
    int64_t most = arguments[2].kind == QD_CHAT_INTEGER ? arguments[2].as.integer : -1;
    return code == QD_OK ? qd_chat_replace(run, self->as.text, old, fresh, most, out) : code;
}

typedef enum text_end { TEXT_START, TEXT_STOP } text_end;

static bool has_end(qd_chat_text text, qd_chat_text part, text_end end)
{
    size_t at = end == TEXT_START ? 0 : text.length - part.length;
    return part.length <= text.length && (part.length == 0 || memcmp(text.bytes + at, part.bytes, part.length) == 0);
}

/* A text, or any of a tuple of texts. */
static qd_code ends(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *wanted, text_end end,
                    qd_chat_value *out)
{
    const qd_chat_list one = { (qd_chat_value *)wanted, 1, 1, QD_CHAT_TUPLE };
    const bool several = wanted->kind == QD_CHAT_LIST && wanted->as.list->sequence == QD_CHAT_TUPLE;
    const qd_chat_list *all = several ? wanted->as.list : &one;
    bool found = false;
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < all->count; i++) {
        qd_chat_text part = { "", 0 };
        code = text_argument(run, &all->items[i], &part);
        if (code == QD_OK)
            code = qd_chat_spend(run, part.length);
        found = found || (code == QD_OK && has_end(self->as.text, part, end));
    }
    *out = qd_chat_of_bool(found);
    return code;
}

static qd_code startswith(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments,
                          qd_chat_value *out)
{
    return ends(run, self, &arguments[0], TEXT_START, out);
}

static qd_code endswith(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    return ends(run, self, &arguments[0], TEXT_STOP, out);
}

/* The text without that start or end, if it has it. */
static qd_code without_end(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *argument, text_end end,
                           qd_chat_value *out)
{
    qd_chat_text part = { "", 0 }, text = self->as.text;
    qd_code code = text_argument(run, argument, &part);
    if (code == QD_OK)
        code = qd_chat_spend(run, part.length);
    if (code == QD_OK && has_end(text, part, end))
        text = (qd_chat_text){ text.bytes + (end == TEXT_START ? part.length : 0), text.length - part.length };
    *out = qd_chat_of_text(text);
    return code;
}

static qd_code removeprefix(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments,
                            qd_chat_value *out)
{
    return without_end(run, self, &arguments[0], TEXT_START, out);
}

static qd_code removesuffix(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments,
                            qd_chat_value *out)
{
    return without_end(run, self, &arguments[0], TEXT_STOP, out);
}

/* The bytes where `part` begins at or after `at`; the text's length when nowhere. */
static size_t find_bytes(qd_chat_text text, qd_chat_text part, size_t at)
{
    for (; part.length <= text.length && at <= text.length - part.length; at++)
        if (part.length == 0 || memcmp(text.bytes + at, part.bytes, part.length) == 0)
            return at;
    return text.length;
}

/* In characters; -1 when nowhere. */
static qd_code find(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    qd_chat_text part = { "", 0 }, text = self->as.text;
    qd_code code = text_argument(run, &arguments[0], &part);
    if (code == QD_OK)
        code = qd_chat_spend(run, text.length * (1 + part.length / 8));
    if (code != QD_OK)
        return code;
    size_t at = find_bytes(text, part, 0), before = 0;
    const qd_chat_value front = qd_chat_of_text((qd_chat_text){ text.bytes, at });
    bool found = part.length == 0 || at < text.length;
    code = qd_chat_length(run, &front, &before);
    *out = qd_chat_of_integer(found ? (int64_t)before : -1);
    return code;
}

static qd_code count(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    qd_chat_text part = { "", 0 }, text = self->as.text;
    int64_t times = 0;
    qd_code code = text_argument(run, &arguments[0], &part);
    if (code == QD_OK && part.length == 0)
        return qd_chat_fail(run, QD_EUNSUPPORTED, "count of the empty text: not supported");
    if (code == QD_OK)
        code = qd_chat_spend(run, text.length * (1 + part.length / 8));
    for (size_t at = 0; code == QD_OK && (at = find_bytes(text, part, at)) < text.length; at += part.length)
        times++;
    *out = qd_chat_of_integer(times);
    return code;
}

static qd_code join(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    static const qd_chat_text name = { "join", 4 }, position = { "", 0 };
    const qd_chat_given separator = { self, &position, 1 };
    if (arguments[0].kind == QD_CHAT_LIST)
        for (size_t i = 0; i < arguments[0].as.list->count; i++)
            if (arguments[0].as.list->items[i].kind != QD_CHAT_TEXT)
                return qd_chat_fail(run, QD_EINVAL, "join of %s",
                                    qd_chat_kind_name(arguments[0].as.list->items[i].kind));
    return qd_chat_call(run, qd_chat_find(&qd_chat_filters, name), &arguments[0], &separator, out);
}

static qd_code get(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    qd_chat_value *found = NULL;
    qd_code code = QD_OK;
    if (arguments[0].kind == QD_CHAT_TEXT)
        code = qd_chat_look_up(run, self->as.dict, arguments[0].as.text, &found);
    *out = found != NULL ? *found : arguments[1].kind == QD_CHAT_ABSENT ? qd_chat_of_none() : arguments[1];
    return code;
}

typedef enum dict_part { DICT_KEYS, DICT_VALUES, DICT_ITEMS } dict_part;

static qd_code pair(qd_chat_run *run, const qd_chat_entry *entry, qd_chat_value *out)
{
    qd_chat_list *both = NULL;
    qd_code code = qd_chat_list_create(run, &both);
    if (code == QD_OK)
        code = qd_chat_list_add(&run->arena, both, qd_chat_of_text(entry->key), run->err);
    if (code == QD_OK)
        code = qd_chat_list_add(&run->arena, both, entry->value, run->err);
    if (code != QD_OK)
        return code;
    both->sequence = QD_CHAT_TUPLE;
    *out = qd_chat_of_list(both);
    return QD_OK;
}

static qd_code dict_list(qd_chat_run *run, const qd_chat_dict *dict, dict_part part, qd_chat_value *out)
{
    qd_chat_list *made = NULL;
    qd_code code = qd_chat_list_create(run, &made);
    for (size_t i = 0; code == QD_OK && i < dict->count; i++) {
        const qd_chat_entry *entry = &dict->items[i];
        qd_chat_value value = part == DICT_KEYS ? qd_chat_of_text(entry->key) : entry->value;
        code = qd_chat_spend(run, 0);
        if (code == QD_OK && part == DICT_ITEMS)
            code = pair(run, entry, &value);
        if (code == QD_OK)
            code = qd_chat_list_add(&run->arena, made, value, run->err);
    }
    *out = qd_chat_of_list(made);
    return code;
}

static qd_code keys(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    (void)arguments;
    return dict_list(run, self->as.dict, DICT_KEYS, out);
}

static qd_code values(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    (void)arguments;
    return dict_list(run, self->as.dict, DICT_VALUES, out);
}

static qd_code items(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    (void)arguments;
    return dict_list(run, self->as.dict, DICT_ITEMS, out);
}

static const qd_chat_callable text_methods[] = {
    { "strip", { "chars" }, 0, strip, NULL },
    { "lstrip", { "chars" }, 0, lstrip, NULL },
    { "rstrip", { "chars" }, 0, rstrip, NULL },
    { "upper", { NULL }, 0, upper, NULL },
    { "lower", { NULL }, 0, lower, NULL },
    { "capitalize", { NULL }, 0, capitalize, NULL },
    { "title", { NULL }, 0, title, NULL },
    { "split", { "sep", "maxsplit" }, 0, split, NULL },
    { "replace", { "old", "new", "count" }, 2, replace, NULL },
    { "startswith", { "prefix" }, 1, startswith, NULL },
    { "endswith", { "suffix" }, 1, endswith, NULL },
    { "removeprefix", { "prefix" }, 1, removeprefix, NULL },
    { "removesuffix", { "suffix" }, 1, removesuffix, NULL },
    { "find", { "sub" }, 1, find, NULL },
    { "count", { "sub" }, 1, count, NULL },
    { "join", { "iterable" }, 1, join, NULL },
};
const qd_chat_table qd_chat_text_methods = { "method of a text", text_methods, QD_LENGTH(text_methods) };

static const qd_chat_callable dict_methods[] = {
    { "get", { "key", "default" }, 1, get, NULL },
    { "keys", { NULL }, 0, keys, NULL },
    { "values", { NULL }, 0, values, NULL },
    { "items", { NULL }, 0, items, NULL },
};
const qd_chat_table qd_chat_dict_methods = { "method of a dictionary", dict_methods, QD_LENGTH(dict_methods) };

const qd_chat_table qd_chat_list_methods = { "method of a list", NULL, 0 };
