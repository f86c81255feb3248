/* gguf_values.c: typed access to the keys of a GGUF file: see gguf.h. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/gguf_private.h"

static qd_code wants(const qd_gguf *file, const qd_gguf_value *value, const char *wanted, qd_error *err)
{
    bool array = value->type == QD_GGUF_ARRAY;
    return qd_fail(err, QD_EFORMAT, "'%s': key '%.200s': %s is wanted, found %s%s", file->name, value->key, wanted,
                   array ? "an array of " : "", qd_gguf_value_name(value->element_type));
}

/* Element i as an integer; false where the type is none or the value does not fit. */
static bool integer_at(const qd_gguf_value *value, uint64_t i, int64_t *out)
{
    size_t size = qd_gguf_value_size(value->element_type);
    const unsigned char *at = value->data + i * size;
    uint64_t bits = 0;
    memcpy(&bits, at, size);
    switch (value->element_type) {
    case QD_GGUF_U8:
    case QD_GGUF_U16:
    case QD_GGUF_U32:
        *out = (int64_t)bits;
        return true;
    case QD_GGUF_U64:
        *out = (int64_t)bits;
        return bits <= INT64_MAX;
    case QD_GGUF_I8:
        *out = (int8_t)bits;
        return true;
    case QD_GGUF_I16:
        *out = (int16_t)bits;
        return true;
    case QD_GGUF_I32:
        *out = (int32_t)bits;
        return true;
    case QD_GGUF_I64:
        *out = (int64_t)bits;
        return true;
    default:
        return false;
    }
}

/* Element i as a number; false where it is none, or not finite. */
static bool real_at(const qd_gguf_value *value, uint64_t i, double *out)
{
    int64_t integer;
    if (value->element_type == QD_GGUF_F32) {
        float real;
        memcpy(&real, value->data + 4 * i, sizeof real);
        *out = (double)real;
    } else if (value->element_type == QD_GGUF_F64) {
        memcpy(out, value->data + 8 * i, sizeof *out);
    } else if (integer_at(value, i, &integer)) {
        *out = (double)integer;
    } else {
        return false;
    }
    return isfinite(*out);
}

qd_code qd_gguf_size(const qd_gguf *file, const char *key, size_t fallback, size_t *out, qd_error *err)
{
    const qd_gguf_value *value = qd_gguf_key(file, key);
    int64_t integer = 0;
    if (value != NULL && (value->type == QD_GGUF_ARRAY || !integer_at(value, 0, &integer)))
        return wants(file, value, "an integer below 2^63", err);
    if (integer < 0)
        return qd_fail(err, QD_EFORMAT, "'%s': key '%.200s': %" PRId64 " is below 0", file->name, key, integer);
    *out = value == NULL ? fallback : (size_t)integer;
    return QD_OK;
}

qd_code qd_gguf_real(const qd_gguf *file, const char *key, double fallback, double *out, qd_error *err)
{
    const qd_gguf_value *value = qd_gguf_key(file, key);
    double real = fallback;
    if (value != NULL && (value->type == QD_GGUF_ARRAY || !real_at(value, 0, &real)))
        return wants(file, value, "a finite number", err);
    *out = real;
    return QD_OK;
}

qd_code qd_gguf_bool(const qd_gguf *file, const char *key, bool fallback, bool *out, qd_error *err)
{
    const qd_gguf_value *value = qd_gguf_key(file, key);
    if (value != NULL && value->type != QD_GGUF_BOOL)
        return wants(file, value, "a bool", err);
    *out = value == NULL ? fallback : value->data[0] != 0;
    return QD_OK;
}

qd_code qd_gguf_text(const qd_gguf *file, const char *key, const char *fallback, const char **out, qd_error *err)
{
    const qd_gguf_entry *entry = qd_gguf_entry_find(file, key);
    if (entry != NULL && entry->value.type != QD_GGUF_STRING)
        return wants(file, &entry->value, "a string", err);
    if (entry != NULL && entry->text == NULL)
        return qd_fail(err, QD_EFORMAT, "'%s': key '%.200s': a string that holds a NUL byte", file->name, key);
    *out = entry == NULL ? fallback : entry->text;
    return QD_OK;
}

static qd_code absent(void **out, size_t *out_count)
{
    *out = NULL;
    *out_count = 0;
    return QD_OK;
}

qd_code qd_gguf_strings(const qd_gguf *file, const char *key, qd_gguf_string **out, size_t *out_count, qd_error *err)
{
    const qd_gguf_value *value = qd_gguf_key(file, key);
    qd_gguf_string *strings = NULL;
    if (value == NULL)
        return absent((void **)out, out_count);
    if (value->type != QD_GGUF_ARRAY || value->element_type != QD_GGUF_STRING)
        return wants(file, value, "an array of strings", err);
    qd_code code = qd_alloc((size_t)value->count, sizeof *strings, (void **)&strings, err);
    const unsigned char *at = value->data;
    for (size_t i = 0; code == QD_OK && i < value->count; i++) { /* lengths were checked by the parser */
        uint64_t length;
        memcpy(&length, at, sizeof length);
        strings[i] = (qd_gguf_string){ (const char *)at + 8, (size_t)length };
        at += 8 + length;
    }
    if (code != QD_OK)
        return code;
    *out = strings;
    *out_count = (size_t)value->count;
    return QD_OK;
}

qd_code qd_gguf_reals(const qd_gguf *file, const char *key, double **out, size_t *out_count, qd_error *err)
{
    const qd_gguf_value *value = qd_gguf_key(file, key);
    QD_AUTO(qd_free_pointer) double *reals = NULL;
    if (value == NULL)
        return absent((void **)out, out_count);
    if (value->element_type == QD_GGUF_STRING)
        return wants(file, value, "an array of numbers", err);
    qd_code code = qd_alloc((size_t)value->count, sizeof *reals, (void **)&reals, err);
    for (size_t i = 0; code == QD_OK && i < value->count; i++)
        if (!real_at(value, i, &reals[i]))
            code = wants(file, value, "an array of finite numbers", err);
    if (code != QD_OK)
        return code;
    *out = reals;
    *out_count = (size_t)value->count;
    reals = NULL;
    return QD_OK;
}

qd_code qd_gguf_integers(const qd_gguf *file, const char *key, int64_t **out, size_t *out_count, qd_error *err)
{
    const qd_gguf_value *value = qd_gguf_key(file, key);
    QD_AUTO(qd_free_pointer) int64_t *integers = NULL;
    if (value == NULL)
        return absent((void **)out, out_count);
    if (value->element_type == QD_GGUF_STRING)
        return wants(file, value, "an array of integers", err);
    qd_code code = qd_alloc((size_t)value->count, sizeof *integers, (void **)&integers, err);
    for (size_t i = 0; code == QD_OK && i < value->count; i++)
        if (!integer_at(value, i, &integers[i]))
            code = wants(file, value, "an array of integers below 2^63", err);
    if (code != QD_OK)
        return code;
    *out = integers;
    *out_count = (size_t)value->count;
    integers = NULL;
    return QD_OK;
}
