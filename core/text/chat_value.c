/* chat_value.c: see chat_value.h. */
#include "text/chat_value.h"

#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "base/mem.h"

enum { BLOCK_BYTES = 32 << 10, ALIGNMENT = 16, SHOWN = 200 };

void qd_chat_arena_fini(qd_chat_arena *arena)
{
    for (void *block = arena->blocks; block != NULL;) {
        void *next = *(void **)block;
        free(block);
        block = next;
    }
    *arena = (qd_chat_arena){ 0 };
}

qd_code qd_chat_arena_get(qd_chat_arena *arena, size_t size, void **out, qd_error *err)
{
    if (size > arena->limit || arena->used > arena->limit - size)
        return qd_fail(err, QD_ETOOBIG, "more than %zu MiB of values", arena->limit >> 20);
    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (size > arena->left) {
        size_t bytes = ALIGNMENT + qd_max_size(size, BLOCK_BYTES);
        void *block = NULL;
        qd_code code = qd_alloc(bytes, 1, &block, err);
        if (code != QD_OK)
            return code;
        *(void **)block = arena->blocks;
        arena->blocks = block;
        arena->free = (char *)block + ALIGNMENT;
        arena->left = bytes - ALIGNMENT;
    }
    *out = arena->free;
    arena->free += size;
    arena->left -= size;
    arena->used += size;
    return QD_OK;
}

qd_code qd_chat_arena_grow(qd_chat_arena *arena, void **items, size_t *capacity, size_t count, size_t size,
                           qd_error *err)
{
    if (count < *capacity)
        return QD_OK;
    size_t wider = *capacity == 0 ? 4 : *capacity * 2, bytes;
    void *fresh = NULL;
    if (!qd_mul_size(wider, size, &bytes))
        return qd_fail(err, QD_ETOOBIG, "more values than memory has room for");
    qd_code code = qd_chat_arena_get(arena, bytes, &fresh, err);
    if (code != QD_OK)
        return code;
    if (count > 0)
        memcpy(fresh, *items, count * size);
    *items = fresh;
    *capacity = wider;
    return QD_OK;
}

qd_chat_value qd_chat_of_text(qd_chat_text text)
{
    return (qd_chat_value){ .kind = QD_CHAT_TEXT, .as.text = text };
}

qd_chat_value qd_chat_of_string(const char *text)
{
    return qd_chat_of_text((qd_chat_text){ text, strlen(text) });
}

qd_chat_value qd_chat_of_integer(int64_t value)
{
    return (qd_chat_value){ .kind = QD_CHAT_INTEGER, .as.integer = value };
}

qd_chat_value qd_chat_of_bool(bool value)
{
    return (qd_chat_value){ .kind = QD_CHAT_BOOL, .as.integer = value };
}

qd_chat_value qd_chat_of_none(void)
{
    return (qd_chat_value){ .kind = QD_CHAT_NONE };
}

qd_chat_value qd_chat_undefined(qd_chat_text name)
{
    return (qd_chat_value){ .kind = QD_CHAT_UNDEFINED, .as.text = name };
}

qd_chat_value qd_chat_of_list(const qd_chat_list *list)
{
    return (qd_chat_value){ .kind = QD_CHAT_LIST, .as.list = list };
}

int qd_chat_shown(qd_chat_text text)
{
    size_t end = qd_min_size(text.length, SHOWN);
    while (end > 0 && end < text.length && ((unsigned char)text.bytes[end] & 0xC0) == 0x80)
        end--;
    return (int)end;
}

bool qd_chat_text_is(qd_chat_text text, const char *word)
{
    return text.length == strlen(word) && memcmp(text.bytes, word, text.length) == 0;
}

bool qd_chat_text_equal(qd_chat_text a, qd_chat_text b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.bytes, b.bytes, a.length) == 0);
}

int qd_chat_text_order(qd_chat_text a, qd_chat_text b)
{
    size_t shorter = qd_min_size(a.length, b.length);
    int order = shorter == 0 ? 0 : memcmp(a.bytes, b.bytes, shorter);
    return order != 0 ? order : (a.length > b.length) - (a.length < b.length);
}

qd_chat_value *qd_chat_dict_find(const qd_chat_dict *dict, qd_chat_text key)
{
    for (size_t i = 0; i < dict->count; i++)
        if (qd_chat_text_equal(dict->items[i].key, key))
            return &dict->items[i].value;
    return NULL;
}

