/* chat_object.c: parts of values: attributes, items, slices, and what a loop walks over. */
#include "text/chat_run.h"
#include "text/utf8.h"

static qd_code method(qd_chat_run *run, const qd_chat_value *self, const qd_chat_callable *row, qd_chat_value *out)
{
    qd_chat_method *bound = NULL;
    qd_code code = qd_chat_arena_get(&run->arena, sizeof *bound, (void **)&bound, run->err);
    if (code != QD_OK)
        return code;
    *bound = (qd_chat_method){ row, *self };
    *out = (qd_chat_value){ .kind = QD_CHAT_METHOD, .as.method = bound };
    return QD_OK;
}

/* Methods that the values have in the language and not here: asking for one must not look like asking for nothing. */
static bool is_unsupported_method(qd_chat_kind kind, qd_chat_text name)
{
    static const char *const of_text[] = {
        "casefold", "center",     "encode",    "expandtabs", "format",       "format_map", "index",      "isalnum",
        "isalpha",  "isascii",    "isdecimal", "isdigit",    "isidentifier", "islower",    "isnumeric",  "isprintable",
        "isspace",  "istitle",    "isupper",   "ljust",      "maketrans",    "partition",  "rfind",      "rindex",
        "rjust",    "rpartition", "rsplit",    "swapcase",   "translate",    "zfill",      "splitlines",
    };
    static const char *const of_list[] = { "append", "clear", "copy",   "count",   "extend", "index",
                                           "insert", "pop",   "remove", "reverse", "sort" };
    static const char *const of_dict[] = { "clear", "copy", "fromkeys", "pop", "popitem", "setdefault", "update" };
    const char *const *words = kind == QD_CHAT_TEXT ? of_text : kind == QD_CHAT_LIST ? of_list : of_dict;
    size_t count = kind == QD_CHAT_TEXT   ? QD_LENGTH(of_text)
                   : kind == QD_CHAT_LIST ? QD_LENGTH(of_list)
                   : kind == QD_CHAT_DICT ? QD_LENGTH(of_dict)
                                          : 0;
    for (size_t i = 0; i < count; i++)
        if (qd_chat_text_is(name, words[i]))
            return true;
    return name.length >= 2 && name.bytes[0] == '_' && name.bytes[1] == '_';
}

static const qd_chat_table *methods_of(qd_chat_kind kind)
{
    static const qd_chat_table none = { "method", NULL, 0 };
    return kind == QD_CHAT_TEXT   ? &qd_chat_text_methods
           : kind == QD_CHAT_DICT ? &qd_chat_dict_methods
           : kind == QD_CHAT_LIST ? &qd_chat_list_methods
                                  : &none;
}

static qd_code loop_attribute(qd_chat_run *run, const qd_chat_loop *loop, qd_chat_text name, qd_chat_value *out)
{
    size_t i = loop->index, count = loop->items->count;
    const struct {
        const char *name;
        qd_chat_value value;
    } attributes[] = {
        { "index", qd_chat_of_integer((int64_t)i + 1) },
        { "index0", qd_chat_of_integer((int64_t)i) },
        { "revindex", qd_chat_of_integer((int64_t)(count - i)) },
        { "revindex0", qd_chat_of_integer((int64_t)(count - i) - 1) },
        { "first", qd_chat_of_bool(i == 0) },
        { "last", qd_chat_of_bool(i + 1 == count) },
        { "length", qd_chat_of_integer((int64_t)count) },
        { "depth", qd_chat_of_integer((int64_t)loop->depth) },
        { "depth0", qd_chat_of_integer((int64_t)loop->depth - 1) },
        { "previtem", i > 0 && i <= count ? loop->items->items[i - 1] : qd_chat_undefined(name) },
        { "nextitem", i + 1 < count ? loop->items->items[i + 1] : qd_chat_undefined(name) },
    };
    for (size_t k = 0; k < QD_LENGTH(attributes); k++)
        if (qd_chat_text_is(name, attributes[k].name)) {
            *out = attributes[k].value;
            return QD_OK;
        }
    return qd_chat_fail(run, QD_EUNSUPPORTED, "loop.%.*s: not supported", qd_chat_shown(name), name.bytes);
}

static qd_code undefined_object(qd_chat_run *run, const qd_chat_value *object)
{
    return qd_chat_fail(run, QD_EINVAL, "'%.*s' is undefined", qd_chat_shown(object->as.text), object->as.text.bytes);
}

qd_code qd_chat_look_up(qd_chat_run *run, const qd_chat_dict *dict, qd_chat_text name, qd_chat_value **out)
{
    enum { BYTES_AT_ONCE = 16 };
    qd_code code = qd_chat_spend(run, dict->count * (1 + name.length / BYTES_AT_ONCE));
    *out = code == QD_OK ? qd_chat_dict_find(dict, name) : NULL;
    return code;
}

