/* fused_experts.c: see fused_experts.h. */
#include "model/fused_experts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "model/model_private.h"

static const char stacked_gate_up[] = "mlp.experts.gate_up_proj", stacked_down[] = "mlp.experts.down_proj",
                  stacked_router[] = "mlp.gate";

typedef struct splitting {
    const qd_decoder *decoder;
    const qd_arch_names *names;
    qd_shards *shards; /* as they were */
    qd_tensor *own;    /* as they become */
    size_t *own_file;
    char **renamed;
    size_t count;
} splitting;

/* Length of what stands before `ending`, which begins behind a dot; SIZE_MAX when the name does not end so. */
static size_t stem(const char *name, const char *ending)
{
    size_t length = strlen(name), tail = strlen(ending);
    if (length <= tail || name[length - tail - 1] != '.' || strcmp(name + length - tail, ending) != 0)
        return SIZE_MAX;
    return length - tail;
}

static size_t parts_of(const splitting *s, const qd_tensor *t)
{
    if (stem(t->name, stacked_gate_up) != SIZE_MAX)
        return 2 * s->decoder->experts;
    return stem(t->name, stacked_down) != SIZE_MAX ? s->decoder->experts : 0;
}

static qd_code check_shape(const splitting *s, const qd_tensor *t, uint64_t rows, uint64_t cols, qd_error *err)
{
    if (t->rank == 3 && t->shape[0] == s->decoder->experts && t->shape[1] == rows && t->shape[2] == cols &&
        t->bytes % (s->decoder->experts * rows) == 0)
        return QD_OK;
    return qd_fail(err, QD_ESHAPE,
                   "tensor '%s': %zu dimensions of %llu x %llu x %llu; the config wants %zu x %llu x %llu", t->name,
                   t->rank, t->rank > 0 ? (unsigned long long)t->shape[0] : 0,
                   t->rank > 1 ? (unsigned long long)t->shape[1] : 1, t->rank > 2 ? (unsigned long long)t->shape[2] : 1,
                   s->decoder->experts, (unsigned long long)rows, (unsigned long long)cols);
}

/* A tensor of the new list that goes on under a name of its own. */
static qd_code add(splitting *s, const qd_tensor *like, size_t file, qd_str *name, qd_error *err)
{
    qd_code code = qd_str_check(name, err);
    if (code != QD_OK)
        return code;
    if (qd_shards_find(s->shards, name->data) != NULL)
        return qd_fail(err, QD_EFORMAT, "tensor '%s' is there by itself and as a part of a stacked one", name->data);
    s->own[s->count] = *like;
    s->own_file[s->count] = file;
    s->renamed[s->count] = qd_str_take(name);
    s->own[s->count].name = s->renamed[s->count];
    s->count++;
    return QD_OK;
}

/* Parts of `rows` rows from byte `offset` of each expert's on. */
static qd_code add_parts(splitting *s, const qd_tensor *t, size_t file, size_t before, qd_slot slot, uint64_t rows,
                         size_t offset, qd_error *err)
{
    qd_code code = QD_OK;
    size_t each = t->bytes / s->decoder->experts;
    for (size_t e = 0; code == QD_OK && e < s->decoder->experts; e++) {
        QD_AUTO(qd_str_fini) qd_str name = { 0 };
        char below[QD_PREFIX_BYTES];
        qd_tensor view = *t;
        view.rank = 2;
        view.shape[0] = rows;
        view.shape[1] = t->shape[2];
        view.elements = rows * t->shape[2];
        view.bytes = (size_t)(each / t->shape[1] * rows);
        view.data = t->data + e * each + offset;
        qd_model_fill_name(below, sizeof below, s->names->expert, e);
        qd_str_addf(&name, "%.*s%s%s.weight", (int)before, t->name, below, s->names->expert_linears[slot]);
        code = add(s, &view, file, &name, err);
    }
    return code;
}

