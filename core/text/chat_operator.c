/* chat_operator.c: operators of two sides, and values as text. */
#define _GNU_SOURCE /* memmem */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "text/chat_run.h"

enum { COMPARED_DEPTH = 1200 }; /* an evaluation's depth, which is in it, is at most 1000 */

qd_code qd_chat_list_create(qd_chat_run *run, qd_chat_list **out)
{
    return qd_chat_arena_get(&run->arena, sizeof **out, (void **)out, run->err);
}

/* Room for `length` bytes of text. */
static qd_code text_room(qd_chat_run *run, size_t length, char **out)
{
    qd_code code = qd_chat_spend(run, length);
    return code == QD_OK ? qd_chat_arena_get(&run->arena, length + 1, (void **)out, run->err) : code;
}

qd_code qd_chat_keep(qd_chat_run *run, const qd_str *text, qd_chat_value *out)
{
    char *bytes = NULL;
    qd_code code = qd_str_check(text, run->err);
    if (code == QD_OK)
        code = text_room(run, text->length, &bytes);
    if (code != QD_OK)
        return code;
    memcpy(bytes, qd_str_borrow(text), text->length);
    *out = qd_chat_of_text((qd_chat_text){ bytes, text->length });
    return QD_OK;
}

static qd_code print_integer(qd_chat_run *run, int64_t value, qd_chat_text *out)
{
    char *bytes = NULL;
    qd_code code = text_room(run, 24, &bytes);
    if (code == QD_OK)
        *out = (qd_chat_text){ bytes, (size_t)snprintf(bytes, 24, "%" PRId64, value) };
    return code;
}

qd_code qd_chat_print(qd_chat_run *run, const qd_chat_value *value, qd_chat_text *out)
{
    switch (value->kind) {
    case QD_CHAT_TEXT:
        *out = value->as.text;
        return QD_OK;
    case QD_CHAT_UNDEFINED:
        *out = (qd_chat_text){ "", 0 };
        return QD_OK;
    case QD_CHAT_NONE:
        *out = (qd_chat_text){ "None", 4 };
        return QD_OK;
    case QD_CHAT_BOOL:
        *out = value->as.integer != 0 ? (qd_chat_text){ "True", 4 } : (qd_chat_text){ "False", 5 };
        return QD_OK;
    case QD_CHAT_INTEGER:
        return print_integer(run, value->as.integer, out);
    default:
        return qd_chat_fail(run, QD_EUNSUPPORTED, "%s printed as text: not supported", qd_chat_kind_name(value->kind));
    }
}

static qd_code concatenate(qd_chat_run *run, const qd_chat_value *left, const qd_chat_value *right, qd_chat_value *out)
{
    qd_chat_text a, b;
    char *bytes = NULL;
    qd_code code = qd_chat_print(run, left, &a);
    if (code == QD_OK)
        code = qd_chat_print(run, right, &b);
    if (code == QD_OK)
        code = text_room(run, a.length + b.length, &bytes);
    if (code != QD_OK)
        return code;
    memcpy(bytes, a.bytes, a.length);
    memcpy(bytes + a.length, b.bytes, b.length);
    *out = qd_chat_of_text((qd_chat_text){ bytes, a.length + b.length });
    return QD_OK;
}

static qd_code join_lists(qd_chat_run *run, const qd_chat_list *left, const qd_chat_list *right, qd_chat_value *out)
{
    qd_chat_list *joined = NULL;
    qd_code code = qd_chat_list_create(run, &joined);
    for (size_t i = 0; code == QD_OK && i < left->count + right->count; i++) {
        code = qd_chat_spend(run, 0);
        if (code == QD_OK)
            code = qd_chat_list_add(&run->arena, joined,
                                    i < left->count ? left->items[i] : right->items[i - left->count], run->err);
    }
    if (code != QD_OK)
        return code;
    joined->sequence = left->sequence;
    *out = qd_chat_of_list(joined);
    return QD_OK;
}

static bool is_integer(const qd_chat_value *value)
{
    return value->kind == QD_CHAT_INTEGER || value->kind == QD_CHAT_BOOL;
}

/* Division and remainder round down, as the language's do. */
static bool divide(int64_t a, int64_t b, int64_t *quotient, int64_t *remainder)
{
    if (b == 0 || (a == INT64_MIN && b == -1))
        return false;
    *quotient = a / b;
    *remainder = a % b;
    if (*remainder != 0 && (*remainder < 0) != (b < 0)) {
        *quotient -= 1;
        *remainder += b;
    }
    return true;
}

