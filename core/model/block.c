/* block.c: a block's weights, and what its groups are: see arch.h. */
#include "model/block_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "base/mem.h"
#include "linalg/vexp.h"

void qd_block_destroy(qd_block *block)
{
    if (block == NULL)
        return;
    for (size_t i = 0; block->own.linears != NULL && i < block->count; i++)
        qd_dense_fini(&block->own.linears[i]);
    for (size_t i = 0; i < QD_NORM_PLACES; i++)
        qd_norm_fini(&block->own.norms[i]);
    qd_dense_fini(&block->own.router);
    free(block->own.linears);
    free(block->linears);
    free(block);
}

/* Rows that are looked at while they are still in the cache. */
static size_t rows_at_once(const qd_tensor *tensor)
{
    enum { FLOATS = 1 << 14, LEAST = 64 /* of a transposed tensor: each row of the file is touched for all of them */ };
    return qd_max_size(LEAST, FLOATS / (size_t)tensor->shape[1]);
}

static qd_code load_matrix(const qd_tensor *tensor, float *out, qd_error *err)
{
    size_t rows = (size_t)tensor->shape[0], cols = (size_t)tensor->shape[1], step = rows_at_once(tensor);
    qd_code code = QD_OK;
    for (size_t row = 0; code == QD_OK && row < rows; row += step) {
        size_t count = qd_min_size(step, rows - row);
        code = qd_tensor_rows_to_floats(tensor, row, count, out + row * cols, err);
        if (code == QD_OK && !qd_all_finite(out + row * cols, count * cols))
            code = qd_tensor_check_finite(tensor, err);
    }
    return code;
}

qd_code qd_load_finite(const qd_tensor *tensor, float *out, qd_error *err)
{
    if (tensor->rank == 2 && tensor->elements > 0)
        return load_matrix(tensor, out, err);
    qd_code code = qd_tensor_to_floats(tensor, out, err);
    if (code != QD_OK || qd_all_finite(out, (size_t)tensor->elements))
        return code;
    return qd_tensor_check_finite(tensor, err);
}

qd_code qd_load_row(const qd_tensor *tensor, qd_matf_buf *out, qd_error *err)
{
    qd_code code = qd_matf_buf_init(out, 1, (size_t)tensor->elements, err);
    return code == QD_OK ? qd_load_finite(tensor, out->view.data, err) : code;
}

/* ---- norms ---- */

qd_code qd_norm_finish(const qd_decoder *decoder, const qd_tensor *bias, qd_norm *norm, qd_error *err)
{
    qd_matf w = norm->weight.view;
    norm->kind = decoder->ops->norm;
    norm->eps = decoder->eps;
    for (size_t i = 0; norm->kind == QD_NORM_RMS_ONE_PLUS && i < w.rows * w.cols; i++)
        w.data[i] += 1;
    return bias == NULL ? QD_OK : qd_load_row(bias, &norm->bias, err);
}

/* A tensor a head, one below the other. */
static qd_code load_own_norms(const qd_model *model, size_t block, const char *pattern, size_t heads, qd_matf_buf *out,
                              qd_error *err)
{
    size_t head_dim = qd_model_decoder(model)->head_dim;
    qd_code code = qd_matf_buf_init(out, heads, head_dim, err);
    for (size_t h = 0; code == QD_OK && h < heads; h++)
        code = qd_load_finite(qd_model_head_tensor(model, block, pattern, h), qd_matf_row(out->view, h), err);
    return code;
}

static qd_code load_norm(const qd_model *model, size_t block, qd_norm_place place, qd_norm *out, qd_error *err)
{
    const qd_decoder *d = qd_model_decoder(model);
    const char *name = d->norms[place];
    bool of_heads = place == QD_NORM_Q || place == QD_NORM_K;
    if (name == NULL)
        return QD_OK;
    const qd_tensor *bias =
        d->ops->norm == QD_NORM_LAYER && !of_heads ? qd_model_block_tensor(model, block, name, ".bias") : NULL;
    qd_code code =
        of_heads && d->ops->head_norm == QD_HEAD_NORM_OWN
            ? load_own_norms(model, block, name, place == QD_NORM_Q ? d->heads : d->kv_heads, &out->weight, err)
            : qd_load_row(qd_model_block_tensor(model, block, name, ".weight"), &out->weight, err);
    return code == QD_OK ? qd_norm_finish(d, bias, out, err) : code;
}

