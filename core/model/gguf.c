/* gguf.c: the parser: see gguf.h. */
#include "model/gguf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/ggml_types.h"
#include "model/gguf_private.h"

enum {
    HEADER_LIMIT = 64 << 20, /* bytes before the data: several times the largest vocabulary */
    KEY_LIMIT = 65536,
    TENSOR_LIMIT = 65536,
    KEY_BYTES = 65535, /* the longest key the format knows */
    MAX_RANK = 4,
    DEFAULT_ALIGNMENT = 32,
    MAX_ALIGNMENT = 1 << 20,
    LEAST_KEY = 8 + 1 + 4 + 1,           /* bytes of the shortest key and value */
    LEAST_TENSOR = 8 + 1 + 4 + 8 + 4 + 8 /* of the shortest entry of a tensor */
};
#define STRING_LIMIT (UINT64_C(1) << 30)

/* A place in the header; nothing is taken beyond `end`. */
typedef struct cursor {
    const char *file;
    const unsigned char *start, *at, *end;
    bool capped; /* `end` is our limit, not the file's end */
} cursor;

static const struct {
    const char *name;
    size_t size;
} value_types[QD_GGUF_VALUE_TYPES] = {
    [QD_GGUF_U8] = { "uint8", 1 },    [QD_GGUF_I8] = { "int8", 1 },    [QD_GGUF_U16] = { "uint16", 2 },
    [QD_GGUF_I16] = { "int16", 2 },   [QD_GGUF_U32] = { "uint32", 4 }, [QD_GGUF_I32] = { "int32", 4 },
    [QD_GGUF_F32] = { "float32", 4 }, [QD_GGUF_BOOL] = { "bool", 1 },  [QD_GGUF_STRING] = { "string", 0 },
    [QD_GGUF_ARRAY] = { "array", 0 }, [QD_GGUF_U64] = { "uint64", 8 }, [QD_GGUF_I64] = { "int64", 8 },
    [QD_GGUF_F64] = { "float64", 8 },
};

size_t qd_gguf_value_size(unsigned type)
{
    return type < QD_GGUF_VALUE_TYPES ? value_types[type].size : 0;
}

const char *qd_gguf_value_name(unsigned type)
{
    return type < QD_GGUF_VALUE_TYPES ? value_types[type].name : "unknown";
}

void qd_gguf_destroy(qd_gguf *file)
{
    if (file == NULL)
        return;
    for (size_t i = 0; i < file->key_count; i++) {
        free((char *)(uintptr_t)file->keys[i].value.key);
        free(file->keys[i].text);
    }
    free(file->keys);
    free(file->sorted);
    free(file->tensors);
    free(file->tensor_names);
    free(file->name);
    qd_map_fini(&file->map);
    free(file);
}

/* ---- taking bytes ---- */

static size_t left(const cursor *c)
{
    return (size_t)(c->end - c->at);
}

static qd_code cut_off(const cursor *c, uint64_t wanted, const char *what, qd_error *err)
{
    return qd_fail(err, QD_EFORMAT, "'%s': %s: %" PRIu64 " bytes at byte %td, but %s after %td", c->file, what, wanted,
                   c->at - c->start, c->capped ? "the limit of a header is" : "the file ends", c->end - c->start);
}

static qd_code take(cursor *c, void *out, size_t bytes, const char *what, qd_error *err)
{
    if (bytes > left(c))
        return cut_off(c, bytes, what, err);
    memcpy(out, c->at, bytes);
    c->at += bytes;
    return QD_OK;
}

static qd_code skip(cursor *c, uint64_t bytes, const char *what, qd_error *err)
{
    if (bytes > left(c))
        return cut_off(c, bytes, what, err);
    c->at += bytes;
    return QD_OK;
}

/* A string's length and bytes; they stay in the file. */
static qd_code take_string(cursor *c, uint64_t limit, const char *what, qd_gguf_string *out, qd_error *err)
{
    uint64_t length = 0;
    qd_code code = take(c, &length, sizeof length, what, err);
    if (code != QD_OK)
        return code;
    if (length > limit)
        return qd_fail(err, QD_EFORMAT, "'%s': %s: a string of %" PRIu64 " bytes, the limit is %" PRIu64, c->file, what,
                       length, limit);
    *out = (qd_gguf_string){ (const char *)c->at, (size_t)length };
    return skip(c, length, what, err);
}

