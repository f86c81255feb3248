/* chat_value.h: the values that a chat template computes with, and the memory they live in.
 * Room: core/text, private to it. May use: base, jansson.
 * Threads: an arena and its values belong to one call; those of a compiled template are immutable.
 *
 * Values are never changed, namespaces excepted; texts are borrowed: from the template, the conversation or the arena.
 */
#ifndef QD_TEXT_CHAT_VALUE_H
#define QD_TEXT_CHAT_VALUE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Memory that goes away all at once. Zero-initialize with a limit in bytes; qd_chat_arena_fini. */
typedef struct qd_chat_arena {
    void *blocks; /* the newest first; each begins with the pointer to the next */
    char *free;
    size_t left, used, limit;
} qd_chat_arena;
void qd_chat_arena_fini(qd_chat_arena *arena);
/* Zeroed, aligned for any value. QD_ETOOBIG beyond the limit. */
qd_code qd_chat_arena_get(qd_chat_arena *arena, size_t size, void **out, qd_error *err);
/* Makes room for one more of `count` items of `size` bytes; *items may move. */
qd_code qd_chat_arena_grow(qd_chat_arena *arena, void **items, size_t *capacity, size_t count, size_t size,
                           qd_error *err);

typedef struct qd_chat_text {
    const char *bytes; /* valid UTF-8, not NUL-terminated */
    size_t length;
} qd_chat_text;

typedef enum qd_chat_kind {
    QD_CHAT_ABSENT,    /* an argument that was not given; never a variable's value */
    QD_CHAT_UNDEFINED, /* `text` is the name that has no value */
    QD_CHAT_NONE,
    QD_CHAT_BOOL, /* `integer` 0 or 1 */
    QD_CHAT_INTEGER,
    QD_CHAT_REAL, /* of a message only */
    QD_CHAT_TEXT,
    QD_CHAT_LIST,
    QD_CHAT_DICT,
    QD_CHAT_NAMESPACE,
    QD_CHAT_LOOP,
    QD_CHAT_MACRO,
    QD_CHAT_FUNCTION,
    QD_CHAT_METHOD,
} qd_chat_kind;

typedef struct qd_chat_value {
    qd_chat_kind kind;
    union {
        int64_t integer;
        double real;
        qd_chat_text text;
        const struct qd_chat_list *list;
        const struct qd_chat_dict *dict;
        struct qd_chat_dict *names; /* a namespace */
        const struct qd_chat_loop *loop;
        const struct qd_chat_macro *macro;
        const struct qd_chat_callable *function;
        const struct qd_chat_method *method;
    } as;
} qd_chat_value;

/* Tuples are lists that no list equals. */
typedef enum qd_chat_sequence { QD_CHAT_PLAIN_LIST, QD_CHAT_TUPLE } qd_chat_sequence;
typedef struct qd_chat_list {
    qd_chat_value *items;
    size_t count, capacity;
    qd_chat_sequence sequence;
} qd_chat_list;

typedef struct qd_chat_entry {
    qd_chat_text key;
    qd_chat_value value;
} qd_chat_entry;
/* In order of insertion. */
typedef struct qd_chat_dict {
    qd_chat_entry *items;
    size_t count, capacity;
} qd_chat_dict;

qd_chat_value qd_chat_of_text(qd_chat_text text);
qd_chat_value qd_chat_of_string(const char *text); /* borrowed */
qd_chat_value qd_chat_of_integer(int64_t value);
qd_chat_value qd_chat_of_bool(bool value);
qd_chat_value qd_chat_of_none(void);
qd_chat_value qd_chat_undefined(qd_chat_text name);
qd_chat_value qd_chat_of_list(const qd_chat_list *list);

/* Bytes of it that a message shows ("%.*s"): whole characters. */
int qd_chat_shown(qd_chat_text text);
bool qd_chat_text_is(qd_chat_text text, const char *word);
bool qd_chat_text_equal(qd_chat_text a, qd_chat_text b);
int qd_chat_text_order(qd_chat_text a, qd_chat_text b); /* by code points */

/* NULL: no such key. */
qd_chat_value *qd_chat_dict_find(const qd_chat_dict *dict, qd_chat_text key);
/* The key is a new one. */
qd_code qd_chat_dict_add(qd_chat_arena *arena, qd_chat_dict *dict, qd_chat_text key, qd_chat_value value,
                         qd_error *err);
qd_code qd_chat_list_add(qd_chat_arena *arena, qd_chat_list *list, qd_chat_value value, qd_error *err);

bool qd_chat_is_true(const qd_chat_value *value);
bool qd_chat_is_number(const qd_chat_value *value); /* bool, integer, real */
/* "a list", "nothing" (none), "an undefined value": for messages. */
const char *qd_chat_kind_name(qd_chat_kind kind);

/* A parsed JSON value, texts borrowed from it. */
qd_code qd_chat_of_json(qd_chat_arena *arena, const json_t *json, qd_chat_value *out, qd_error *err);

#endif