static qd_code arithmetic(qd_chat_run *run, int op, int64_t a, int64_t b, qd_chat_value *out)
{
    int64_t result = 0, other;
    bool fine = true;
    switch (op) {
    case QD_CHAT_OP('+', 0):
        fine = !__builtin_add_overflow(a, b, &result);
        break;
    case QD_CHAT_OP('-', 0):
        fine = !__builtin_sub_overflow(a, b, &result);
        break;
    case QD_CHAT_OP('*', 0):
        fine = !__builtin_mul_overflow(a, b, &result);
        break;
    case QD_CHAT_OP('/', '/'):
        fine = divide(a, b, &result, &other);
        break;
    case QD_CHAT_OP('%', 0):
        fine = divide(a, b, &other, &result);
        break;
    default:
        return qd_chat_fail(run, QD_EUNSUPPORTED, "the operator '/' gives real numbers: not supported");
    }
    if (!fine)
        return qd_chat_fail(run, QD_EINVAL, "integers beyond 64 bits, or a division by 0");
    *out = qd_chat_of_integer(result);
    return QD_OK;
}

/* "ab" * 3. */
static qd_code repeat(qd_chat_run *run, qd_chat_text text, int64_t times, qd_chat_value *out)
{
    size_t length, count = times < 0 ? 0 : (size_t)times;
    char *bytes = NULL;
    if (__builtin_mul_overflow(text.length, count, &length) || length > run->arena.limit)
        return qd_chat_fail(run, QD_ETOOBIG, "a text of %zu bytes, repeated %" PRId64 " times", text.length, times);
    qd_code code = text_room(run, length, &bytes);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; text.length > 0 && i < count; i++)
        memcpy(bytes + i * text.length, text.bytes, text.length);
    *out = qd_chat_of_text((qd_chat_text){ bytes, length });
    return QD_OK;
}

static qd_code wrong_sides(qd_chat_run *run, const char *op, const qd_chat_value *left, const qd_chat_value *right)
{
    return qd_chat_fail(run, QD_EINVAL, "'%s' between %s and %s", op, qd_chat_kind_name(left->kind),
                        qd_chat_kind_name(right->kind));
}

static qd_code calculate(qd_chat_run *run, int op, const qd_chat_value *left, const qd_chat_value *right,
                         qd_chat_value *out)
{
    if (is_integer(left) && is_integer(right))
        return arithmetic(run, op, left->as.integer, right->as.integer, out);
    const bool texts = left->kind == QD_CHAT_TEXT && right->kind == QD_CHAT_TEXT;
    if (op == QD_CHAT_OP('+', 0) && texts)
        return concatenate(run, left, right, out);
    if (op == QD_CHAT_OP('+', 0) && left->kind == QD_CHAT_LIST && right->kind == QD_CHAT_LIST &&
        left->as.list->sequence == right->as.list->sequence)
        return join_lists(run, left->as.list, right->as.list, out);
    if (op == QD_CHAT_OP('*', 0) && left->kind == QD_CHAT_TEXT && is_integer(right))
        return repeat(run, left->as.text, right->as.integer, out);
    if (left->kind == QD_CHAT_REAL || right->kind == QD_CHAT_REAL ||
        (op == QD_CHAT_OP('%', 0) && left->kind == QD_CHAT_TEXT))
        return qd_chat_fail(run, QD_EUNSUPPORTED, "'%c' with %s: not supported", op & 0xFF,
                            left->kind == QD_CHAT_TEXT ? "a format" : "a real number");
    char sign[] = { (char)(op & 0xFF), '\0' };
    return wrong_sides(run, sign, left, right);
}

static bool equal_numbers(const qd_chat_value *a, const qd_chat_value *b)
{
    if (a->kind != QD_CHAT_REAL && b->kind != QD_CHAT_REAL)
        return a->as.integer == b->as.integer;
    double left = a->kind == QD_CHAT_REAL ? a->as.real : (double)a->as.integer;
    double right = b->kind == QD_CHAT_REAL ? b->as.real : (double)b->as.integer;
    return left == right;
}

static qd_code equal_lists(qd_chat_run *run, const qd_chat_list *a, const qd_chat_list *b, bool *out)
{
    qd_code code = QD_OK;
    *out = a->count == b->count && a->sequence == b->sequence;
    for (size_t i = 0; code == QD_OK && *out && i < a->count; i++)
        code = qd_chat_equal(run, &a->items[i], &b->items[i], out);
    return code;
}

static qd_code equal_dicts(qd_chat_run *run, const qd_chat_dict *a, const qd_chat_dict *b, bool *out)
{
    qd_code code = QD_OK;
    *out = a->count == b->count;
    for (size_t i = 0; code == QD_OK && *out && i < a->count; i++) {
        qd_chat_value *other;
        code = qd_chat_look_up(run, b, a->items[i].key, &other);
        *out = other != NULL;
        if (other != NULL)
            code = qd_chat_equal(run, &a->items[i].value, other, out);
    }
    return code;
}