/* A key or a tensor's name: printable ASCII, so that it can be shown, compared and put into JSON. */
static qd_code check_name(const cursor *c, qd_gguf_string name, const char *what, qd_error *err)
{
    if (name.length == 0)
        return qd_fail(err, QD_EFORMAT, "'%s': %s: an empty name", c->file, what);
    for (size_t i = 0; i < name.length; i++)
        if (name.data[i] <= ' ' || name.data[i] > '~')
            return qd_fail(err, QD_EFORMAT, "'%s': %s: byte 0x%02x at %zu of the name is no printable ASCII", c->file,
                           what, (unsigned char)name.data[i], i);
    return QD_OK;
}

static qd_code copy_text(qd_gguf_string text, char **out, qd_error *err)
{
    qd_code code = qd_alloc(text.length + 1, 1, (void **)out, err);
    if (code == QD_OK)
        memcpy(*out, text.data, text.length);
    return code;
}

/* ---- keys and values ---- */

static qd_code refuse_type(const cursor *c, const char *what, unsigned type, qd_error *err)
{
    return qd_fail(err, QD_EFORMAT, "'%s': %s: value type %u is not known; 0 to %d are", c->file, what, type,
                   QD_GGUF_VALUE_TYPES - 1);
}

static qd_code check_bools(const cursor *c, const qd_gguf_value *value, const char *what, qd_error *err)
{
    for (uint64_t i = 0; i < value->count; i++)
        if (value->data[i] > 1)
            return qd_fail(err, QD_EFORMAT, "'%s': %s: a bool stored as %u; 0 or 1 is wanted", c->file, what,
                           value->data[i]);
    return QD_OK;
}

/* All elements of one type, of an array or a single one. */
static qd_code take_elements(cursor *c, qd_gguf_value *value, const char *what, qd_error *err)
{
    size_t size = qd_gguf_value_size(value->element_type);
    qd_code code = QD_OK;
    value->data = c->at;
    if (value->element_type == QD_GGUF_STRING) {
        qd_gguf_string ignored;
        for (uint64_t i = 0; code == QD_OK && i < value->count; i++)
            code = take_string(c, STRING_LIMIT, what, &ignored, err);
    } else {
        code = skip(c, value->count * size, what, err); /* count is at most 2^30 */
        if (code == QD_OK && value->element_type == QD_GGUF_BOOL)
            code = check_bools(c, value, what, err);
    }
    value->bytes = (size_t)(c->at - value->data);
    return code;
}

static qd_code take_array(cursor *c, qd_gguf_value *value, const char *what, qd_error *err)
{
    uint32_t type = 0;
    qd_code code = take(c, &type, sizeof type, what, err);
    if (code == QD_OK)
        code = take(c, &value->count, sizeof value->count, what, err);
    if (code != QD_OK)
        return code;
    value->element_type = type;
    if (type == QD_GGUF_ARRAY)
        return qd_fail(err, QD_EUNSUPPORTED, "'%s': %s: an array of arrays", c->file, what);
    if (type >= QD_GGUF_VALUE_TYPES)
        return refuse_type(c, what, type, err);
    if (value->count > STRING_LIMIT)
        return qd_fail(err, QD_EFORMAT, "'%s': %s: an array of %" PRIu64 " elements, the limit is %" PRIu64, c->file,
                       what, value->count, STRING_LIMIT);
    return take_elements(c, value, what, err);
}

static qd_code take_value(cursor *c, qd_gguf_value *value, const char *what, qd_error *err)
{
    uint32_t type = 0;
    qd_code code = take(c, &type, sizeof type, what, err);
    if (code != QD_OK)
        return code;
    value->type = value->element_type = type;
    value->count = 1;
    if (type >= QD_GGUF_VALUE_TYPES)
        return refuse_type(c, what, type, err);
    return type == QD_GGUF_ARRAY ? take_array(c, value, what, err) : take_elements(c, value, what, err);
}

static qd_code take_key(cursor *c, size_t index, qd_gguf_entry *entry, qd_error *err)
{
    char what[300];
    qd_gguf_string key;
    snprintf(what, sizeof what, "key %zu", index);
    qd_code code = take_string(c, KEY_BYTES, what, &key, err);
    if (code == QD_OK)
        code = check_name(c, key, what, err);
    char *copy = NULL;
    if (code == QD_OK)
        code = copy_text(key, &copy, err);
    entry->value.key = copy;
    if (code != QD_OK)
        return code;
    snprintf(what, sizeof what, "key '%.200s'", copy);
    code = take_value(c, &entry->value, what, err);
    if (code != QD_OK || entry->value.type != QD_GGUF_STRING)
        return code;
    qd_gguf_string text = { (const char *)entry->value.data + 8, entry->value.bytes - 8 };
    return memchr(text.data, '\0', text.length) == NULL ? copy_text(text, &entry->text, err) : QD_OK;
}

