/* json.c: see json.h. */
#include "base/json.h"

#include <string.h>

#include "base/file.h"

/* A tree takes many times the bytes of its text: 136 for "[],". What it would take is estimated before it is made. The largest honest text, a
 * tokenizer of 262,144 pieces and 514,906 merges of two strings each, is estimated at 230 MB. */
enum { TREE_LIMIT = 256 << 20, OBJECT_BYTES = 224, ARRAY_BYTES = 128, VALUE_BYTES = 100 };
/* Of one string: jansson reads it byte by byte. The longest honest one, a table of a SentencePiece normalizer, has some 300 kB. */
enum { STRING_LIMIT = 16 << 20 };

/* text[at] is behind a quotation mark: where its string ends (at the closing mark), or `length`. */
static size_t string_end(const char *text, size_t length, size_t at)
{
    for (const char *quote; at < length && (quote = memchr(text + at, '"', length - at)) != NULL; at++) {
        size_t end = (size_t)(quote - text), escapes = 0;
        while (escapes < end - at && text[end - 1 - escapes] == '\\')
            escapes++;
        if (escapes % 2 == 0)
            return end;
        at = end;
    }
    return length;
}

bool qd_json_depth_ok(const char *text, size_t length, size_t max_depth)
{
    size_t depth = 0;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c == '"')
            i = string_end(text, length, i + 1);
        else if (c == '{' || c == '[') {
            if (++depth > max_depth)
                return false;
        } else if ((c == '}' || c == ']') && depth > 0)
            depth--;
    }
    return true;
}

static size_t longest_string(const char *text, size_t length)
{
    size_t longest = 0;
    for (const char *quote; length > 0 && (quote = memchr(text, '"', length)) != NULL;) {
        size_t start = (size_t)(quote - text) + 1, end = string_end(text, length, start);
        longest = end - start > longest ? end - start : longest;
        size_t behind = end < length ? end + 1 : length;
        text += behind;
        length -= behind;
    }
    return longest;
}

/* The bytes, about, of the tree of a JSON text. */
static size_t tree_bytes(const char *text, size_t length)
{
    size_t bytes = length;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c == '"')
            i = string_end(text, length, i + 1);
        else
            bytes += c == '{' ? OBJECT_BYTES : c == '[' ? ARRAY_BYTES : c == ',' ? VALUE_BYTES : 0;
    }
    return bytes;
}

qd_code qd_json_parse_object(const char *text, size_t length, size_t max_depth, json_t **out, qd_error *err)
{
    json_error_t why;
    if (!qd_json_depth_ok(text, length, max_depth))
        return qd_fail(err, QD_EFORMAT, "JSON: nested deeper than %zu levels", max_depth);
    if (length > TREE_LIMIT / (OBJECT_BYTES + 1) && tree_bytes(text, length) > TREE_LIMIT)
        return qd_fail(err, QD_ETOOBIG, "JSON: %zu bytes of so many values that they would take more than %d MiB",
                       length, TREE_LIMIT >> 20);
    if (length > STRING_LIMIT && longest_string(text, length) > STRING_LIMIT)
        return qd_fail(err, QD_ETOOBIG, "JSON: a string of %zu bytes; at most %d MiB are read",
                       longest_string(text, length), STRING_LIMIT >> 20);
    json_t *value = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
    if (value == NULL)
        return qd_fail(err, QD_EFORMAT, "JSON: line %d, column %d: %s", why.line, why.column, why.text);
    if (!json_is_object(value)) {
        qd_code code = qd_fail(err, QD_EFORMAT, "JSON: an object is wanted, found %s", qd_json_type_name(value));
        json_decref(value);
        return code;
    }
    *out = value;
    return QD_OK;
}

/* Digits of an integer that starts at text[at], with or without a sign; 0 where a number that starts there is none, or is a real. */
static size_t integer_digits(const char *text, size_t length, size_t at)
{
    size_t start = at < length && text[at] == '-' ? at + 1 : at, end = start;
    while (end < length && text[end] >= '0' && text[end] <= '9')
        end++;
    bool real = end < length && (text[end] == '.' || text[end] == 'e' || text[end] == 'E');
    return real ? 0 : end - start;
}

