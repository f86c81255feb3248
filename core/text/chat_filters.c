/* chat_filters.c: the filters of chat templates: value|name. A new one is a row. */
#include "text/chat_text.h"

/* The text that a value is printed as; filters of texts begin with it. */
static qd_code text_of(qd_chat_run *run, const qd_chat_value *value, qd_chat_text *out)
{
    return qd_chat_print(run, value, out);
}

static qd_code trim(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    qd_chat_text text;
    qd_code code = text_of(run, self, &text);
    return code == QD_OK ? qd_chat_strip(run, text, &arguments[0], QD_CHAT_BOTH, out) : code;
}

static qd_code change_case(qd_chat_run *run, const qd_chat_value *self, qd_chat_case which, qd_chat_value *out)
{
    qd_chat_text text;
    qd_code code = text_of(run, self, &text);
    return code == QD_OK ? qd_chat_change_case(run, text, which, out) : code;
}

static qd_code upper(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    (void)arguments;
    return change_case(run, self, QD_CHAT_UPPER, out);
}

static qd_code lower(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    (void)arguments;
    return change_case(run, self, QD_CHAT_LOWER, out);
}

static qd_code capitalize(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments,
                          qd_chat_value *out)
{
    (void)arguments;
    return change_case(run, self, QD_CHAT_CAPITALIZE, out);
}

static qd_code title(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    (void)arguments;
    return change_case(run, self, QD_CHAT_TITLE_FILTER, out);
}

static qd_code length(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    (void)arguments;
    size_t count = 0;
    qd_code code = qd_chat_length(run, self, &count);
    *out = qd_chat_of_integer((int64_t)count);
    return code;
}

static qd_code tojson(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    const qd_chat_value *indent = &arguments[1];
    if (indent->kind != QD_CHAT_ABSENT && indent->kind != QD_CHAT_NONE && indent->kind != QD_CHAT_INTEGER)
        return qd_chat_fail(run, QD_EUNSUPPORTED, "tojson: an indent that is %s", qd_chat_kind_name(indent->kind));
    int64_t blanks = indent->kind == QD_CHAT_INTEGER && indent->as.integer >= 0 ? indent->as.integer
                     : indent->kind == QD_CHAT_INTEGER                          ? 0
                                                                                : -1;
    qd_code code = qd_chat_dump_json(
        run, self, qd_chat_is_true(&arguments[0]) ? QD_CHAT_ASCII_ONLY : QD_CHAT_KEEP_UNICODE, blanks, &text);
    return code == QD_OK ? qd_chat_keep(run, &text, out) : code;
}

static qd_code fallback(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    (void)run;
    bool missing = self->kind == QD_CHAT_UNDEFINED || (qd_chat_is_true(&arguments[1]) && !qd_chat_is_true(self));
    *out = !missing ? *self : arguments[0].kind == QD_CHAT_ABSENT ? qd_chat_of_string("") : arguments[0];
    return QD_OK;
}

static qd_code end_item(qd_chat_run *run, const qd_chat_value *self, const char *name, qd_chat_value *out)
{
    const qd_chat_list *items;
    qd_code code = qd_chat_items(run, self, &items);
    if (code != QD_OK)
        return code;
    if (items->count == 0)
        *out = qd_chat_undefined(qd_chat_of_string(name).as.text);
    else
        *out = items->items[name[0] == 'f' ? 0 : items->count - 1];
    return QD_OK;
}

static qd_code first(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    (void)arguments;
    return end_item(run, self, "first", out);
}

static qd_code last(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    (void)arguments;
    return end_item(run, self, "last", out);
}

static qd_code join(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    QD_AUTO(qd_str_fini) qd_str joined = { 0 };
    const qd_chat_list *items;
    qd_chat_text between = { "", 0 };
    qd_code code = qd_chat_items(run, self, &items);
    if (code == QD_OK && arguments[0].kind != QD_CHAT_ABSENT)
        code = text_of(run, &arguments[0], &between);
    for (size_t i = 0; code == QD_OK && i < items->count; i++) {
        qd_chat_text text;
        qd_chat_value item = items->items[i];
        if (arguments[1].kind != QD_CHAT_ABSENT)
            code = qd_chat_item(run, &items->items[i], &arguments[1], &item);
        if (code == QD_OK)
            code = text_of(run, &item, &text);
        if (code == QD_OK)
            code = qd_chat_spend(run, between.length + text.length);
        if (code != QD_OK)
            return code;
        if (i > 0)
            qd_str_add_bytes(&joined, between.bytes, between.length);
        qd_str_add_bytes(&joined, text.bytes, text.length);
    }
    return code == QD_OK ? qd_chat_keep(run, &joined, out) : code;
}

static qd_code replace(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    qd_chat_text text, old, fresh;
    qd_code code = text_of(run, self, &text);
    if (code == QD_OK)
        code = text_of(run, &arguments[0], &old);
    if (code == QD_OK)
        code = text_of(run, &arguments[1], &fresh);
    int64_t most = arguments[2].kind == QD_CHAT_INTEGER ? arguments[2].as.integer : -1;
    return code == QD_OK ? qd_chat_replace(run, text, old, fresh, most, out) : code;
}

