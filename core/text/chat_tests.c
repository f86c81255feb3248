/* chat_tests.c: the tests of chat templates: value is name. A new one is a row. */
#include "text/chat_run.h"

#define TEST(function, condition) \
    static qd_code function(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, \
                            qd_chat_value *out) \
    { \
        (void)run; \
        (void)arguments; \
        *out = qd_chat_of_bool(condition); \
        return QD_OK; \
    }

TEST(is_defined, self->kind != QD_CHAT_UNDEFINED)
TEST(is_undefined, self->kind == QD_CHAT_UNDEFINED)
TEST(is_none, self->kind == QD_CHAT_NONE)
TEST(is_string, self->kind == QD_CHAT_TEXT)
TEST(is_mapping, self->kind == QD_CHAT_DICT)
/* Anything with a length and items: an undefined value has both, as the language sees it. */
TEST(is_sequence, self->kind == QD_CHAT_TEXT || self->kind == QD_CHAT_LIST || self->kind == QD_CHAT_DICT ||
                      self->kind == QD_CHAT_UNDEFINED)
TEST(is_iterable, self->kind == QD_CHAT_TEXT || self->kind == QD_CHAT_LIST || self->kind == QD_CHAT_DICT ||
                      self->kind == QD_CHAT_UNDEFINED || self->kind == QD_CHAT_LOOP)
TEST(is_number, qd_chat_is_number(self))
TEST(is_integer, self->kind == QD_CHAT_INTEGER)
TEST(is_float, self->kind == QD_CHAT_REAL)
TEST(is_boolean, self->kind == QD_CHAT_BOOL)
TEST(is_true, self->kind == QD_CHAT_BOOL && self->as.integer != 0)
TEST(is_false, self->kind == QD_CHAT_BOOL && self->as.integer == 0)

static qd_code by_operator(qd_chat_run *run, int op, const qd_chat_value *self, const qd_chat_value *arguments,
                           qd_chat_value *out)
{
    return qd_chat_binary(run, op, self, &arguments[0], out);
}

static qd_code is_equal(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    return by_operator(run, QD_CHAT_OP('=', '='), self, arguments, out);
}

static qd_code is_not_equal(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments,
                            qd_chat_value *out)
{
    return by_operator(run, QD_CHAT_OP('!', '='), self, arguments, out);
}

static qd_code is_in(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    return by_operator(run, QD_CHAT_OP_IN, self, arguments, out);
}

static qd_code is_less(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    return by_operator(run, QD_CHAT_OP('<', 0), self, arguments, out);
}

static qd_code is_more(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    return by_operator(run, QD_CHAT_OP('>', 0), self, arguments, out);
}

/* self % number == rest. */
static qd_code has_rest(qd_chat_run *run, const qd_chat_value *self, int64_t number, int64_t rest, qd_chat_value *out)
{
    const qd_chat_value by = qd_chat_of_integer(number), wanted = qd_chat_of_integer(rest);
    qd_chat_value left = qd_chat_of_integer(0);
    qd_code code = qd_chat_binary(run, QD_CHAT_OP('%', 0), self, &by, &left);
    return code == QD_OK ? qd_chat_binary(run, QD_CHAT_OP('=', '='), &left, &wanted, out) : code;
}

static qd_code is_even(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    (void)arguments;
    return has_rest(run, self, 2, 0, out);
}

static qd_code is_odd(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    (void)arguments;
    return has_rest(run, self, 2, 1, out);
}

static qd_code is_divisible(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments,
                            qd_chat_value *out)
{
    if (arguments[0].kind != QD_CHAT_INTEGER)
        return qd_chat_fail(run, QD_EINVAL, "divisibleby %s", qd_chat_kind_name(arguments[0].kind));
    return has_rest(run, self, arguments[0].as.integer, 0, out);
}

static const qd_chat_callable tests[] = {
    { "defined", { NULL }, 0, is_defined, NULL },
    { "undefined", { NULL }, 0, is_undefined, NULL },
    { "none", { NULL }, 0, is_none, NULL },
    { "string", { NULL }, 0, is_string, NULL },
    { "mapping", { NULL }, 0, is_mapping, NULL },
    { "sequence", { NULL }, 0, is_sequence, NULL },
    { "iterable", { NULL }, 0, is_iterable, NULL },
    { "number", { NULL }, 0, is_number, NULL },
    { "integer", { NULL }, 0, is_integer, NULL },
    { "float", { NULL }, 0, is_float, NULL },
    { "boolean", { NULL }, 0, is_boolean, NULL },
    { "true", { NULL }, 0, is_true, NULL },
    { "false", { NULL }, 0, is_false, NULL },
    { "equalto", { "other" }, 1, is_equal, NULL },
    { "eq", { "other" }, 1, is_equal, NULL },
    { "==", { "other" }, 1, is_equal, NULL },
    { "ne", { "other" }, 1, is_not_equal, NULL },
    { "!=", { "other" }, 1, is_not_equal, NULL },
    { "in", { "seq" }, 1, is_in, NULL },
    { "lt", { "other" }, 1, is_less, NULL },
    { "lessthan", { "other" }, 1, is_less, NULL },
    { "gt", { "other" }, 1, is_more, NULL },
    { "greaterthan", { "other" }, 1, is_more, NULL },
    { "even", { NULL }, 0, is_even, NULL },
    { "odd", { NULL }, 0, is_odd, NULL },
    { "divisibleby", { "num" }, 1, is_divisible, NULL },
};
const qd_chat_table qd_chat_tests = { "test", tests, QD_LENGTH(tests) };