/* Every integer of 19 digits or more gets an exponent of 0. */
static void widen_integers(const char *text, size_t length, qd_str *out)
{
    enum { SAFE_DIGITS = 18 };
    size_t copied = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '"')
            i = string_end(text, length, i + 1);
        else if (text[i] == '-' || (text[i] >= '0' && text[i] <= '9')) {
            size_t digits = integer_digits(text, length, i);
            i += text[i] == '-';
            while (i + 1 < length && memchr("0123456789.eE+-", text[i + 1], 15) != NULL)
                i++; /* to the end of the number */
            if (digits <= SAFE_DIGITS)
                continue;
            qd_str_add_bytes(out, text + copied, i + 1 - copied);
            qd_str_add(out, "e0");
            copied = i + 1;
        }
    }
    qd_str_add_bytes(out, text + copied, length - copied);
}

qd_code qd_json_parse_object_wide(const char *text, size_t length, size_t max_depth, json_t **out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str wide = { 0 };
    widen_integers(text, length, &wide);
    qd_code code = qd_str_check(&wide, err);
    return code == QD_OK ? qd_json_parse_object(qd_str_borrow(&wide), wide.length, max_depth, out, err) : code;
}

qd_code qd_json_read_object(const char *path, size_t limit, size_t max_depth, json_t **out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    qd_code code = qd_file_read_regular(path, limit, &text, err);
    if (code != QD_OK)
        return code;
    code = qd_json_parse_object(qd_str_borrow(&text), text.length, max_depth, out, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "'%s'", path);
}

const char *qd_json_type_name(const json_t *value)
{
    if (value == NULL)
        return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        return "null";
    }
    return "an unknown value";
}

static const json_t *field(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

static qd_code wrong_type(const char *key, const json_t *value, const char *wanted, qd_error *err)
{
    return qd_fail(err, QD_EFORMAT, "'%s': %s is wanted, found %s", key, wanted, qd_json_type_name(value));
}

qd_code qd_json_size(const json_t *object, const char *key, size_t fallback, size_t *out, qd_error *err)
{
    const json_t *value = field(object, key);
    if (json_is_integer(value) && json_integer_value(value) < 0)
        return qd_fail(err, QD_EFORMAT, "'%s': a non-negative integer is wanted, found %" JSON_INTEGER_FORMAT, key,
                       json_integer_value(value));
    if (value != NULL && !json_is_integer(value))
        return wrong_type(key, value, "a non-negative integer", err);
    *out = value == NULL ? fallback : (size_t)json_integer_value(value);
    return QD_OK;
}

qd_code qd_json_real(const json_t *object, const char *key, double fallback, double *out, qd_error *err)
{
    const json_t *value = field(object, key);
    if (value != NULL && !json_is_number(value))
        return wrong_type(key, value, "a number", err);
    *out = value == NULL ? fallback : json_number_value(value);
    return QD_OK;
}

qd_code qd_json_bool(const json_t *object, const char *key, bool fallback, bool *out, qd_error *err)
{
    const json_t *value = field(object, key);
    if (value != NULL && !json_is_boolean(value))
        return wrong_type(key, value, "true or false", err);
    *out = value == NULL ? fallback : json_is_true(value);
    return QD_OK;
}

qd_code qd_json_text(const json_t *object, const char *key, const char *fallback, const char **out, qd_error *err)
{
    const json_t *value = field(object, key);
    if (value != NULL && !json_is_string(value))
        return wrong_type(key, value, "a string", err);
    *out = value == NULL ? fallback : json_string_value(value);
    return QD_OK;
}

char *qd_json_print(const json_t *value)
{
    return json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
}

void qd_json_fini(json_t **value)
{
    json_decref(*value);
    *value = NULL;
}