static int by_key(const void *a, const void *b)
{
    return strcmp((*(const qd_gguf_entry *const *)a)->value.key, (*(const qd_gguf_entry *const *)b)->value.key);
}

static qd_code take_keys(cursor *c, uint64_t count, qd_gguf *file, qd_error *err)
{
    qd_code code = qd_alloc((size_t)count, sizeof *file->keys, (void **)&file->keys, err);
    if (code == QD_OK)
        code = qd_alloc((size_t)count, sizeof *file->sorted, (void **)&file->sorted, err);
    while (code == QD_OK && file->key_count < count) {
        size_t i = file->key_count++;
        file->sorted[i] = &file->keys[i];
        code = take_key(c, i, &file->keys[i], err);
    }
    if (code != QD_OK)
        return code;
    qsort(file->sorted, file->key_count, sizeof *file->sorted, by_key);
    for (size_t i = 1; i < file->key_count; i++)
        if (by_key(&file->sorted[i - 1], &file->sorted[i]) == 0)
            return qd_fail(err, QD_EFORMAT, "'%s': key '%.200s' is there twice", c->file, file->sorted[i]->value.key);
    return QD_OK;
}

/* ---- tensors ---- */

static qd_code take_shape(cursor *c, qd_tensor *t, qd_error *err)
{
    uint32_t rank = 0;
    qd_code code = take(c, &rank, sizeof rank, t->name, err);
    if (code != QD_OK)
        return code;
    if (rank < 1 || rank > MAX_RANK)
        return qd_fail(err, QD_EFORMAT, "'%s': tensor '%s': %u dimensions; 1 to %d are allowed", c->file, t->name, rank,
                       MAX_RANK);
    t->rank = rank;
    t->elements = 1;
    for (size_t i = 0; i < rank; i++) { /* innermost first there */
        uint64_t *size = &t->shape[rank - 1 - i];
        code = take(c, size, sizeof *size, t->name, err);
        if (code != QD_OK)
            return code;
        if (*size == 0 || __builtin_mul_overflow(t->elements, *size, &t->elements) || t->elements > INT64_MAX)
            return qd_fail(err, QD_EFORMAT,
                           "'%s': tensor '%s': dimension %zu of %" PRIu64 " makes no number of elements below 2^63",
                           c->file, t->name, i, *size);
    }
    return QD_OK;
}

static qd_code list_types(const cursor *c, const qd_tensor *t, uint32_t id, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str known = { 0 };
    for (size_t i = 0; qd_ggml_type_at(i) != NULL; i++)
        qd_str_addf(&known, "%s%s", i == 0 ? "" : ", ", qd_ggml_type_at(i)->dtype.name);
    const char *name = qd_ggml_type_unread(id);
    return qd_fail(err, QD_EUNSUPPORTED, "'%s': tensor '%s': type %u%s%s is not read here; %s are", c->file, t->name,
                   id, name == NULL ? "" : " ", name == NULL ? "" : name, qd_str_borrow(&known));
}

/* Type and place: the place must be the one that the tensors before it leave. */
static qd_code take_place(cursor *c, uint64_t alignment, uint64_t *running, qd_tensor *t, qd_error *err)
{
    uint32_t id = 0;
    uint64_t offset = 0, bytes = 0, next;
    qd_code code = take(c, &id, sizeof id, t->name, err);
    if (code == QD_OK)
        code = take(c, &offset, sizeof offset, t->name, err);
    if (code != QD_OK)
        return code;
    const qd_ggml_type *type = qd_ggml_type_find(id);
    if (type == NULL)
        return list_types(c, t, id, err);
    t->dtype = qd_ggml_type_dtype(type);
    if (t->dtype->block != 0 && t->shape[t->rank - 1] % t->dtype->block != 0)
        return qd_fail(err, QD_EFORMAT,
                       "'%s': tensor '%s': rows of %" PRIu64 " elements are no whole blocks of %zu (%s)", c->file,
                       t->name, t->shape[t->rank - 1], t->dtype->block, t->dtype->name);
    if (offset != *running)
        return qd_fail(err, QD_EFORMAT,
                       "'%s': tensor '%s': offset %" PRIu64 ", but the tensors before it end at %" PRIu64, c->file,
                       t->name, offset, *running);
    if (!qd_dtype_bytes(t->dtype, t->elements, &bytes) || __builtin_add_overflow(offset, bytes, &next) ||
        __builtin_add_overflow(next, alignment - 1, &next))
        return qd_fail(err, QD_EFORMAT, "'%s': tensor '%s': the number of bytes overflows", c->file, t->name);
    t->bytes = (size_t)bytes;
    *running = next / alignment * alignment;
    return QD_OK;
}