qd_code qd_chat_dict_add(qd_chat_arena *arena, qd_chat_dict *dict, qd_chat_text key, qd_chat_value value, qd_error *err)
{
    qd_code code =
        qd_chat_arena_grow(arena, (void **)&dict->items, &dict->capacity, dict->count, sizeof *dict->items, err);
    if (code == QD_OK)
        dict->items[dict->count++] = (qd_chat_entry){ key, value };
    return code;
}

qd_code qd_chat_list_add(qd_chat_arena *arena, qd_chat_list *list, qd_chat_value value, qd_error *err)
{
    qd_code code =
        qd_chat_arena_grow(arena, (void **)&list->items, &list->capacity, list->count, sizeof *list->items, err);
    if (code == QD_OK)
        list->items[list->count++] = value;
    return code;
}

bool qd_chat_is_true(const qd_chat_value *value)
{
    switch (value->kind) {
    case QD_CHAT_ABSENT:
    case QD_CHAT_UNDEFINED:
    case QD_CHAT_NONE:
        return false;
    case QD_CHAT_BOOL:
    case QD_CHAT_INTEGER:
        return value->as.integer != 0;
    case QD_CHAT_REAL:
        return value->as.real != 0.0;
    case QD_CHAT_TEXT:
        return value->as.text.length > 0;
    case QD_CHAT_LIST:
        return value->as.list->count > 0;
    case QD_CHAT_DICT:
        return value->as.dict->count > 0;
    case QD_CHAT_NAMESPACE:
    case QD_CHAT_LOOP:
    case QD_CHAT_MACRO:
    case QD_CHAT_FUNCTION:
    case QD_CHAT_METHOD:
        break;
    }
    return true;
}

bool qd_chat_is_number(const qd_chat_value *value)
{
    return value->kind == QD_CHAT_BOOL || value->kind == QD_CHAT_INTEGER || value->kind == QD_CHAT_REAL;
}

const char *qd_chat_kind_name(qd_chat_kind kind)
{
    static const char *const names[] = {
        "nothing", "an undefined value", "none",        "a boolean", "an integer", "a real number", "a text",
        "a list",  "a dictionary",       "a namespace", "a loop",    "a macro",    "a function",    "a method",
    };
    return names[kind];
}

static qd_code of_array(qd_chat_arena *arena, const json_t *json, qd_chat_value *out, qd_error *err)
{
    qd_chat_list *list = NULL;
    qd_code code = qd_chat_arena_get(arena, sizeof *list, (void **)&list, err);
    for (size_t i = 0; code == QD_OK && i < json_array_size(json); i++) {
        qd_chat_value item;
        code = qd_chat_of_json(arena, json_array_get(json, i), &item, err);
        if (code == QD_OK)
            code = qd_chat_list_add(arena, list, item, err);
    }
    *out = qd_chat_of_list(list);
    return code;
}

static qd_code of_object(qd_chat_arena *arena, const json_t *json, qd_chat_value *out, qd_error *err)
{
    qd_chat_dict *dict = NULL;
    qd_code code = qd_chat_arena_get(arena, sizeof *dict, (void **)&dict, err);
    if (code != QD_OK)
        return code;
    *out = (qd_chat_value){ .kind = QD_CHAT_DICT, .as.dict = dict };
    dict->capacity = json_object_size(json); /* keys differ already: no need to look for each among the others */
    code = qd_chat_arena_get(arena, dict->capacity * sizeof *dict->items, (void **)&dict->items, err);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)json, key, value)
    {
        if (code != QD_OK)
            break;
        qd_chat_entry *entry = &dict->items[dict->count++];
        entry->key = (qd_chat_text){ key, strlen(key) };
        code = qd_chat_of_json(arena, value, &entry->value, err);
    }
    return code;
}

/* Recursion is bounded by the depth limit of the JSON parser. */
qd_code qd_chat_of_json(qd_chat_arena *arena, const json_t *json, qd_chat_value *out, qd_error *err)
{
    *out = qd_chat_of_none();
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return of_object(arena, json, out, err);
    case JSON_ARRAY:
        return of_array(arena, json, out, err);
    case JSON_STRING:
        *out = qd_chat_of_text((qd_chat_text){ json_string_value(json), json_string_length(json) });
        break;
    case JSON_INTEGER:
        *out = qd_chat_of_integer(json_integer_value(json));
        break;
    case JSON_REAL:
        *out = (qd_chat_value){ .kind = QD_CHAT_REAL, .as.real = json_real_value(json) };
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        *out = qd_chat_of_bool(json_is_true(json));
        break;
    case JSON_NULL:
        break;
    }
    return QD_OK;
}
