/* shard_writer.c: see shard_writer.h. */
#include "export/shard_writer.h"

#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

#define DEFAULT_LIMIT (UINT64_C(1) << 30)

qd_code qd_shard_writer_init(qd_shard_writer *w, const char *dir, uint64_t shard_limit, qd_error *err)
{
    *w = (qd_shard_writer){ .dir = dir,
                            .shard_limit = shard_limit == 0 ? DEFAULT_LIMIT : shard_limit,
                            .map = json_object() };
    return w->map == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}

static void clear(qd_shard_writer *w)
{
    for (size_t i = 0; i < w->count; i++) {
        free((char *)(uintptr_t)w->tensors[i].name);
        free(w->owned[i]);
    }
    w->count = 0;
    w->bytes = 0;
}

void qd_shard_writer_fini(qd_shard_writer *w)
{
    clear(w);
    free(w->tensors);
    free(w->owned);
    json_decref(w->map);
    *w = (qd_shard_writer){ 0 };
}

/* The name a shard has until the number of shards is known. */
static qd_code path_of(const qd_shard_writer *w, size_t shard, qd_str *out, qd_error *err)
{
    qd_str_clear(out);
    qd_str_addf(out, "%s/shard-%05zu.safetensors", w->dir, shard);
    return qd_str_check(out, err);
}

static qd_code flush(qd_shard_writer *w, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str path = { 0 };
    qd_code code = path_of(w, w->shards + 1, &path, err);
    if (code == QD_OK)
        code = qd_safetensors_write(path.data, w->tensors, w->count, NULL, NULL, 0, err);
    if (code != QD_OK)
        return code;
    w->shards++;
    clear(w);
    return QD_OK;
}

static uint64_t bytes_of(const qd_tensor_out *t)
{
    uint64_t elements = 1;
    for (size_t i = 0; i < t->rank; i++)
        elements *= t->shape[i];
    return elements * t->dtype->bits / 8;
}

/* Adds a tensor whose name is already owned by it. */
static qd_code append(qd_shard_writer *w, const qd_tensor_out *t, void *owned, qd_error *err)
{
    uint64_t bytes = bytes_of(t);
    qd_code code = QD_OK;
    if (w->count > 0 && w->bytes + bytes > w->shard_limit)
        code = flush(w, err);
    if (code == QD_OK)
        code = qd_grow((void **)&w->tensors, &w->capacity, w->count + 1, sizeof *w->tensors, err);
    if (code == QD_OK)
        code = qd_grow((void **)&w->owned, &w->owned_capacity, w->count + 1, sizeof *w->owned, err);
    if (code == QD_OK && json_object_set_new(w->map, t->name, json_integer((json_int_t)w->shards + 1)) != 0)
        code = qd_fail(err, QD_ENOMEM, "out of memory");
    if (code != QD_OK)
        return code;
    w->tensors[w->count] = *t;
    w->owned[w->count++] = owned;
    w->bytes += bytes;
    w->total_bytes += bytes;
    return QD_OK;
}

/* float32 values in the place of what safetensors has no type or no order for. */
static qd_code copy_widened(qd_shard_writer *w, const qd_tensor *tensor, qd_error *err)
{
    float *values = NULL;
    qd_code code = qd_alloc((size_t)tensor->elements, sizeof *values, (void **)&values, err);
    if (code == QD_OK)
        code = qd_tensor_to_floats(tensor, values, err);
    if (code != QD_OK) {
        free(values);
        return code;
    }
    return qd_shard_writer_take(w, tensor->name, "F32", tensor->rank, tensor->shape, values, err);
}

qd_code qd_shard_writer_copy(qd_shard_writer *w, const qd_tensor *tensor, qd_error *err)
{
    if (tensor->dtype->block != 0 || !qd_tensor_is_plain(tensor))
        return copy_widened(w, tensor, err);
    qd_tensor_out t = { .dtype = tensor->dtype, .rank = tensor->rank, .data = tensor->data };
    memcpy(t.shape, tensor->shape, sizeof t.shape);
    char *name = NULL;
    qd_code code = qd_dup(tensor->name, &name, err);
    t.name = name;
    if (code == QD_OK)
        code = append(w, &t, NULL, err);
    if (code != QD_OK)
        free(name);
    return code;
}

qd_code qd_shard_writer_take(qd_shard_writer *w, const char *name, const char *dtype, size_t rank,
                             const uint64_t *shape, void *data, qd_error *err)
{
    qd_tensor_out t = { .dtype = qd_dtype_find(dtype), .rank = rank, .data = data };
    memcpy(t.shape, shape, rank * sizeof *shape);
    char *copy = NULL;
    qd_code code = qd_dup(name, &copy, err);
    t.name = copy;
    if (code == QD_OK)
        code = append(w, &t, data, err);
    if (code != QD_OK) {
        free(copy);
        free(data);
    }
    return code;
}

qd_code qd_shard_writer_cut(qd_shard_writer *w, qd_error *err)
{
    return w->count > 0 ? flush(w, err) : QD_OK;
}

static qd_code write_index(const qd_shard_writer *w, qd_error *err)
{
    json_t *map = json_object();
    const char *name;
    json_t *shard;
    json_object_foreach(w->map, name, shard)
    {
        char file[64];
        snprintf(file, sizeof file, "model-%05" JSON_INTEGER_FORMAT "-of-%05zu.safetensors", json_integer_value(shard),
                 w->shards);
        json_object_set_new(map, name, json_string(file));
    }
    QD_AUTO(qd_json_fini)
    json_t *index =
        json_pack("{s:{s:I}, s:o}", "metadata", "total_size", (json_int_t)w->total_bytes, "weight_map", map);
    QD_AUTO(qd_free_pointer) char *text = index == NULL ? NULL : json_dumps(index, JSON_INDENT(2) | JSON_SORT_KEYS);
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(w->dir, "model.safetensors.index.json");
    if (text == NULL || path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return qd_file_write(path, text, strlen(text), err);
}

qd_code qd_shard_writer_finish(qd_shard_writer *w, qd_error *err)
{
    qd_code code = w->count > 0 || w->shards == 0 ? flush(w, err) : QD_OK;
    for (size_t i = 1; code == QD_OK && i <= w->shards; i++) {
        QD_AUTO(qd_str_fini) qd_str from = { 0 }, to = { 0 };
        code = path_of(w, i, &from, err);
        if (w->shards == 1)
            qd_str_addf(&to, "%s/model.safetensors", w->dir);
        else
            qd_str_addf(&to, "%s/model-%05zu-of-%05zu.safetensors", w->dir, i, w->shards);
        if (code == QD_OK)
            code = qd_str_check(&to, err);
        if (code == QD_OK)
            code = QD_FAULT_CODE("shard.name", err);
        if (code == QD_OK)
            code = qd_file_rename(from.data, to.data, err);
    }
    return code == QD_OK && w->shards > 1 ? write_index(w, err) : code;
}