static qd_code take_name(cursor *c, size_t index, char *name, qd_error *err)
{
    char what[40];
    qd_gguf_string text;
    snprintf(what, sizeof what, "tensor %zu", index);
    qd_code code = take_string(c, QD_GGUF_TENSOR_NAME - 1, what, &text, err);
    if (code == QD_OK)
        code = check_name(c, text, what, err);
    if (code == QD_OK)
        memcpy(name, text.data, text.length);
    return code;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const qd_tensor *)a)->name, ((const qd_tensor *)b)->name);
}

/* Addresses, once it is known where the data begins: tensors are still in the order of the file. */
static qd_code place(const qd_gguf *file, const unsigned char *bytes, size_t length, uint64_t alignment, qd_error *err)
{
    uint64_t at = (file->header_size + alignment - 1) / alignment * alignment;
    for (size_t i = 0; i < file->tensor_count; i++) {
        qd_tensor *t = &file->tensors[i];
        if (at > length || t->bytes > length - at)
            return qd_fail(err, QD_EFORMAT,
                           "'%s': tensor '%s': %zu bytes at byte %" PRIu64 " of the file, which has %zu", file->name,
                           t->name, t->bytes, at, length);
        t->data = bytes + at;
        at = (at + t->bytes + alignment - 1) / alignment * alignment; /* at <= length: no overflow */
    }
    return QD_OK;
}

static qd_code take_tensors(cursor *c, uint64_t count, uint64_t alignment, qd_gguf *file, qd_error *err)
{
    uint64_t running = 0;
    qd_code code = qd_alloc((size_t)count, sizeof *file->tensors, (void **)&file->tensors, err);
    if (code == QD_OK)
        code = qd_alloc((size_t)count, QD_GGUF_TENSOR_NAME, (void **)&file->tensor_names, err);
    for (size_t i = 0; code == QD_OK && i < count; i++) {
        qd_tensor *t = &file->tensors[i];
        char *name = file->tensor_names + i * QD_GGUF_TENSOR_NAME;
        t->name = name;
        code = take_name(c, i, name, err);
        if (code == QD_OK)
            code = take_shape(c, t, err);
        if (code == QD_OK)
            code = take_place(c, alignment, &running, t, err);
    }
    file->tensor_count = (size_t)count;
    return code;
}

static qd_code sort_tensors(qd_gguf *file, qd_error *err)
{
    if (file->tensor_count > 1)
        qsort(file->tensors, file->tensor_count, sizeof *file->tensors, by_name);
    for (size_t i = 1; i < file->tensor_count; i++)
        if (by_name(&file->tensors[i - 1], &file->tensors[i]) == 0)
            return qd_fail(err, QD_EFORMAT, "'%s': tensor '%s' is there twice", file->name, file->tensors[i].name);
    return QD_OK;
}

/* ---- the file ---- */

static qd_code take_start(cursor *c, qd_gguf *file, uint64_t *out_tensors, uint64_t *out_keys, qd_error *err)
{
    char magic[4];
    uint32_t version = 0;
    qd_code code = take(c, magic, sizeof magic, "magic", err);
    if (code == QD_OK && memcmp(magic, "GGUF", 4) != 0)
        return qd_fail(err, QD_EFORMAT, "'%s': does not begin with GGUF", c->file);
    if (code == QD_OK)
        code = take(c, &version, sizeof version, "version", err);
    if (code != QD_OK)
        return code;
    if (version == 0x02000000 || version == 0x03000000)
        return qd_fail(err, QD_EUNSUPPORTED, "'%s': a big-endian file", c->file);
    if (version != 2 && version != 3)
        return qd_fail(err, QD_EUNSUPPORTED, "'%s': version %u; 2 and 3 are read", c->file, version);
    file->version = version;
    code = take(c, out_tensors, sizeof *out_tensors, "number of tensors", err);
    if (code == QD_OK)
        code = take(c, out_keys, sizeof *out_keys, "number of keys", err);
    if (code != QD_OK)
        return code;
    if (*out_keys > KEY_LIMIT || *out_keys > left(c) / LEAST_KEY)
        return qd_fail(err, QD_EFORMAT, "'%s': %" PRIu64 " keys in %zu bytes, the limit is %d", c->file, *out_keys,
                       left(c), KEY_LIMIT);
    if (*out_tensors > TENSOR_LIMIT || *out_tensors > left(c) / LEAST_TENSOR)
        return qd_fail(err, QD_EFORMAT, "'%s': %" PRIu64 " tensors in %zu bytes, the limit is %d", c->file,
                       *out_tensors, left(c), TENSOR_LIMIT);
    return QD_OK;
}