static qd_code split_gate_up(splitting *s, const qd_tensor *t, size_t file, qd_error *err)
{
    size_t before = stem(t->name, stacked_gate_up), rows = s->decoder->expert_intermediate;
    qd_code code = check_shape(s, t, 2 * (uint64_t)rows, s->decoder->hidden, err);
    if (code == QD_OK)
        code = add_parts(s, t, file, before, QD_SLOT_GATE, rows, 0, err);
    return code == QD_OK ? add_parts(s, t, file, before, QD_SLOT_UP, rows, t->bytes / s->decoder->experts / 2, err)
                         : code;
}

static qd_code split_down(splitting *s, const qd_tensor *t, size_t file, qd_error *err)
{
    qd_code code = check_shape(s, t, s->decoder->hidden, s->decoder->expert_intermediate, err);
    return code == QD_OK ? add_parts(s, t, file, stem(t->name, stacked_down), QD_SLOT_DOWN, s->decoder->hidden, 0, err)
                         : code;
}

static size_t router_stem(const char *name)
{
    return stem(name, "mlp.gate.weight");
}

/* Is this the router of a block whose experts are stacked? */
static bool is_stacked_router(const splitting *s, const qd_tensor *t)
{
    QD_AUTO(qd_str_fini) qd_str sibling = { 0 };
    size_t before = router_stem(t->name);
    if (before == SIZE_MAX || strcmp(s->names->router, stacked_router) == 0)
        return false;
    qd_str_addf(&sibling, "%.*s%s", (int)before, t->name, stacked_down);
    return sibling.data != NULL && qd_shards_find(s->shards, sibling.data) != NULL;
}

static qd_code rename_router(splitting *s, const qd_tensor *t, size_t file, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str name = { 0 };
    qd_str_addf(&name, "%.*s%s.weight", (int)router_stem(t->name), t->name, s->names->router);
    return add(s, t, file, &name, err);
}

static qd_code split_one(splitting *s, size_t index, qd_error *err)
{
    const qd_tensor *t = &s->shards->own[index];
    size_t file = s->shards->own_file[index];
    if (stem(t->name, stacked_gate_up) != SIZE_MAX)
        return split_gate_up(s, t, file, err);
    if (stem(t->name, stacked_down) != SIZE_MAX)
        return split_down(s, t, file, err);
    if (is_stacked_router(s, t))
        return rename_router(s, t, file, err);
    s->own[s->count] = *t; /* its name stays the file's */
    s->own_file[s->count++] = file;
    return QD_OK;
}

static qd_code count_parts(const splitting *s, size_t *out, size_t *out_stacked, qd_error *err)
{
    size_t total = s->shards->own_count, stacked = 0;
    for (size_t i = 0; i < s->shards->own_count; i++) {
        size_t parts = parts_of(s, &s->shards->own[i]);
        stacked += parts > 0;
        total += parts;
    }
    if (stacked > 2 * s->decoder->blocks)
        return qd_fail(err, QD_EFORMAT, "%zu tensors of stacked experts, for %zu blocks", stacked, s->decoder->blocks);
    *out = total;
    *out_stacked = stacked;
    return QD_OK;
}

static void splitting_fini(splitting *s)
{
    for (size_t i = 0; s->renamed != NULL && i < s->count; i++)
        free(s->renamed[i]);
    free(s->renamed);
    free(s->own);
    free(s->own_file);
}

qd_code qd_fused_experts_split(const qd_decoder *decoder, qd_shards *shards, qd_error *err)
{
    QD_AUTO(splitting_fini)
    splitting s = { .decoder = decoder, .names = &decoder->ops->names, .shards = shards };
    size_t total = 0, stacked = 0, before = shards->own_count;
    qd_code code = count_parts(&s, &total, &stacked, err);
    if (code != QD_OK || stacked == 0)
        return code;
    code = qd_alloc(total, sizeof *s.own, (void **)&s.own, err);
    if (code == QD_OK)
        code = qd_alloc(total, sizeof *s.own_file, (void **)&s.own_file, err);
    if (code == QD_OK)
        code = qd_alloc(total, sizeof *s.renamed, (void **)&s.renamed, err);
    for (size_t i = 0; code == QD_OK && i < before; i++)
        code = split_one(&s, i, err);
    return code == QD_OK ? qd_shards_replace(shards, &s.own, &s.own_file, &s.renamed, &s.count, err) : code;
}
