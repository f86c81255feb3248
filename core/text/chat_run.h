/* chat_run.h: one rendering of a chat template: its variables, what it has written, what it may still use.
 * Room: core/text, private to it. May use: base.
 * Threads: belongs to one call. */
#ifndef QD_TEXT_CHAT_RUN_H
#define QD_TEXT_CHAT_RUN_H

#include "base/str.h"
#include "text/chat_tree.h"

typedef struct qd_chat_scope {
    struct qd_chat_scope *outer; /* NULL: the template's own */
    qd_chat_dict names;
} qd_chat_scope;

/* What a loop knows of itself. */
typedef struct qd_chat_loop {
    const qd_chat_list *items;
    size_t index, depth;
} qd_chat_loop;

typedef struct qd_chat_macro {
    const qd_chat_node *node;
    qd_chat_scope *scope; /* where it was defined */
} qd_chat_macro;

typedef enum qd_chat_jump { QD_CHAT_GO_ON, QD_CHAT_BREAK, QD_CHAT_CONTINUE } qd_chat_jump;

typedef struct qd_chat_run {
    qd_chat_arena arena;
    qd_chat_scope *scope;
    qd_str *out;
    qd_chat_jump jump;
    size_t steps;  /* left */
    size_t most;   /* bytes that may be written */
    size_t depth;  /* of evaluations inside each other, macros included */
    size_t loops;  /* around the place */
    unsigned line; /* of the place */
    qd_error *err;
} qd_chat_run;

/* "line 3: ..." */
qd_code qd_chat_fail(qd_chat_run *run, qd_code code, const char *format, ...) QD_PRINTF(3, 4);
/* Counts one step and what `bytes` of text cost. QD_ETOOBIG when there are none left. */
qd_code qd_chat_spend(qd_chat_run *run, size_t bytes);

/* Runs a block, or evaluates an expression. */
qd_code qd_chat_execute(qd_chat_run *run, const qd_chat_node *block);
qd_code qd_chat_evaluate(qd_chat_run *run, const qd_chat_node *node, qd_chat_value *out);
qd_code qd_chat_define(qd_chat_run *run, qd_chat_text name, qd_chat_value value);

/* What the functions of the language have been given. Bound by position or name to the callable's parameters: those
 * not given are QD_CHAT_ABSENT. */
enum { QD_CHAT_PARAMETERS = 4 };
typedef struct qd_chat_given {
    const qd_chat_value *values;
    const qd_chat_text *names; /* of length 0: by position */
    size_t count;
} qd_chat_given;

/* A filter, a test, a method or a function. */
typedef struct qd_chat_callable {
    const char *name;
    const char *parameters[QD_CHAT_PARAMETERS + 1];
    size_t required;
    /* `self`: what stands before the bar, "is" or the point; NULL for a function. `arguments`: QD_CHAT_PARAMETERS. */
    qd_code (*call)(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out);
    /* Instead of `call`: takes what was given as it is. */
    qd_code (*call_free)(qd_chat_run *run, const qd_chat_value *self, const qd_chat_given *given, qd_chat_value *out);
} qd_chat_callable;
typedef struct qd_chat_method {
    const qd_chat_callable *row;
    qd_chat_value self;
} qd_chat_method;

typedef struct qd_chat_table {
    const char *what; /* "filter" */
    const qd_chat_callable *rows;
    size_t count;
} qd_chat_table;
extern const qd_chat_table qd_chat_filters, qd_chat_tests, qd_chat_functions, qd_chat_text_methods,
    qd_chat_dict_methods, qd_chat_list_methods;

/* NULL: no such row. */
const qd_chat_callable *qd_chat_find(const qd_chat_table *table, qd_chat_text name);
/* QD_EUNSUPPORTED lists the rows. */
qd_code qd_chat_require(qd_chat_run *run, const qd_chat_table *table, qd_chat_text name, const qd_chat_callable **out);
qd_code qd_chat_call(qd_chat_run *run, const qd_chat_callable *row, const qd_chat_value *self,
                     const qd_chat_given *given, qd_chat_value *out);
qd_code qd_chat_call_macro(qd_chat_run *run, const qd_chat_macro *macro, const qd_chat_given *given,
                           qd_chat_value *out);

/* chat_object.c: object.name and object[key]; undefined where there is none. */
qd_code qd_chat_attribute(qd_chat_run *run, const qd_chat_value *object, qd_chat_text name, qd_chat_value *out);
qd_code qd_chat_item(qd_chat_run *run, const qd_chat_value *object, const qd_chat_value *key, qd_chat_value *out);
/* start, stop, step: none, absent or integers. */
qd_code qd_chat_slice(qd_chat_run *run, const qd_chat_value *object, const qd_chat_value bounds[3], qd_chat_value *out);
/* What a for walks over: the items of a list, the characters of a text, the keys of a dictionary. */
qd_code qd_chat_items(qd_chat_run *run, const qd_chat_value *value, const qd_chat_list **out);
/* len(): QD_EINVAL for what has none. */
qd_code qd_chat_length(qd_chat_run *run, const qd_chat_value *value, size_t *out);

/* A name in a dictionary (NULL: not there), and a name set in it; both cost steps by its size. */
qd_code qd_chat_look_up(qd_chat_run *run, const qd_chat_dict *dict, qd_chat_text name, qd_chat_value **out);
qd_code qd_chat_put(qd_chat_run *run, qd_chat_dict *dict, qd_chat_text name, qd_chat_value value);

/* chat_operator.c */
/* == of the template language: numbers by value, lists and dicts by what they hold, which costs steps. */
qd_code qd_chat_equal(qd_chat_run *run, const qd_chat_value *a, const qd_chat_value *b, bool *out);
qd_code qd_chat_binary(qd_chat_run *run, int op, const qd_chat_value *left, const qd_chat_value *right,
                       qd_chat_value *out);
/* The text of a value as it is printed; lists, dictionaries and real numbers are QD_EUNSUPPORTED. */
qd_code qd_chat_print(qd_chat_run *run, const qd_chat_value *value, qd_chat_text *out);
/* The bytes collected in `text`, in the arena. */
qd_code qd_chat_keep(qd_chat_run *run, const qd_str *text, qd_chat_value *out);
qd_code qd_chat_list_create(qd_chat_run *run, qd_chat_list **out);

/* chat_json.c: as Python's json.dumps writes it. */
typedef enum qd_chat_escapes { QD_CHAT_KEEP_UNICODE, QD_CHAT_ASCII_ONLY } qd_chat_escapes;
/* indent < 0: one line. */
qd_code qd_chat_dump_json(qd_chat_run *run, const qd_chat_value *value, qd_chat_escapes escapes, int64_t indent,
                          qd_str *out);

#endif
