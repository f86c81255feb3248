/* safetensors.c: the reader: see safetensors.h. Rule numbers are those of formats.md §1.2. */
#include "model/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

enum {
    TENSOR_LIMIT = 100000, /* a file; the tree of so many takes 120 MB */
    HEADER_DEPTH = 4,
    TENSOR_TEXT = 50, /* "":{"dtype":"U8","shape":[],"data_offsets":[0,0]}, */
    NAME_LIMIT = 512,
};

struct qd_safetensors {
    qd_map map;     /* empty when the bytes are borrowed */
    json_t *header; /* owns the names */
    qd_tensor *tensors;
    size_t count;
};

/* Context of one parse: for messages and bounds. */
typedef struct parse {
    const char *file;
    const unsigned char *data; /* the buffer after the header */
    size_t data_size;
} parse;

void qd_safetensors_destroy(qd_safetensors *file)
{
    if (file == NULL)
        return;
    qd_map_fini(&file->map);
    json_decref(file->header);
    free(file->tensors);
    free(file);
}

/* What the JSON text holds outside strings, looked at before a tree is made of it. */
typedef struct marks {
    size_t objects, arrays, minuses;
} marks;

static marks count_marks(const char *text, size_t length)
{
    marks m = { 0 };
    bool in_string = false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\\' && in_string)
            i++;
        else if (text[i] == '"')
            in_string = !in_string;
        else if (!in_string) {
            m.objects += text[i] == '{';
            m.arrays += text[i] == '[';
            m.minuses += text[i] == '-';
        }
    }
    return m;
}

/* A tensor is one object of two arrays and takes TENSOR_TEXT bytes at least: what has more of them is no header, and
 * is not worth the 50-fold memory of its tree. Rule 5: jansson reads -0 as the integer 0 where other readers refuse
 * it; no number of a header is negative. */
static qd_code check_marks(const char *name, const char *text, size_t length, qd_error *err)
{
    marks m = count_marks(text, length);
    if (m.objects > TENSOR_LIMIT + 2)
        return qd_fail(err, QD_EFORMAT, "'%s': header: %zu objects, the limit is %d tensors", name, m.objects,
                       TENSOR_LIMIT);
    if (m.objects > 8 + length / TENSOR_TEXT || m.arrays > 2 * m.objects)
        return qd_fail(err, QD_EFORMAT, "'%s': header: %zu objects and %zu arrays in %zu bytes are not tensors", name,
                       m.objects, m.arrays, length);
    if (m.minuses > 0)
        return qd_fail(err, QD_EFORMAT, "'%s': header: a negative number", name);
    return QD_OK;
}

/* Rules 1, 2: the length word and the JSON text. */
static qd_code read_header(const char *name, const unsigned char *bytes, size_t length, json_t **out, size_t *out_size,
                           qd_error *err)
{
    uint64_t n;
    if (length < 8)
        return qd_fail(err, QD_EFORMAT, "'%s': %zu bytes, a safetensors file has at least 8", name, length);
    memcpy(&n, bytes, sizeof n);
    if (n > QD_HEADER_LIMIT)
        return qd_fail(err, QD_EFORMAT, "'%s': header of %" PRIu64 " bytes, the limit is %d", name, n, QD_HEADER_LIMIT);
    if (n > length - 8)
        return qd_fail(err, QD_EFORMAT, "'%s': header of %" PRIu64 " bytes, but the file ends after %zu", name, n,
                       length - 8);
    const char *text = (const char *)bytes + 8;
    size_t used = (size_t)n;
    while (used > 0 && text[used - 1] == ' ')
        used--;
    if (used == 0 || text[0] != '{' || text[used - 1] != '}')
        return qd_fail(err, QD_EFORMAT, "'%s': the header is not one JSON object followed by spaces", name);
    if (!qd_json_depth_ok(text, used, HEADER_DEPTH))
        return qd_fail(err, QD_EFORMAT, "'%s': header: nested deeper than %d levels", name, HEADER_DEPTH);
    qd_code code = check_marks(name, text, used, err);
    if (code != QD_OK)
        return code;
    code = qd_json_parse_object(text, used, HEADER_DEPTH, out, err);
    if (code != QD_OK)
        return qd_within(err, code, "'%s': header", name);
    *out_size = (size_t)n;
    return QD_OK;
}