/* ---- linears ---- */

qd_code qd_linear_read(const qd_model *model, size_t index, const qd_overlay *overlay, qd_matf out, qd_error *err)
{
    const qd_linear *linear = qd_model_linear_at(model, index);
    assert(out.rows == linear->out && out.cols == linear->in && out.ld == out.cols);
    if (overlay != NULL)
        return overlay->weight(overlay->ctx, index, linear, out, err);
    if (linear->weight == NULL)
        return qd_fail(err, QD_ENOTFOUND, "'%s' has no stored weight", linear->name);
    return qd_load_finite(linear->weight, out.data, err);
}

/* Widened in the room, packed from there: rooms are larger than caches, and fresh memory costs more than what is done in it. */
static qd_code load_packed(const qd_model *model, size_t index, const qd_overlay *overlay, float *room, qd_packed **out,
                           qd_error *err)
{
    const qd_linear *linear = qd_model_linear_at(model, index);
    qd_matf widened = qd_matf_view(room, linear->out, linear->in);
    qd_code code = qd_linear_read(model, index, overlay, widened, err);
    return code == QD_OK ? qd_packed_create(qd_matf_const(widened), out, err) : code;
}

static qd_code load_dense(const qd_model *model, size_t index, const qd_overlay *overlay, float *room, qd_dense *out,
                          qd_error *err)
{
    const qd_linear *linear = qd_model_linear_at(model, index);
    qd_code code = QD_OK;
    if (room != NULL)
        code = load_packed(model, index, overlay, room, &out->packed, err);
    else {
        code = qd_matf_buf_init(&out->weight, linear->out, linear->in, err);
        if (code == QD_OK)
            code = qd_linear_read(model, index, overlay, out->weight.view, err);
    }
    if (code == QD_OK && linear->bias != NULL)
        code = qd_load_row(linear->bias, &out->bias, err);
    return code;
}

static qd_code init_linears(qd_block *b, qd_error *err)
{
    qd_code code = qd_alloc(b->count, sizeof *b->linears, (void **)&b->linears, err);
    return code == QD_OK ? qd_alloc(b->count, sizeof *b->own.linears, (void **)&b->own.linears, err) : code;
}

static qd_code load_linears(const qd_model *model, size_t block, const qd_overlay *overlay, qd_arithmetic arithmetic,
                            qd_block *b, qd_error *err)
{
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf room = { 0 };
    size_t first = qd_model_block_first(model, block), most = 0;
    b->count = qd_model_block_size(model, block);
    b->list = qd_model_linear_at(model, first);
    qd_code code = init_linears(b, err);
    for (size_t k = 0; k < b->count; k++)
        most = qd_max_size(most, b->list[k].out * b->list[k].in);
    if (code == QD_OK && arithmetic == QD_ARITHMETIC_BFLOAT16)
        code = qd_matf_buf_init(&room, 1, most, err);
    for (size_t k = 0; code == QD_OK && k < b->count; k++) {
        code = load_dense(model, first + k, overlay, room.view.data, &b->own.linears[k], err);
        b->linears[k] = &b->own.linears[k];
        if (b->list[k].expert == QD_NO_EXPERT)
            b->slots[qd_model_slot(model, first + k)] = &b->linears[k];
    }
    return code;
}

/* Of a block that only holds weights. */
static const qd_layer nothing = { 0 };

qd_code qd_block_load(const qd_model *model, size_t block, const qd_overlay *overlay, qd_arithmetic arithmetic,
                      qd_block **out, qd_error *err)
{
    qd_block *b = NULL;
    qd_code code = qd_alloc(1, sizeof *b, (void **)&b, err);
    if (code != QD_OK)
        return code;
    b->decoder = qd_model_decoder(model);
    b->layer = qd_model_is_known(model) ? &b->decoder->layers[block] : &nothing;
    b->norms = b->own.norms;
    b->arithmetic = arithmetic;
    for (size_t place = 0; code == QD_OK && place < QD_NORM_PLACES; place++)
        code = load_norm(model, block, (qd_norm_place)place, &b->own.norms[place], err);
    if (code == QD_OK)
        code = load_linears(model, block, overlay, arithmetic, b, err);
    if (code == QD_OK && b->layer->experts > 0)
        code = qd_block_load_mixture(model, block, b, err);
    if (code != QD_OK) {
        qd_block_destroy(b);
        return code;
    }
    *out = b;
    return QD_OK;
}

