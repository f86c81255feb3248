/* block.c: a block's weights and its walk, group by group: see arch.h. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "linalg/vexp.h"
#include "model/arch_private.h"

struct qd_block {
    const qd_decoder *decoder;
    qd_dense slots[QD_SLOTS];
    qd_matf_buf norm_before_attention, norm_before_mlp; /* 1 x D */
};

struct qd_scratch {
    qd_matf_buf q, k, v, scores, up, cosine, sine;
    qd_matf_buf inputs[2]; /* of two neighbouring groups, for whole-block calls */
};

void qd_block_destroy(qd_block *block)
{
    if (block == NULL)
        return;
    for (size_t i = 0; i < QD_SLOTS; i++)
        qd_dense_fini(&block->slots[i]);
    qd_matf_buf_fini(&block->norm_before_attention);
    qd_matf_buf_fini(&block->norm_before_mlp);
    free(block);
}

/* Widens a tensor; only where a value is not finite is it read again, to name the element. */
static qd_code load_finite(const qd_tensor *tensor, float *out, qd_error *err)
{
    qd_code code = qd_tensor_to_floats(tensor, out, err);
    if (code != QD_OK || qd_all_finite(out, (size_t)tensor->elements))
        return code;
    return qd_tensor_check_finite(tensor, err);
}

/* A 1 x n row from a tensor. */
static qd_code load_row(const qd_tensor *tensor, qd_matf_buf *out, qd_error *err)
{
    qd_code code = qd_matf_buf_init(out, 1, (size_t)tensor->elements, err);
    return code == QD_OK ? load_finite(tensor, out->view.data, err) : code;
}

static qd_code load_dense(const qd_model *model, size_t index, const qd_overlay *overlay, qd_dense *out, qd_error *err)
{
    const qd_linear *linear = qd_model_linear_at(model, index);
    qd_code code = qd_matf_buf_init(&out->weight, linear->out, linear->in, err);
    if (code == QD_OK && overlay != NULL)
        code = overlay->weight(overlay->ctx, index, linear, out->weight.view, err);
    else if (code == QD_OK && linear->weight == NULL)
        code = qd_fail(err, QD_ENOTFOUND, "'%s' has no stored weight", linear->name);
    else if (code == QD_OK)
        code = load_finite(linear->weight, out->weight.view.data, err);
    if (code == QD_OK && linear->bias != NULL)
        code = load_row(linear->bias, &out->bias, err);
    return code;
}

qd_code qd_block_load(const qd_model *model, size_t block, const qd_overlay *overlay, qd_block **out, qd_error *err)
{
    qd_block *b = NULL;
    qd_code code = qd_alloc(1, sizeof *b, (void **)&b, err);
    if (code != QD_OK)
        return code;
    const struct qd_arch_ops *ops = qd_model_arch(model)->ops;
    b->decoder = qd_model_decoder(model);
    code = load_row(qd_model_block_tensor(model, block, ops->norm_before_attention), &b->norm_before_attention, err);
    if (code == QD_OK)
        code = load_row(qd_model_block_tensor(model, block, ops->norm_before_mlp), &b->norm_before_mlp, err);
    for (size_t k = 0; code == QD_OK && k < QD_SLOTS; k++)
        code = load_dense(model, qd_model_block_first(model, block) + k, overlay, &b->slots[k], err);
    if (code != QD_OK) {
        qd_block_destroy(b);
        return code;
    }
    *out = b;
    return QD_OK;
}

qd_matf qd_block_weight(qd_block *block, size_t k)
{
    return block->slots[k].weight.view;
}

size_t qd_block_groups(const qd_block *block)
{
    (void)block;
    return QD_GROUPS;
}

size_t qd_block_group_width(const qd_block *block, size_t group)
{
    static const qd_slot first[QD_GROUPS] = { QD_SLOT_Q, QD_SLOT_O, QD_SLOT_GATE, QD_SLOT_DOWN };
    return qd_slot_in(block->decoder, first[group]);
}

bool qd_block_group_writes_residual(const qd_block *block, size_t group)
{
    (void)block;
    return group == QD_GROUP_O || group == QD_GROUP_DOWN;
}

qd_code qd_scratch_create(const qd_model *model, size_t max_tokens, qd_scratch **out, qd_error *err)
{
    const qd_decoder *d = qd_model_decoder(model);
    qd_scratch *s = NULL;
    qd_code code = qd_alloc(1, sizeof *s, (void **)&s, err);
    if (code != QD_OK)
        return code;
    size_t widest = qd_max_size(qd_max_size(d->hidden, d->intermediate), d->heads * d->head_dim);
    const struct {
        qd_matf_buf *buf;
        size_t rows, cols;
    } parts[] = {
        { &s->q, max_tokens, d->heads * d->head_dim },
        { &s->k, max_tokens, d->kv_heads * d->head_dim },
        { &s->v, max_tokens, d->kv_heads * d->head_dim },
        { &s->scores, QD_ATTENTION_ROWS, max_tokens },
        { &s->up, max_tokens, d->intermediate },
        { &s->cosine, max_tokens, d->rope.dimensions / 2 },
        { &s->sine, max_tokens, d->rope.dimensions / 2 },
        { &s->inputs[0], max_tokens, widest },
        { &s->inputs[1], max_tokens, widest },
    };
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(parts); i++)
        code = qd_matf_buf_init(parts[i].buf, parts[i].rows, parts[i].cols, err);
    if (code != QD_OK) {
        qd_scratch_destroy(s);
        return code;
    }
    qd_rope_tables(&d->rope, s->cosine.view, s->sine.view);
    *out = s;
    return QD_OK;
}