/* C0, DEL, and C1 (U+0080 to U+009F: C2 80 to C2 9F). */
static bool is_control(const char *at)
{
    unsigned char first = (unsigned char)at[0], second = (unsigned char)at[1]; /* at worst the closing NUL */
    return first < 0x20 || first == 0x7f || (first == 0xc2 && second >= 0x80 && second < 0xa0);
}

/* Rule 4. */
static qd_code check_name(const parse *p, const char *name, qd_error *err)
{
    size_t length = strlen(name);
    if (length == 0 || length > NAME_LIMIT)
        return qd_fail(err, QD_EFORMAT, "'%s': a tensor name of %zu bytes, allowed are 1 to %d", p->file, length,
                       NAME_LIMIT);
    for (size_t i = 0; i < length; i++)
        if (is_control(name + i))
            return qd_fail(err, QD_EFORMAT, "'%s': a tensor name with a control character (byte 0x%02x at %zu)",
                           p->file, (unsigned char)name[i], i);
    return QD_OK;
}

static qd_code refuse(const parse *p, const qd_tensor *t, const char *rule, qd_error *err)
{
    return qd_fail(err, QD_EFORMAT, "'%s': tensor '%s': %s", p->file, t->name, rule);
}

/* Rules 5, 6: shape and element count. */
static qd_code read_shape(const parse *p, const json_t *shape, qd_tensor *t, qd_error *err)
{
    if (!json_is_array(shape))
        return refuse(p, t, "shape: an array of integers is wanted", err);
    t->rank = json_array_size(shape);
    if (t->rank > QD_TENSOR_MAX_RANK)
        return refuse(p, t, "shape: more than 8 dimensions", err);
    t->elements = 1;
    for (size_t i = 0; i < t->rank; i++) {
        const json_t *dimension = json_array_get(shape, i);
        if (!json_is_integer(dimension) || json_integer_value(dimension) < 0)
            return refuse(p, t, "shape: non-negative plain integers are wanted", err);
        t->shape[i] = (uint64_t)json_integer_value(dimension);
        if (__builtin_mul_overflow(t->elements, t->shape[i], &t->elements))
            return refuse(p, t, "shape: the number of elements overflows", err);
    }
    return QD_OK;
}

/* Rules 6, 8: offsets within the data, and exactly as many bytes as the shape says. */
static qd_code read_offsets(const parse *p, const json_t *offsets, qd_tensor *t, qd_error *err)
{
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last) ||
        json_integer_value(first) < 0 || json_integer_value(last) < json_integer_value(first))
        return refuse(p, t, "data_offsets: two integers, begin <= end, are wanted", err);
    uint64_t begin = (uint64_t)json_integer_value(first), end = (uint64_t)json_integer_value(last), bytes;
    if (end > p->data_size)
        return qd_fail(err, QD_EFORMAT,
                       "'%s': tensor '%s': data_offsets end at %" PRIu64 ", but the data has %zu bytes", p->file,
                       t->name, end, p->data_size);
    if (!qd_dtype_bytes(t->dtype, t->elements, &bytes))
        return refuse(p, t, "shape: the number of bytes overflows or is not whole", err);
    if (end - begin != bytes)
        return qd_fail(err, QD_EFORMAT,
                       "'%s': tensor '%s': data_offsets span %" PRIu64 " bytes, shape and %s need %" PRIu64, p->file,
                       t->name, end - begin, t->dtype->name, bytes);
    t->data = p->data + begin;
    t->bytes = (size_t)(end - begin);
    return QD_OK;
}

static qd_code read_tensor(const parse *p, const char *name, const json_t *entry, qd_tensor *t, qd_error *err)
{
    *t = (qd_tensor){ .name = name };
    qd_code code = check_name(p, name, err);
    if (code != QD_OK)
        return code;
    if (!json_is_object(entry))
        return refuse(p, t, "an object with dtype, shape and data_offsets is wanted", err);
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    t->dtype = dtype == NULL ? NULL : qd_dtype_find(dtype);
    if (t->dtype == NULL)
        return qd_fail(err, QD_EFORMAT, "'%s': tensor '%s': unknown dtype '%s'", p->file, name,
                       dtype == NULL ? "" : dtype);
    code = read_shape(p, json_object_get(entry, "shape"), t, err);
    return code == QD_OK ? read_offsets(p, json_object_get(entry, "data_offsets"), t, err) : code;
}

