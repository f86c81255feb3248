/* gguf_source.c: see gguf_source.h. */
#include "model/gguf_source.h"

#include <stdlib.h>
#include <stdio.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

typedef struct heads {
    size_t query, key; /* heads of attention, and of keys and values */
} heads;

static qd_code read_heads(const qd_gguf_set *set, const qd_gguf_arch *arch, heads *out, qd_error *err)
{
    char key[128];
    snprintf(key, sizeof key, "%s.attention.head_count", arch->id);
    qd_code code = qd_gguf_size(set->files[0], key, 0, &out->query, err);
    snprintf(key, sizeof key, "%s.attention.head_count_kv", arch->id);
    return code == QD_OK ? qd_gguf_size(set->files[0], key, out->query, &out->key, err) : code;
}

/* Rows (or the elements of a bias) of one head; they must be an even number to be two halves. */
static qd_code set_head_rows(const heads *h, qd_gguf_rows rows, qd_tensor *t, qd_error *err)
{
    if (rows == QD_GGUF_ROWS_SAME)
        return QD_OK;
    size_t count = rows == QD_GGUF_ROWS_BY_HEAD ? h->query : h->key;
    if (t->rank > 2 || count == 0 || t->shape[0] % (2 * (uint64_t)count) != 0)
        return qd_fail(err, QD_ESHAPE, "tensor '%s': %llu rows are not %zu heads of an even number of rows", t->name,
                       (unsigned long long)t->shape[0], count);
    t->head_rows = (size_t)t->shape[0] / count;
    return QD_OK;
}

/* Tensors that only say something about others: no weights of their own. */
static bool only_describes(const char *name)
{
    return strcmp(name, "rope_freqs.weight") == 0;
}

/* NVFP4: "X.scale", one float32, multiplies the whole of "X.weight". */
static qd_code set_scale(const qd_gguf_set *set, const char *theirs, qd_tensor *t, qd_error *err)
{
    char name[QD_GGUF_NAME_BYTES];
    size_t length = strlen(theirs);
    if (length < 8 || strcmp(theirs + length - 7, ".weight") != 0)
        return QD_OK;
    snprintf(name, sizeof name, "%.*s.scale", (int)(length - 7), theirs);
    const qd_tensor *scale = qd_gguf_set_find(set, name);
    if (scale == NULL)
        return QD_OK;
    if (scale->elements != 1 || strcmp(scale->dtype->name, "F32") != 0)
        return qd_fail(err, QD_EUNSUPPORTED, "tensor '%s': %llu elements of %s; one of F32 is wanted", name,
                       (unsigned long long)scale->elements, scale->dtype->name);
    t->scale = scale;
    t->scale_rows = t->shape[0];
    t->scale_cols = t->shape[t->rank - 1];
    return QD_OK;
}

/* true for "X.scale" whose "X.weight" is there. */
static bool is_scale(const qd_gguf_set *set, const char *theirs)
{
    char name[QD_GGUF_NAME_BYTES];
    size_t length = strlen(theirs);
    if (length < 7 || strcmp(theirs + length - 6, ".scale") != 0)
        return false;
    snprintf(name, sizeof name, "%.*s.weight", (int)(length - 6), theirs);
    return qd_gguf_set_find(set, name) != NULL;
}

static qd_code read_one(qd_shards *shards, const qd_gguf_arch *arch, const heads *h, const qd_tensor *theirs,
                        size_t file, qd_error *err)
{
    char ours[QD_GGUF_NAME_BYTES];
    size_t i = shards->own_count;
    qd_tensor *t = &shards->own[i];
    if (only_describes(theirs->name) || is_scale(&shards->gguf, theirs->name))
        return QD_OK;
    const qd_gguf_name *row = qd_gguf_name_to_ours(arch, theirs->name, ours);
    qd_code code = qd_dup(row == NULL ? theirs->name : ours, &shards->renamed[i], err);
    if (code != QD_OK)
        return code;
    *t = *theirs;
    t->name = shards->renamed[i];
    shards->own_file[i] = file;
    shards->own_count++;
    if (row != NULL)
        code = set_head_rows(h, row->rows, t, err);
    return code == QD_OK ? set_scale(&shards->gguf, theirs->name, t, err) : code;
}

qd_code qd_gguf_source_read(qd_shards *shards, qd_error *err)
{
    const qd_gguf_set *set = &shards->gguf;
    const qd_gguf_arch *arch = NULL;
    heads h = { 0 };
    size_t total = 0;
    for (size_t f = 0; f < set->count; f++)
        total += qd_gguf_count(set->files[f]);
    qd_code code = qd_gguf_set_arch(set, &arch, err);
    if (code == QD_OK)
        code = read_heads(set, arch, &h, err);
    if (code == QD_OK)
        code = qd_alloc(total, sizeof *shards->own, (void **)&shards->own, err);
    if (code == QD_OK)
        code = qd_alloc(total, sizeof *shards->own_file, (void **)&shards->own_file, err);
    if (code == QD_OK)
        code = qd_alloc(total, sizeof *shards->renamed, (void **)&shards->renamed, err);
    for (size_t f = 0; code == QD_OK && f < set->count; f++)
        for (size_t k = 0; code == QD_OK && k < qd_gguf_count(set->files[f]); k++)
            code = read_one(shards, arch, &h, qd_gguf_at(set->files[f], k), f, err);
    return code;
}
