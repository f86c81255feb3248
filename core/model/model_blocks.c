/* model_blocks.c: the linear layers of every block, in execution order, and the tensors that a block needs. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/model_private.h"

void qd_model_fill_name(char *out, size_t size, const char *pattern, size_t number)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(out, size, pattern, number); /* the row's constant */
#pragma GCC diagnostic pop
}

void qd_model_block_name(const qd_model *model, size_t block, const char *name, const char *ending, char *out)
{
    char below[64];
    qd_model_fill_name(below, sizeof below, model->arch->ops->names.block, block);
    snprintf(out, QD_NAME_BYTES, "%s%s%s%s", model->prefix, below, name, ending);
}

const qd_tensor *qd_model_block_tensor(const qd_model *model, size_t block, const char *name, const char *ending)
{
    char full[QD_NAME_BYTES];
    qd_model_block_name(model, block, name, ending, full);
    return qd_shards_find(&model->shards, full);
}

const qd_tensor *qd_model_head_tensor(const qd_model *model, size_t block, const char *pattern, size_t head)
{
    char below[QD_PREFIX_BYTES];
    qd_model_fill_name(below, sizeof below, pattern, head);
    return qd_model_block_tensor(model, block, below, ".weight");
}

/* Is there a weight to be read as numbers? Packed folders may keep codes under its name. */
static bool is_weight(const qd_model *model, const char *name)
{
    const qd_tensor *t = qd_shards_find(&model->shards, name);
    return t != NULL && strcmp(t->dtype->name, "I8") != 0;
}

/* ---- linears ---- */

static size_t count_names(const char *const names[QD_SLOTS], size_t end)
{
    size_t count = 0;
    for (size_t slot = 0; slot < end; slot++)
        count += names[slot] != NULL;
    return count;
}

static size_t count_linears(const qd_decoder *d, size_t block)
{
    const qd_arch_names *names = &d->ops->names;
    size_t experts = d->layers[block].experts;
    return count_names(names->linears, experts == 0 ? QD_SLOTS : QD_SLOT_O + 1) +
           experts * count_names(names->expert_linears, QD_SLOTS);
}

static qd_code read_linear(qd_model *model, size_t block, qd_slot slot, size_t expert, const char *below,
                           qd_packing how, qd_error *err)
{
    qd_linear *linear = &model->linears[model->linear_count];
    const qd_decoder *d = &model->decoder;
    char name[QD_NAME_BYTES], weight[QD_NAME_BYTES + 8], bias[QD_NAME_BYTES + 8];
    qd_model_block_name(model, block, below, "", name);
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    *linear = (qd_linear){ .out = qd_slot_out(d, slot, expert),
                           .in = qd_slot_in(d, slot, expert),
                           .expert = expert,
                           .in_out = d->ops->order == QD_WEIGHTS_IN_OUT,
                           .group = qd_slot_group(slot, expert) };
    char *copy = NULL;
    qd_code code = qd_dup(name, &copy, err);
    if (code != QD_OK)
        return code;
    linear->name = copy;
    model->slots[model->linear_count++] = (unsigned char)slot;
    if (how == QD_STORED || is_weight(model, weight)) {
        if (linear->in_out)
            code = qd_shards_transpose(&model->shards, weight, err);
        if (code == QD_OK)
            code = qd_model_need(model, weight, linear->out, linear->in, &linear->weight, err);
    }
    if (code == QD_OK && (d->biases & QD_BIT(slot)) != 0)
        code = qd_model_need(model, bias, 0, linear->out, &linear->bias, err);
    return code;
}

static qd_code read_expert(qd_model *model, size_t block, size_t expert, qd_packing how, qd_error *err)
{
    const qd_arch_names *names = &model->arch->ops->names;
    char below[QD_PREFIX_BYTES], name[2 * QD_PREFIX_BYTES];
    qd_code code = QD_OK;
    qd_model_fill_name(below, sizeof below, names->expert, expert);
    for (size_t slot = 0; code == QD_OK && slot < QD_SLOTS; slot++) {
        if (names->expert_linears[slot] == NULL)
            continue;
        snprintf(name, sizeof name, "%s%s", below, names->expert_linears[slot]);
        code = read_linear(model, block, (qd_slot)slot, expert, name, how, err);
    }
    return code;
}

static qd_code read_linears(qd_model *model, size_t block, qd_packing how, qd_error *err)
{
    const qd_arch_names *names = &model->arch->ops->names;
    size_t experts = model->decoder.layers[block].experts;
    qd_code code = QD_OK;
    for (size_t slot = 0; code == QD_OK && slot < QD_SLOTS; slot++)
        if (names->linears[slot] != NULL && (experts == 0 || slot <= QD_SLOT_O))
            code = read_linear(model, block, (qd_slot)slot, QD_NO_EXPERT, names->linears[slot], how, err);
    for (size_t e = 0; code == QD_OK && e < experts; e++)
        code = read_expert(model, block, e, how, err);
    return code;
}