qd_code qd_chat_put(qd_chat_run *run, qd_chat_dict *dict, qd_chat_text name, qd_chat_value value)
{
    qd_chat_value *there;
    qd_code code = qd_chat_look_up(run, dict, name, &there);
    if (code == QD_OK && there == NULL)
        return qd_chat_dict_add(&run->arena, dict, name, value, run->err);
    if (code == QD_OK)
        *there = value;
    return code;
}

/* A name in a dictionary or namespace. */
static qd_code entry(qd_chat_run *run, const qd_chat_dict *dict, qd_chat_text name, qd_chat_value *out)
{
    qd_chat_value *found;
    qd_code code = qd_chat_look_up(run, dict, name, &found);
    *out = found != NULL ? *found : qd_chat_undefined(name);
    return code;
}

qd_code qd_chat_attribute(qd_chat_run *run, const qd_chat_value *object, qd_chat_text name, qd_chat_value *out)
{
    if (object->kind == QD_CHAT_UNDEFINED)
        return undefined_object(run, object);
    if (object->kind == QD_CHAT_LOOP)
        return loop_attribute(run, object->as.loop, name, out);
    if (object->kind >= QD_CHAT_MACRO)
        return qd_chat_fail(run, QD_EUNSUPPORTED, "an attribute of %s: not supported", qd_chat_kind_name(object->kind));
    const qd_chat_callable *row = qd_chat_find(methods_of(object->kind), name);
    if (row != NULL)
        return method(run, object, row, out);
    if (is_unsupported_method(object->kind, name))
        return qd_chat_require(run, methods_of(object->kind), name, &row);
    *out = qd_chat_undefined(name);
    if (object->kind == QD_CHAT_DICT || object->kind == QD_CHAT_NAMESPACE)
        return entry(run, object->as.dict, name, out);
    return qd_chat_spend(run, 0);
}

static size_t characters(qd_chat_text text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.length; i++)
        count += ((unsigned char)text.bytes[i] & 0xC0) != 0x80;
    return count;
}

/* The place of the item behind the end, or before the start: false. */
static bool place(int64_t index, size_t count, size_t *out)
{
    if (index < 0)
        index += (int64_t)count;
    *out = (size_t)index;
    return index >= 0 && index < (int64_t)count;
}

/* All characters of the text, one value each. */
static qd_code characters_of(qd_chat_run *run, qd_chat_text text, qd_chat_list **out)
{
    qd_code code = qd_chat_list_create(run, out);
    for (size_t at = 0, step; code == QD_OK && at < text.length; at += step) {
        uint32_t c;
        step = qd_utf8_get(text.bytes + at, &c);
        qd_chat_value one = qd_chat_of_text((qd_chat_text){ text.bytes + at, step });
        code = qd_chat_spend(run, 0);
        if (code == QD_OK)
            code = qd_chat_list_add(&run->arena, *out, one, run->err);
    }
    return code;
}

static qd_code text_item(qd_chat_run *run, qd_chat_text text, int64_t index, qd_chat_value *out)
{
    size_t wanted, at = 0, step = 0;
    uint32_t c;
    if (!place(index, characters(text), &wanted))
        return QD_OK;
    for (size_t i = 0; i <= wanted; i++) {
        at += step;
        step = qd_utf8_get(text.bytes + at, &c);
    }
    *out = qd_chat_of_text((qd_chat_text){ text.bytes + at, step });
    return qd_chat_spend(run, text.length);
}

qd_code qd_chat_item(qd_chat_run *run, const qd_chat_value *object, const qd_chat_value *key, qd_chat_value *out)
{
    static const qd_chat_text item = { "an item", 7 };
    *out = qd_chat_undefined(key->kind == QD_CHAT_TEXT ? key->as.text : item);
    if (object->kind == QD_CHAT_UNDEFINED)
        return undefined_object(run, object);
    if (key->kind == QD_CHAT_TEXT) {
        qd_chat_value *found = NULL;
        qd_code code =
            object->kind == QD_CHAT_DICT ? qd_chat_look_up(run, object->as.dict, key->as.text, &found) : QD_OK;
        if (code == QD_OK && found == NULL)
            return qd_chat_attribute(run, object, key->as.text, out);
        if (code == QD_OK)
            *out = *found;
        return code;
    }
    if (key->kind != QD_CHAT_INTEGER && key->kind != QD_CHAT_BOOL)
        return QD_OK;
    size_t at;
    if (object->kind == QD_CHAT_TEXT)
        return text_item(run, object->as.text, key->as.integer, out);
    if (object->kind == QD_CHAT_LIST && place(key->as.integer, object->as.list->count, &at))
        *out = object->as.list->items[at];
    return QD_OK;
}