static qd_code string(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    (void)arguments;
    qd_chat_text text;
    qd_code code = text_of(run, self, &text);
    *out = qd_chat_of_text(text);
    return code;
}

static qd_code list(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    (void)arguments;
    qd_chat_list *copy = NULL;
    const qd_chat_list *items;
    qd_code code = qd_chat_items(run, self, &items);
    if (code == QD_OK)
        code = qd_chat_list_create(run, &copy);
    if (code != QD_OK)
        return code;
    *copy = (qd_chat_list){ items->items, items->count, items->count, QD_CHAT_PLAIN_LIST };
    *out = qd_chat_of_list(copy);
    return QD_OK;
}

static qd_code items(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    static const qd_chat_given nothing = { NULL, NULL, 0 };
    (void)arguments;
    if (self->kind == QD_CHAT_UNDEFINED)
        return list(run, self, arguments, out);
    if (self->kind != QD_CHAT_DICT)
        return qd_chat_fail(run, QD_EINVAL, "items of %s", qd_chat_kind_name(self->kind));
    static const qd_chat_text name = { "items", 5 };
    return qd_chat_call(run, qd_chat_find(&qd_chat_dict_methods, name), self, &nothing, out);
}

static qd_code reverse(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    (void)arguments;
    qd_chat_value bounds[3] = { [2] = qd_chat_of_integer(-1) };
    if (self->kind != QD_CHAT_LIST && self->kind != QD_CHAT_TEXT)
        return qd_chat_fail(run, QD_EINVAL, "reverse of %s", qd_chat_kind_name(self->kind));
    return qd_chat_slice(run, self, bounds, out);
}

/* An integer, or the decimal digits of a text; else the fallback. */
static qd_code integer(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    *out = arguments[0].kind == QD_CHAT_ABSENT ? qd_chat_of_integer(0) : arguments[0];
    if (self->kind == QD_CHAT_INTEGER || self->kind == QD_CHAT_BOOL)
        *out = qd_chat_of_integer(self->as.integer);
    if (self->kind == QD_CHAT_REAL)
        return qd_chat_fail(run, QD_EUNSUPPORTED, "int of a real number: not supported");
    if (self->kind != QD_CHAT_TEXT)
        return QD_OK;
    int64_t value = 0;
    qd_chat_text text = self->as.text;
    for (size_t i = 0; i < text.length; i++)
        if (text.bytes[i] < '0' || text.bytes[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, text.bytes[i] - '0', &value))
            return qd_chat_fail(run, QD_EUNSUPPORTED, "int of a text that is not digits only: not supported");
    if (text.length > 0)
        *out = qd_chat_of_integer(value);
    return QD_OK;
}

static qd_code safe(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    return string(run, self, arguments, out); /* nothing is escaped here */
}

/* Which items a selection keeps. */
typedef enum keeping { KEEP_YES, KEEP_NO } keeping;

/* What selectattr and its kin ask of an item: `test` (NULL: is it true?) of the item, or of its attribute. */
typedef struct question {
    const qd_chat_value *attribute; /* NULL: of the item itself */
    const qd_chat_callable *test;
    qd_chat_given given; /* further arguments of the test */
} question;

static qd_code ask(qd_chat_run *run, const question *q, const qd_chat_value *item, bool *out)
{
    qd_chat_value value = *item;
    qd_code code = q->attribute == NULL ? QD_OK : qd_chat_item(run, item, q->attribute, &value);
    if (code == QD_OK && q->test != NULL)
        code = qd_chat_call(run, q->test, &value, &q->given, &value);
    *out = qd_chat_is_true(&value);
    return code;
}

/* The items that a selection or map goes through; a value that is false has none, whatever it is. */
static qd_code items_or_none(qd_chat_run *run, const qd_chat_value *self, const qd_chat_list **out)
{
    const qd_chat_value nothing = qd_chat_undefined(qd_chat_of_string("").as.text);
    return qd_chat_items(run, qd_chat_is_true(self) ? self : &nothing, out);
}

/* Keeps the items whose answer is the one to keep. */
static qd_code keep_items(qd_chat_run *run, const qd_chat_value *self, const question *q, keeping keep,
                          qd_chat_value *out)
{
    const qd_chat_list *all;
    qd_chat_list *kept = NULL;
    qd_code code = items_or_none(run, self, &all);
    if (code == QD_OK)
        code = qd_chat_list_create(run, &kept);
    for (size_t i = 0; code == QD_OK && i < all->count; i++) {
        bool answer = false;
        code = qd_chat_spend(run, 0);
        if (code == QD_OK)
            code = ask(run, q, &all->items[i], &answer);
        if (code == QD_OK && answer == (keep == KEEP_YES))
            code = qd_chat_list_add(&run->arena, kept, all->items[i], run->err);
    }
    *out = qd_chat_of_list(kept);
    return code;
}