/* ---- norms ---- */

static bool is_of_heads(qd_norm_place place)
{
    return place == QD_NORM_Q || place == QD_NORM_K;
}

/* One tensor a head; no biases (formats.md: stablelm). */
static qd_code check_own_norms(qd_model *model, size_t block, qd_norm_place place, qd_error *err)
{
    const qd_decoder *d = &model->decoder;
    size_t heads = place == QD_NORM_Q ? d->heads : d->kv_heads;
    qd_code code = QD_OK;
    for (size_t h = 0; code == QD_OK && h < heads; h++) {
        char below[QD_PREFIX_BYTES], name[QD_NAME_BYTES];
        const qd_tensor *found;
        qd_model_fill_name(below, sizeof below, d->norms[place], h);
        qd_model_block_name(model, block, below, ".weight", name);
        code = qd_model_need(model, name, 0, d->head_dim, &found, err);
    }
    return code;
}

static size_t norm_width(const qd_decoder *d, qd_norm_place place)
{
    if (!is_of_heads(place))
        return d->hidden;
    if (d->ops->head_norm != QD_HEAD_NORM_WHOLE)
        return d->head_dim;
    return (place == QD_NORM_Q ? d->heads : d->kv_heads) * d->head_dim;
}

static qd_code check_norm(qd_model *model, size_t block, qd_norm_place place, qd_error *err)
{
    const qd_decoder *d = &model->decoder;
    char name[QD_NAME_BYTES];
    const qd_tensor *found;
    if (is_of_heads(place) && d->ops->head_norm == QD_HEAD_NORM_OWN)
        return check_own_norms(model, block, place, err);
    qd_model_block_name(model, block, d->norms[place], ".weight", name);
    qd_code code = qd_model_need(model, name, 0, norm_width(d, place), &found, err);
    if (code != QD_OK || d->ops->norm != QD_NORM_LAYER || is_of_heads(place))
        return code;
    qd_model_block_name(model, block, d->norms[place], ".bias", name);
    return qd_model_need(model, name, 0, d->hidden, &found, err);
}

static qd_code check_router(qd_model *model, size_t block, qd_error *err)
{
    const qd_decoder *d = &model->decoder;
    char name[QD_NAME_BYTES];
    const qd_tensor *found;
    if (d->layers[block].experts == 0)
        return QD_OK;
    qd_model_block_name(model, block, d->ops->names.router, ".weight", name);
    return qd_model_need(model, name, d->experts, d->hidden, &found, err);
}

/* Every linear has a tensor at least: a config that wants many more gets no memory for them. */
static qd_code reserve(qd_model *model, qd_error *err)
{
    enum { SLACK = 1024 };
    size_t most = 0;
    for (size_t b = 0; b < model->decoder.blocks; b++)
        most += count_linears(&model->decoder, b);
    if (most > model->shards.tensor_count + SLACK)
        return qd_fail(err, QD_EFORMAT, "config.json promises %zu linear layers, the files have %zu tensors", most,
                       model->shards.tensor_count);
    qd_code code = qd_alloc(most, sizeof *model->linears, (void **)&model->linears, err);
    if (code == QD_OK)
        code = qd_alloc(most, 1, (void **)&model->slots, err);
    return code == QD_OK ? qd_alloc(model->decoder.blocks + 1, sizeof *model->first, (void **)&model->first, err)
                         : code;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const qd_linear *const *)a)->name, (*(const qd_linear *const *)b)->name);
}

qd_code qd_model_sort_linears(qd_model *model, qd_error *err)
{
    qd_code code = qd_alloc(model->linear_count, sizeof *model->by_name, (void **)&model->by_name, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; i < model->linear_count; i++)
        model->by_name[i] = &model->linears[i];
    qsort(model->by_name, model->linear_count, sizeof *model->by_name, by_name);
    return QD_OK;
}

qd_code qd_model_read_blocks(qd_model *model, qd_packing how, qd_error *err)
{
    const qd_decoder *d = &model->decoder;
    qd_code code = reserve(model, err);
    for (size_t b = 0; code == QD_OK && b < d->blocks; b++) {
        for (size_t place = 0; code == QD_OK && place < QD_NORM_PLACES; place++)
            if (d->norms[place] != NULL)
                code = check_norm(model, b, (qd_norm_place)place, err);
        if (code == QD_OK)
            code = read_linears(model, b, how, err);
        if (code == QD_OK)
            code = check_router(model, b, err);
        model->first[b + 1] = model->linear_count;
    }
    return code == QD_OK ? qd_model_sort_linears(model, err) : code;
}