/* A bound of a slice: none, or not given, gives `fallback`. */
static qd_code bound(qd_chat_run *run, const qd_chat_value *value, int64_t fallback, int64_t *out)
{
    if (value->kind != QD_CHAT_ABSENT && value->kind != QD_CHAT_NONE && value->kind != QD_CHAT_INTEGER &&
        value->kind != QD_CHAT_BOOL)
        return qd_chat_fail(run, QD_EINVAL, "a slice's bound is %s", qd_chat_kind_name(value->kind));
    *out = value->kind == QD_CHAT_INTEGER || value->kind == QD_CHAT_BOOL ? value->as.integer : fallback;
    return QD_OK;
}

/* A bound counted from the end when it is negative, and held within low..high. */
static int64_t within(int64_t at, int64_t count, int64_t low, int64_t high)
{
    at = at < 0 && at >= -count ? at + count : at < 0 ? low : at;
    return at < low ? low : at > high ? high : at;
}

static qd_code slice_list(qd_chat_run *run, const qd_chat_list *list, const qd_chat_value bounds[3], qd_chat_list **out)
{
    const int64_t count = (int64_t)list->count;
    int64_t step, start, stop;
    qd_code code = bound(run, &bounds[2], 1, &step);
    if (code == QD_OK && step == 0)
        return qd_chat_fail(run, QD_EINVAL, "a slice's step is 0");
    const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? count : count - 1;
    if (code == QD_OK)
        code = bound(run, &bounds[0], step > 0 ? 0 : INT64_MAX, &start);
    if (code == QD_OK)
        code = bound(run, &bounds[1], step > 0 ? INT64_MAX : INT64_MIN, &stop);
    if (code == QD_OK)
        code = qd_chat_list_create(run, out);
    if (code != QD_OK)
        return code;
    (*out)->sequence = list->sequence;
    start = within(start, count, low, high);
    stop = within(stop, count, low, high);
    step = step > count ? count + 1 : step < -count ? -count - 1 : step;
    for (int64_t at = start; code == QD_OK && (step > 0 ? at < stop : at > stop); at += step) {
        code = qd_chat_spend(run, 0);
        if (code == QD_OK)
            code = qd_chat_list_add(&run->arena, *out, list->items[at], run->err);
    }
    return code;
}

qd_code qd_chat_slice(qd_chat_run *run, const qd_chat_value *object, const qd_chat_value bounds[3], qd_chat_value *out)
{
    qd_chat_list *items = NULL, *sliced = NULL;
    if (object->kind == QD_CHAT_UNDEFINED)
        return undefined_object(run, object);
    if (object->kind != QD_CHAT_LIST && object->kind != QD_CHAT_TEXT)
        return qd_chat_fail(run, QD_EINVAL, "a slice of %s", qd_chat_kind_name(object->kind));
    if (object->kind == QD_CHAT_LIST) {
        qd_code code = slice_list(run, object->as.list, bounds, &sliced);
        *out = qd_chat_of_list(sliced);
        return code;
    }
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    qd_code code = characters_of(run, object->as.text, &items);
    if (code == QD_OK)
        code = slice_list(run, items, bounds, &sliced);
    for (size_t i = 0; code == QD_OK && i < sliced->count; i++)
        qd_str_add_bytes(&text, sliced->items[i].as.text.bytes, sliced->items[i].as.text.length);
    return code == QD_OK ? qd_chat_keep(run, &text, out) : code;
}

qd_code qd_chat_items(qd_chat_run *run, const qd_chat_value *value, const qd_chat_list **out)
{
    qd_chat_list *made = NULL;
    qd_code code;
    switch (value->kind) {
    case QD_CHAT_LIST:
        *out = value->as.list;
        return QD_OK;
    case QD_CHAT_TEXT:
        code = characters_of(run, value->as.text, &made);
        break;
    case QD_CHAT_UNDEFINED:
        code = qd_chat_list_create(run, &made);
        break;
    case QD_CHAT_DICT:
        code = qd_chat_list_create(run, &made);
        for (size_t i = 0; code == QD_OK && i < value->as.dict->count; i++)
            code = qd_chat_list_add(&run->arena, made, qd_chat_of_text(value->as.dict->items[i].key), run->err);
        break;
    default:
        return qd_chat_fail(run, QD_EINVAL, "%s has no items to walk over", qd_chat_kind_name(value->kind));
    }
    *out = made;
    return code;
}

qd_code qd_chat_length(qd_chat_run *run, const qd_chat_value *value, size_t *out)
{
    switch (value->kind) {
    case QD_CHAT_LIST:
        *out = value->as.list->count;
        return QD_OK;
    case QD_CHAT_DICT:
        *out = value->as.dict->count;
        return QD_OK;
    case QD_CHAT_TEXT:
        *out = characters(value->as.text);
        return qd_chat_spend(run, value->as.text.length);
    case QD_CHAT_UNDEFINED:
        *out = 0;
        return QD_OK;
    case QD_CHAT_LOOP:
        *out = value->as.loop->items->count;
        return QD_OK;
    default:
        return qd_chat_fail(run, QD_EINVAL, "%s has no length", qd_chat_kind_name(value->kind));
    }
}