static qd_code read_alignment(const qd_gguf *file, uint64_t *out, qd_error *err)
{
    const qd_gguf_value *value = qd_gguf_key(file, "general.alignment");
    uint32_t alignment = DEFAULT_ALIGNMENT;
    if (value != NULL && value->type != QD_GGUF_U32)
        return qd_fail(err, QD_EFORMAT, "'%s': key 'general.alignment': a uint32 is wanted, found %s", file->name,
                       qd_gguf_value_name(value->type));
    if (value != NULL)
        memcpy(&alignment, value->data, sizeof alignment);
    if (alignment == 0 || alignment > MAX_ALIGNMENT || (alignment & (alignment - 1)) != 0)
        return qd_fail(err, QD_EFORMAT, "'%s': key 'general.alignment': %u is no power of two from 1 to %d", file->name,
                       alignment, MAX_ALIGNMENT);
    *out = alignment;
    return QD_OK;
}

static qd_code read(cursor *c, size_t length, qd_gguf *file, qd_error *err)
{
    uint64_t tensors = 0, keys = 0, alignment = 0;
    qd_code code = take_start(c, file, &tensors, &keys, err);
    if (code == QD_OK)
        code = take_keys(c, keys, file, err);
    if (code == QD_OK)
        code = read_alignment(file, &alignment, err);
    if (code == QD_OK)
        code = take_tensors(c, tensors, alignment, file, err);
    if (code != QD_OK)
        return code;
    file->header_size = (size_t)(c->at - c->start);
    code = place(file, c->start, length, alignment, err);
    return code == QD_OK ? sort_tensors(file, err) : code;
}

qd_code qd_gguf_parse(const char *name, const unsigned char *bytes, size_t length, qd_gguf **out, qd_error *err)
{
    qd_gguf *file = NULL;
    qd_code code = qd_alloc(1, sizeof *file, (void **)&file, err);
    if (code == QD_OK)
        code = qd_dup(name, &file->name, err);
    if (code == QD_OK) {
        cursor c = { name, bytes, bytes, bytes + qd_min_size(length, HEADER_LIMIT), length > HEADER_LIMIT };
        code = read(&c, length, file, err);
    }
    if (code != QD_OK) {
        qd_gguf_destroy(file);
        return code;
    }
    *out = file;
    return QD_OK;
}

qd_code qd_gguf_open(const char *path, qd_gguf **out, qd_error *err)
{
    qd_map map = { 0 };
    qd_code code = qd_map_open(path, &map, err);
    if (code == QD_OK && map.size == 0)
        code = qd_fail(err, QD_EFORMAT, "'%s': an empty file", path);
    if (code == QD_OK)
        code = qd_gguf_parse(path, map.data, map.size, out, err);
    if (code != QD_OK) {
        qd_map_fini(&map);
        return code;
    }
    (*out)->map = map;
    for (size_t i = 0; i < (*out)->tensor_count; i++)
        (*out)->tensors[i].mapped = true;
    return QD_OK;
}

unsigned qd_gguf_version(const qd_gguf *file)
{
    return file->version;
}

const char *qd_gguf_borrow_name(const qd_gguf *file)
{
    return file->name;
}

size_t qd_gguf_count(const qd_gguf *file)
{
    return file->tensor_count;
}

const qd_tensor *qd_gguf_at(const qd_gguf *file, size_t index)
{
    return index < file->tensor_count ? &file->tensors[index] : NULL;
}

const qd_tensor *qd_gguf_find(const qd_gguf *file, const char *name)
{
    const qd_tensor key = { .name = name };
    return file->tensor_count == 0 ? NULL : bsearch(&key, file->tensors, file->tensor_count, sizeof key, by_name);
}

size_t qd_gguf_key_count(const qd_gguf *file)
{
    return file->key_count;
}

const qd_gguf_value *qd_gguf_key_at(const qd_gguf *file, size_t index)
{
    return index < file->key_count ? &file->keys[index].value : NULL;
}

const qd_gguf_entry *qd_gguf_entry_find(const qd_gguf *file, const char *key)
{
    const qd_gguf_entry wanted = { .value = { .key = key } }, *at = &wanted, **found = NULL;
    if (file->key_count > 0)
        found = bsearch(&at, file->sorted, file->key_count, sizeof at, by_key);
    return found == NULL ? NULL : *found;
}

const qd_gguf_value *qd_gguf_key(const qd_gguf *file, const char *key)
{
    const qd_gguf_entry *entry = qd_gguf_entry_find(file, key);
    return entry == NULL ? NULL : &entry->value;
}