static int by_place(const void *a, const void *b)
{
    const qd_tensor *x = a, *y = b;
    if (x->data != y->data)
        return x->data < y->data ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const qd_tensor *)a)->name, ((const qd_tensor *)b)->name);
}

/* Rule 7: tensors fill the data without holes or overlaps. */
static qd_code check_cover(const parse *p, qd_tensor *tensors, size_t count, qd_error *err)
{
    if (count > 1)
        qsort(tensors, count, sizeof *tensors, by_place);
    const unsigned char *at = p->data;
    for (size_t i = 0; i < count; i++) {
        if (tensors[i].data != at)
            return qd_fail(err, QD_EFORMAT, "'%s': tensor '%s' begins at byte %td of the data, %s one ends at %td",
                           p->file, tensors[i].name, tensors[i].data - p->data,
                           tensors[i].data < at ? "overlapping: the previous" : "leaving a hole: the previous",
                           at - p->data);
        at += tensors[i].bytes;
    }
    if (at != p->data + p->data_size)
        return qd_fail(err, QD_EFORMAT, "'%s': %td bytes after the last tensor", p->file, p->data + p->data_size - at);
    return QD_OK;
}

static qd_code check_metadata(const parse *p, const json_t *metadata, qd_error *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return qd_fail(err, QD_EFORMAT, "'%s': __metadata__: an object is wanted", p->file);
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value)
    {
        if (!json_is_string(value))
            return qd_fail(err, QD_EFORMAT, "'%s': __metadata__: '%s' is not a string", p->file, key);
    }
    return QD_OK;
}

static qd_code read_tensors(const parse *p, qd_safetensors *file, qd_error *err)
{
    size_t entries = json_object_size(file->header);
    if (entries > TENSOR_LIMIT)
        return qd_fail(err, QD_EFORMAT, "'%s': %zu tensors, the limit is %d", p->file, entries, TENSOR_LIMIT);
    qd_code code = qd_alloc(entries, sizeof *file->tensors, (void **)&file->tensors, err);
    const char *name;
    json_t *entry;
    if (code != QD_OK)
        return code;
    json_object_foreach(file->header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            code = check_metadata(p, entry, err);
        else
            code = read_tensor(p, name, entry, &file->tensors[file->count++], err);
        if (code != QD_OK)
            return code;
    }
    code = check_cover(p, file->tensors, file->count, err);
    if (code == QD_OK && file->count > 1)
        qsort(file->tensors, file->count, sizeof *file->tensors, by_name);
    return code;
}

qd_code qd_safetensors_parse(const char *name, const unsigned char *bytes, size_t length, qd_safetensors **out,
                             qd_error *err)
{
    qd_safetensors *file = NULL;
    size_t header_size = 0;
    qd_code code = qd_alloc(1, sizeof *file, (void **)&file, err);
    if (code != QD_OK)
        return code;
    code = read_header(name, bytes, length, &file->header, &header_size, err);
    if (code == QD_OK) {
        const parse p = { name, bytes + 8 + header_size, length - 8 - header_size };
        code = read_tensors(&p, file, err);
    }
    if (code != QD_OK) {
        qd_safetensors_destroy(file);
        return code;
    }
    *out = file;
    return QD_OK;
}

qd_code qd_safetensors_open(const char *path, qd_safetensors **out, qd_error *err)
{
    qd_map map = { 0 };
    qd_code code = qd_map_open(path, &map, err);
    if (code == QD_OK)
        code = qd_safetensors_parse(path, map.data, map.size, out, err);
    if (code != QD_OK) {
        qd_map_fini(&map);
        return code;
    }
    (*out)->map = map;
    for (size_t i = 0; i < (*out)->count; i++)
        (*out)->tensors[i].mapped = true;
    return QD_OK;
}

size_t qd_safetensors_count(const qd_safetensors *file)
{
    return file->count;
}

const qd_tensor *qd_safetensors_at(const qd_safetensors *file, size_t index)
{
    return index < file->count ? &file->tensors[index] : NULL;
}

const qd_tensor *qd_safetensors_find(const qd_safetensors *file, const char *name)
{
    const qd_tensor key = { .name = name };
    return file->count == 0 ? NULL : bsearch(&key, file->tensors, file->count, sizeof key, by_name);
}

const char *qd_safetensors_metadata(const qd_safetensors *file, const char *key)
{
    return json_string_value(json_object_get(json_object_get(file->header, "__metadata__"), key));
}