/* (attribute, test, the test's arguments...), or without the attribute. */
static qd_code select_items(qd_chat_run *run, const qd_chat_value *self, const qd_chat_given *given, size_t attributes,
                            keeping keep, qd_chat_value *out)
{
    question q = { 0 };
    for (size_t i = 0; i < given->count; i++)
        if (given->names[i].length > 0 || (i <= attributes && given->values[i].kind != QD_CHAT_TEXT))
            return qd_chat_fail(run, QD_EUNSUPPORTED, "a selection by other than names of attribute and test");
    if (given->count < attributes)
        return qd_chat_fail(run, QD_EINVAL, "a selection by attribute without its name");
    q.attribute = attributes > 0 ? &given->values[0] : NULL;
    if (given->count > attributes) {
        qd_code code = qd_chat_require(run, &qd_chat_tests, given->values[attributes].as.text, &q.test);
        if (code != QD_OK)
            return code;
        size_t used = attributes + 1;
        q.given = (qd_chat_given){ given->values + used, given->names + used, given->count - used };
    }
    return keep_items(run, self, &q, keep, out);
}

static qd_code selectattr(qd_chat_run *run, const qd_chat_value *self, const qd_chat_given *given, qd_chat_value *out)
{
    return select_items(run, self, given, 1, KEEP_YES, out);
}

static qd_code rejectattr(qd_chat_run *run, const qd_chat_value *self, const qd_chat_given *given, qd_chat_value *out)
{
    return select_items(run, self, given, 1, KEEP_NO, out);
}

static qd_code select_(qd_chat_run *run, const qd_chat_value *self, const qd_chat_given *given, qd_chat_value *out)
{
    return select_items(run, self, given, 0, KEEP_YES, out);
}

static qd_code reject(qd_chat_run *run, const qd_chat_value *self, const qd_chat_given *given, qd_chat_value *out)
{
    return select_items(run, self, given, 0, KEEP_NO, out);
}

/* map(attribute="name"), or map("filter", its arguments...). */
static qd_code map(qd_chat_run *run, const qd_chat_value *self, const qd_chat_given *given, qd_chat_value *out)
{
    const qd_chat_list *all;
    qd_chat_list *mapped = NULL;
    const qd_chat_callable *filter = NULL;
    const bool by_name = given->count == 1 && qd_chat_text_is(given->names[0], "attribute");
    if (given->count == 0 || given->values[0].kind != QD_CHAT_TEXT || (!by_name && given->names[0].length > 0))
        return qd_chat_fail(run, QD_EUNSUPPORTED, "map by other than an attribute or a filter's name");
    qd_code code = by_name ? QD_OK : qd_chat_require(run, &qd_chat_filters, given->values[0].as.text, &filter);
    if (code == QD_OK)
        code = items_or_none(run, self, &all);
    if (code == QD_OK)
        code = qd_chat_list_create(run, &mapped);
    const qd_chat_given more = { given->values + 1, given->names + 1, given->count - 1 };
    for (size_t i = 0; code == QD_OK && i < all->count; i++) {
        qd_chat_value value;
        code = by_name ? qd_chat_item(run, &all->items[i], &given->values[0], &value)
                       : qd_chat_call(run, filter, &all->items[i], &more, &value);
        if (code == QD_OK)
            code = qd_chat_list_add(&run->arena, mapped, value, run->err);
    }
    *out = qd_chat_of_list(mapped);
    return code;
}

static const qd_chat_callable filters[] = {
    { "trim", { "chars" }, 0, trim, NULL },
    { "upper", { NULL }, 0, upper, NULL },
    { "lower", { NULL }, 0, lower, NULL },
    { "capitalize", { NULL }, 0, capitalize, NULL },
    { "title", { NULL }, 0, title, NULL },
    { "length", { NULL }, 0, length, NULL },
    { "count", { NULL }, 0, length, NULL },
    { "tojson", { "ensure_ascii", "indent" }, 0, tojson, NULL },
    { "default", { "default_value", "boolean" }, 0, fallback, NULL },
    { "d", { "default_value", "boolean" }, 0, fallback, NULL },
    { "first", { NULL }, 0, first, NULL },
    { "last", { NULL }, 0, last, NULL },
    { "join", { "d", "attribute" }, 0, join, NULL },
    { "replace", { "old", "new", "count" }, 2, replace, NULL },
    { "string", { NULL }, 0, string, NULL },
    { "list", { NULL }, 0, list, NULL },
    { "items", { NULL }, 0, items, NULL },
    { "reverse", { NULL }, 0, reverse, NULL },
    { "int", { "default" }, 0, integer, NULL },
    { "safe", { NULL }, 0, safe, NULL },
    { "selectattr", { NULL }, 0, NULL, selectattr },
    { "rejectattr", { NULL }, 0, NULL, rejectattr },
    { "select", { NULL }, 0, NULL, select_ },
    { "reject", { NULL }, 0, NULL, reject },
    { "map", { NULL }, 0, NULL, map },
};
const qd_chat_table qd_chat_filters = { "filter", filters, QD_LENGTH(filters) };