static qd_code equal_of_a_kind(qd_chat_run *run, const qd_chat_value *a, const qd_chat_value *b, bool *out)
{
    switch (a->kind) {
    case QD_CHAT_TEXT:
        *out = qd_chat_text_equal(a->as.text, b->as.text);
        return qd_chat_spend(run, a->as.text.length == b->as.text.length ? a->as.text.length : 0);
    case QD_CHAT_LIST:
        return equal_lists(run, a->as.list, b->as.list, out);
    case QD_CHAT_DICT:
        return equal_dicts(run, a->as.dict, b->as.dict, out);
    case QD_CHAT_NONE:
    case QD_CHAT_UNDEFINED:
        *out = true;
        return QD_OK;
    default:
        *out = a->as.dict == b->as.dict; /* one and the same */
        return QD_OK;
    }
}

/* A list may hold another twice, and so on: what is compared may be far more, and deeper, than what is stored. */
qd_code qd_chat_equal(qd_chat_run *run, const qd_chat_value *a, const qd_chat_value *b, bool *out)
{
    qd_code code = qd_chat_spend(run, 0);
    *out = false;
    if (code == QD_OK && ++run->depth > COMPARED_DEPTH)
        code = qd_chat_fail(run, QD_ETOOBIG, "'==' of values of more than %d levels", COMPARED_DEPTH);
    if (code != QD_OK)
        return code;
    if (qd_chat_is_number(a) && qd_chat_is_number(b))
        *out = equal_numbers(a, b);
    else if (a->kind == b->kind)
        code = equal_of_a_kind(run, a, b, out);
    run->depth--;
    return code;
}

static qd_code compare(qd_chat_run *run, int op, const qd_chat_value *left, const qd_chat_value *right,
                       qd_chat_value *out)
{
    int order;
    qd_code code = QD_OK;
    if (left->kind == QD_CHAT_TEXT && right->kind == QD_CHAT_TEXT) {
        code = qd_chat_spend(run, qd_min_size(left->as.text.length, right->as.text.length));
        order = qd_chat_text_order(left->as.text, right->as.text);
    } else if (is_integer(left) && is_integer(right))
        order = (left->as.integer > right->as.integer) - (left->as.integer < right->as.integer);
    else if (qd_chat_is_number(left) && qd_chat_is_number(right))
        return qd_chat_fail(run, QD_EUNSUPPORTED, "an order of real numbers: not supported");
    else
        return wrong_sides(run, "<", left, right);
    bool less = (op & 0xFF) == '<', or_equal = (op >> 8 & 0xFF) == '=';
    *out = qd_chat_of_bool(order == 0 ? or_equal : (order < 0) == less);
    return code;
}

static qd_code contains(qd_chat_run *run, const qd_chat_value *item, const qd_chat_value *whole, bool *out)
{
    qd_chat_value *found = NULL;
    qd_code code = qd_chat_spend(run, whole->kind == QD_CHAT_TEXT ? whole->as.text.length : 0);
    *out = false;
    switch (whole->kind) {
    case QD_CHAT_TEXT:
        if (item->kind != QD_CHAT_TEXT)
            return wrong_sides(run, "in", item, whole);
        *out = item->as.text.length == 0 ||
               memmem(whole->as.text.bytes, whole->as.text.length, item->as.text.bytes, item->as.text.length) != NULL;
        return code;
    case QD_CHAT_LIST:
        for (size_t i = 0; code == QD_OK && !*out && i < whole->as.list->count; i++)
            code = qd_chat_equal(run, item, &whole->as.list->items[i], out);
        return code;
    case QD_CHAT_DICT:
        if (code == QD_OK && item->kind == QD_CHAT_TEXT)
            code = qd_chat_look_up(run, whole->as.dict, item->as.text, &found);
        *out = found != NULL;
        return code;
    case QD_CHAT_UNDEFINED:
        return code;
    default:
        return wrong_sides(run, "in", item, whole);
    }
}

qd_code qd_chat_binary(qd_chat_run *run, int op, const qd_chat_value *left, const qd_chat_value *right,
                       qd_chat_value *out)
{
    bool yes = false;
    qd_code code = QD_OK;
    switch (op) {
    case QD_CHAT_OP('~', 0):
        return concatenate(run, left, right, out);
    case QD_CHAT_OP('=', '='):
    case QD_CHAT_OP('!', '='):
        code = qd_chat_equal(run, left, right, &yes);
        yes = yes == (op == QD_CHAT_OP('=', '='));
        break;
    case QD_CHAT_OP_IN:
    case QD_CHAT_OP_NOT_IN:
        code = contains(run, left, right, &yes);
        yes = yes == (op == QD_CHAT_OP_IN);
        break;
    case QD_CHAT_OP('<', 0):
    case QD_CHAT_OP('>', 0):
    case QD_CHAT_OP('<', '='):
    case QD_CHAT_OP('>', '='):
        return compare(run, op, left, right, out);
    default:
        return calculate(run, op, left, right, out);
    }
    *out = qd_chat_of_bool(yes);
    return code;
}