/* ---- two blocks of the same weights ---- */

qd_code qd_block_share(const qd_block *of, qd_block **out, qd_error *err)
{
    qd_block *b = NULL;
    qd_code code = qd_alloc(1, sizeof *b, (void **)&b, err);
    if (code != QD_OK)
        return code;
    *b = (qd_block){ .decoder = of->decoder,
                     .layer = of->layer,
                     .count = of->count,
                     .list = of->list,
                     .norms = of->norms,
                     .arithmetic = of->arithmetic,
                     .mixture = of->mixture };
    code = init_linears(b, err);
    if (code != QD_OK) {
        qd_block_destroy(b);
        return code;
    }
    memcpy(b->linears, of->linears, b->count * sizeof *b->linears);
    for (size_t slot = 0; slot < QD_SLOTS; slot++)
        if (of->slots[slot] != NULL)
            b->slots[slot] = b->linears + (of->slots[slot] - of->linears);
    if (of->mixture.linears != NULL)
        b->mixture.linears = b->linears + (of->mixture.linears - of->linears);
    *out = b;
    return QD_OK;
}

static qd_code copy_matrix(qd_cmatf from, qd_matf_buf *out, qd_error *err)
{
    qd_code code = out->view.data == NULL ? qd_matf_buf_init(out, from.rows, from.cols, err) : QD_OK;
    for (size_t i = 0; code == QD_OK && i < from.rows; i++)
        memcpy(qd_matf_row(out->view, i), qd_cmatf_row(from, i), from.cols * sizeof(float));
    return code;
}

static qd_code repack(qd_cmatf weight, qd_packed **packed, qd_error *err)
{
    qd_packed *made = NULL;
    qd_code code = qd_packed_create(weight, &made, err);
    if (code != QD_OK)
        return code;
    qd_packed_destroy(*packed);
    *packed = made;
    return QD_OK;
}

qd_code qd_block_set_weight(qd_block *block, size_t k, qd_cmatf weight, qd_error *err)
{
    const qd_dense *used = block->linears[k];
    qd_dense *own = &block->own.linears[k];
    assert(weight.rows == block->list[k].out && weight.cols == block->list[k].in);
    qd_code code = used->packed != NULL ? repack(weight, &own->packed, err) : copy_matrix(weight, &own->weight, err);
    if (code == QD_OK && used != own && used->bias.view.data != NULL)
        code = copy_matrix(qd_matf_const(used->bias.view), &own->bias, err);
    if (code == QD_OK)
        block->linears[k] = own;
    return code;
}

qd_matf qd_block_weight(qd_block *block, size_t k)
{
    assert(block->linears[k] == &block->own.linears[k] && block->own.linears[k].packed == NULL);
    return block->own.linears[k].weight.view;
}

/* ---- groups ---- */

size_t qd_block_groups(const qd_block *block)
{
    return block->list[block->count - 1].group + 1;
}

size_t qd_block_group_width(const qd_block *block, size_t group)
{
    for (size_t k = 0; k < block->count; k++)
        if (block->list[k].group == group)
            return block->list[k].in;
    return 0;
}

bool qd_block_group_writes_residual(const qd_block *block, size_t group)
{
    return group == QD_GROUP_O || group + 1 == qd_block_groups(block);
}

bool qd_block_group_adds_output(const qd_block *block, size_t group)
{
    static const qd_norm_place around[2][2] = { { QD_NORM_ON_ATTENTION, QD_NORM_AFTER_ATTENTION },
                                                { QD_NORM_ON_MLP, QD_NORM_AFTER_MLP } };
    const qd_norm_place *places = around[group == QD_GROUP_O ? 0 : 1];
    return qd_block_group_writes_residual(block, group) && qd_block_group_expert(block, group) == QD_NO_EXPERT &&
           block->decoder->norms[places[0]] == NULL && block->decoder->norms[places[1]] == NULL &&
           block->decoder->branch_scale == 1;
}