void qd_scratch_destroy(qd_scratch *scratch)
{
    if (scratch == NULL)
        return;
    qd_matf_buf *parts[] = { &scratch->q,      &scratch->k,    &scratch->v,         &scratch->scores,   &scratch->up,
                             &scratch->cosine, &scratch->sine, &scratch->inputs[0], &scratch->inputs[1] };
    for (size_t i = 0; i < QD_LENGTH(parts); i++)
        qd_matf_buf_fini(parts[i]);
    free(scratch);
}

static qd_matf rows_of(qd_matf_buf *buf, size_t rows)
{
    return qd_matf_block(buf->view, 0, 0, rows, buf->view.cols);
}

static void run_attention(const qd_block *b, qd_cmatf input, qd_scratch *s, qd_matf out)
{
    const qd_decoder *d = b->decoder;
    size_t length = input.rows;
    qd_matf q = rows_of(&s->q, length), k = rows_of(&s->k, length), v = rows_of(&s->v, length);
    qd_cmatf cosine = qd_matf_const(s->cosine.view), sine = qd_matf_const(s->sine.view);
    qd_dense_apply(&b->slots[QD_SLOT_Q], input, QD_SET, q);
    qd_dense_apply(&b->slots[QD_SLOT_K], input, QD_SET, k);
    qd_dense_apply(&b->slots[QD_SLOT_V], input, QD_SET, v);
    qd_rope_apply(&d->rope, cosine, sine, d->head_dim, q);
    qd_rope_apply(&d->rope, cosine, sine, d->head_dim, k);
    const qd_attention attention = {
        d->heads, d->kv_heads, d->head_dim, d->window, 1.0f / __builtin_sqrtf((float)d->head_dim),
    };
    qd_attention_apply(&attention, qd_matf_const(q), qd_matf_const(k), qd_matf_const(v), s->scores.view, out);
}

static void run_gate(const qd_block *b, qd_cmatf input, qd_scratch *s, qd_matf out)
{
    qd_matf up = rows_of(&s->up, input.rows);
    qd_dense_apply(&b->slots[QD_SLOT_GATE], input, QD_SET, out);
    qd_dense_apply(&b->slots[QD_SLOT_UP], input, QD_SET, up);
    for (size_t t = 0; t < out.rows; t++)
        qd_silu_multiply(qd_matf_row(out, t), qd_matf_row(up, t), out.cols);
}

static qd_code check_length(const qd_scratch *scratch, size_t length, qd_error *err)
{
    if (length > scratch->q.view.rows)
        return qd_fail(err, QD_ESHAPE, "sequence of %zu tokens, the scratch holds %zu", length, scratch->q.view.rows);
    return QD_OK;
}

qd_code qd_block_enter(const qd_block *block, qd_matf residual, qd_scratch *scratch, qd_matf out_input, qd_error *err)
{
    qd_code code = check_length(scratch, residual.rows, err);
    if (code == QD_OK)
        qd_rms_norm(qd_matf_const(residual), block->norm_before_attention.view.data, block->decoder->eps, out_input);
    return code;
}

qd_code qd_block_advance(const qd_block *block, size_t group, qd_matf residual, qd_cmatf input, qd_scratch *scratch,
                         qd_matf out_input, qd_error *err)
{
    assert(group < QD_GROUPS && input.cols == qd_block_group_width(block, group));
    qd_code code = check_length(scratch, residual.rows, err);
    if (code != QD_OK)
        return code;
    switch (group) {
    case QD_GROUP_QKV:
        run_attention(block, input, scratch, out_input);
        break;
    case QD_GROUP_O:
        qd_dense_apply(&block->slots[QD_SLOT_O], input, QD_ADD, residual);
        qd_rms_norm(qd_matf_const(residual), block->norm_before_mlp.view.data, block->decoder->eps, out_input);
        break;
    case QD_GROUP_MLP:
        run_gate(block, input, scratch, out_input);
        break;
    default:
        qd_dense_apply(&block->slots[QD_SLOT_DOWN], input, QD_ADD, residual);
    }
    return QD_OK;
}

qd_code qd_block_forward(const qd_block *block, qd_matf residual, qd_scratch *scratch, qd_error *err)
{
    size_t rows = residual.rows;
    qd_code code = check_length(scratch, rows, err);
    qd_matf input = qd_matf_view(scratch->inputs[0].view.data, rows, qd_block_group_width(block, 0));
    if (code == QD_OK)
        code = qd_block_enter(block, residual, scratch, input, err);
    for (size_t g = 0; code == QD_OK && g < QD_GROUPS; g++) {
        size_t width = g + 1 < QD_GROUPS ? qd_block_group_width(block, g + 1) : 0;
        qd_matf next = qd_matf_view(scratch->inputs[(g + 1) % 2].view.data, width == 0 ? 0 : rows, width);
        code = qd_block_advance(block, g, residual, qd_matf_const(input), scratch, next, err);
        input = next;
    }
    return code;
}
