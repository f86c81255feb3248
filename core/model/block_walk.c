/* block_walk.c: a sequence through a block, group by group: see arch.h. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "linalg/rows.h"
#include "model/block_private.h"

/* ---- working memory ---- */

static void fini_parts(qd_scratch *s)
{
    qd_matf_buf *parts[] = { &s->q,      &s->k,         &s->v,         &s->room,   &s->fused, &s->up,
                             &s->branch, &s->inputs[0], &s->inputs[1], &s->path_k, &s->path_v };
    for (size_t i = 0; i < QD_LENGTH(parts); i++)
        qd_matf_buf_fini(parts[i]);
    qd_expert_room_fini(&s->experts);
    for (size_t i = 0; i < QD_ROPES; i++) {
        qd_matf_buf_fini(&s->ropes[i].cosine);
        qd_matf_buf_fini(&s->ropes[i].sine);
    }
}

void qd_scratch_destroy(qd_scratch *scratch)
{
    if (scratch == NULL)
        return;
    fini_parts(scratch);
    free(scratch);
}

static qd_code init_ropes(const qd_decoder *d, qd_scratch *s, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < QD_ROPES; i++) {
        qd_rope_table *table = &s->ropes[i];
        size_t half = d->ropes[i].dimensions / 2;
        if (half == 0)
            continue;
        code = qd_matf_buf_init(&table->cosine, s->max_tokens, half, err);
        if (code == QD_OK)
            code = qd_matf_buf_init(&table->sine, s->max_tokens, half, err);
        if (code == QD_OK)
            qd_rope_tables(&d->ropes[i], 0, table->cosine.view, table->sine.view);
    }
    return code;
}

static bool alters_branches(const qd_decoder *d)
{
    return d->branch_scale != 1 || d->norms[QD_NORM_ON_ATTENTION] != NULL || d->norms[QD_NORM_ON_MLP] != NULL;
}

/* Columns of the widest fused linear; 0 = none is fused. */
static size_t fused_width(const qd_decoder *d)
{
    size_t width = d->ops->names.linears[QD_SLOT_QKV] == NULL ? 0 : qd_slot_out(d, QD_SLOT_QKV, QD_NO_EXPERT);
    size_t gate = d->ops->names.linears[QD_SLOT_GATE_UP] == NULL ? 0 : qd_slot_out(d, QD_SLOT_GATE_UP, QD_NO_EXPERT);
    return qd_max_size(width, gate);
}

static qd_code init_parts(const qd_decoder *d, qd_scratch *s, qd_error *err)
{
    size_t q = d->heads * d->head_dim, kv = d->kv_heads * d->head_dim;
    size_t widest = qd_max_size(qd_max_size(d->hidden, d->intermediate), q);
    const struct {
        qd_matf_buf *buf;
        size_t rows, cols;
    } parts[] = {
        { &s->q, s->max_tokens, q },
        { &s->k, s->max_tokens, kv },
        { &s->v, s->max_tokens, kv },
        { &s->room, qd_attention_room(d->head_dim, s->max_tokens), QD_ATTENTION_LANES },
        { &s->fused, s->max_tokens, fused_width(d) },
        { &s->up, s->max_tokens, d->ops->names.linears[QD_SLOT_GATE] == NULL ? 0 : d->intermediate },
        { &s->branch, s->max_tokens, alters_branches(d) ? d->hidden : 0 },
        { &s->inputs[0], s->max_tokens, widest },
        { &s->inputs[1], s->max_tokens, widest },
    };
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(parts); i++)
        if (parts[i].cols != 0)
            code = qd_matf_buf_init(parts[i].buf, parts[i].rows, parts[i].cols, err);
    return code == QD_OK && d->experts > 0 ? qd_expert_room_init(s->max_tokens, d->hidden, d->expert_intermediate,
                                                                 d->experts, d->experts_used, &s->experts, err)
                                           : code;
}

qd_code qd_scratch_create(const qd_model *model, size_t max_tokens, qd_scratch **out, qd_error *err)
{
    const qd_decoder *d = qd_model_decoder(model);
    qd_scratch *s = NULL;
    qd_code code = qd_model_need_forward(model, err);
    if (code == QD_OK)
        code = qd_alloc(1, sizeof *s, (void **)&s, err);
    if (code != QD_OK)
        return code;
    s->max_tokens = max_tokens;
    code = init_parts(d, s, err);
    if (code == QD_OK)
        code = init_ropes(d, s, err);
    if (code != QD_OK) {
        qd_scratch_destroy(s);
        return code;
    }
    *out = s;
    return QD_OK;
}

/* ---- attention ---- */

const qd_rope_table *qd_block_rope(const qd_block *block, size_t length, qd_scratch *scratch)
{
    if (block->layer->rope == QD_NO_ROPE)
        return NULL;
    const qd_rope *rope = &block->decoder->ropes[block->layer->rope];
    qd_rope_table *table = &scratch->ropes[block->layer->rope];
    size_t form = qd_rope_form(rope, length);
    if (form != table->form) {
        qd_rope_tables(rope, length, table->cosine.view, table->sine.view);
        table->form = form;
    }
    return table;
}

/* Columns of part `part` of head `head` in rows ordered head by head, to columns of their own. */
static void gather_head(qd_cmatf fused, size_t head, size_t part, size_t head_dim, qd_matf out)
{
    for (size_t t = 0; t < fused.rows; t++)
        memcpy(qd_matf_row(out, t) + head * head_dim, qd_cmatf_row(fused, t) + (3 * head + part) * head_dim,
               head_dim * sizeof(float));
}

static void split_by_head(const qd_decoder *d, qd_cmatf fused, const qd_heads *out)
{
    for (size_t h = 0; h < d->heads; h++) {
        gather_head(fused, h, 0, d->head_dim, out->q);
        gather_head(fused, h, 1, d->head_dim, out->k);
        gather_head(fused, h, 2, d->head_dim, out->v);
    }
}

static qd_heads run_fused(const qd_block *b, qd_operand input, qd_scratch *s)
{
    const qd_decoder *d = b->decoder;
    size_t rows = input.rows, q = d->heads * d->head_dim, kv = d->kv_heads * d->head_dim;
    qd_matf fused = qd_matf_block(s->fused.view, 0, 0, rows, q + 2 * kv);
    qd_dense_apply(*b->slots[QD_SLOT_QKV], input, QD_SET, fused);
    qd_heads heads = { qd_rows_of(&s->q, rows), qd_rows_of(&s->k, rows), qd_rows_of(&s->v, rows) };
    if (d->ops->fused_rows == QD_FUSED_BY_HEAD)
        split_by_head(d, qd_matf_const(fused), &heads);
    else
        heads = (qd_heads){ qd_matf_block(fused, 0, 0, rows, q), qd_matf_block(fused, 0, q, rows, kv),
                            qd_matf_block(fused, 0, q + kv, rows, kv) };
    return heads;
}

static qd_heads run_separate(const qd_block *b, qd_operand input, qd_scratch *s)
{
    size_t rows = input.rows;
    const qd_heads heads = { qd_rows_of(&s->q, rows), qd_rows_of(&s->k, rows), qd_rows_of(&s->v, rows) };
    const qd_dense *const dense[] = { *b->slots[QD_SLOT_Q], *b->slots[QD_SLOT_K], *b->slots[QD_SLOT_V] };
    qd_dense_apply_all(dense, QD_LENGTH(dense), input, (const qd_matf[]){ heads.q, heads.k, heads.v });
    return heads;
}

qd_heads qd_block_heads(const qd_block *block, qd_operand input, qd_scratch *scratch)
{
    qd_heads heads =
        block->slots[QD_SLOT_QKV] != NULL ? run_fused(block, input, scratch) : run_separate(block, input, scratch);
    if (block->decoder->norms[QD_NORM_Q] != NULL)
        qd_norm_apply(&block->norms[QD_NORM_Q], qd_matf_const(heads.q), heads.q);
    if (block->decoder->norms[QD_NORM_K] != NULL)
        qd_norm_apply(&block->norms[QD_NORM_K], qd_matf_const(heads.k), heads.k);
    return heads;
}

static void run_attention(const qd_block *b, qd_operand input, qd_scratch *s, qd_matf out)
{
    const qd_decoder *d = b->decoder;
    qd_heads heads = qd_block_heads(b, input, s);
    const qd_attention attention = {
        d->heads, d->kv_heads, d->head_dim, b->layer->window, b->layer->score_scale, d->score_cap, b->arithmetic,
    };
    if (s->fork != NULL) {
        qd_block_attend_fork(b, &attention, &heads, s, out);
        return;
    }
    if (s->step != NULL) {
        qd_step_attend(s->step, &attention, &heads, out);
        return;
    }
    const qd_rope_table *table = qd_block_rope(b, input.rows, s);
    if (table != NULL) {
        const qd_rope *rope = &d->ropes[b->layer->rope];
        qd_cmatf cosine = qd_matf_const(table->cosine.view), sine = qd_matf_const(table->sine.view);
        qd_rope_apply(rope, cosine, sine, d->head_dim, heads.q);
        qd_rope_apply(rope, cosine, sine, d->head_dim, heads.k);
    }
    qd_attention_apply(&attention, qd_matf_const(heads.q), qd_matf_const(heads.k), qd_matf_const(heads.v), s->room.view,
                       out);
}

/* ---- norms and branches ---- */

void qd_block_norm(const qd_block *block, qd_norm_place place, qd_cmatf x, qd_matf out)
{
    if (block->decoder->norms[place] != NULL)
        qd_norm_apply(&block->norms[place], x, out);
    else
        for (size_t t = 0; out.data != x.data && t < x.rows; t++)
            memcpy(qd_matf_row(out, t), qd_cmatf_row(x, t), x.cols * sizeof(float));
}

void qd_block_add_branch(const qd_block *block, qd_slot slot, qd_operand input, qd_scratch *scratch, qd_matf residual)
{
    const qd_decoder *d = block->decoder;
    qd_norm_place on = slot == QD_SLOT_O ? QD_NORM_ON_ATTENTION : QD_NORM_ON_MLP;
    qd_norm_place after = slot == QD_SLOT_O ? QD_NORM_AFTER_ATTENTION : QD_NORM_AFTER_MLP;
    if (!alters_branches(d))
        qd_dense_apply(*block->slots[slot], input, QD_ADD, residual);
    else {
        qd_matf branch = qd_rows_of(&scratch->branch, residual.rows);
        qd_dense_apply(*block->slots[slot], input, QD_SET, branch);
        qd_block_norm(block, on, qd_matf_const(branch), branch);
        const qd_rows *f = qd_rows_best();
        for (size_t t = 0; t < residual.rows; t++)
            f->add(d->branch_scale, qd_matf_row(branch, t), residual.cols, qd_matf_row(residual, t));
    }
    qd_block_norm(block, after, qd_matf_const(residual), residual);
}

void qd_block_mlp_input(const qd_block *block, qd_cmatf residual, qd_matf out)
{
    qd_block_norm(block, block->decoder->residual == QD_RESIDUAL_SHARED ? QD_NORM_BEFORE_ATTENTION : QD_NORM_BEFORE_MLP,
                  residual, out);
}

/* ---- MLP ---- */

void qd_block_run_mlp(const qd_block *block, qd_operand input, qd_scratch *scratch, qd_matf out)
{
    const qd_activation *f = block->decoder->activation;
    size_t rows = input.rows;
    if (block->slots[QD_SLOT_GATE_UP] != NULL) {
        qd_matf fused = qd_matf_block(scratch->fused.view, 0, 0, rows, 2 * out.cols);
        qd_dense_apply(*block->slots[QD_SLOT_GATE_UP], input, QD_SET, fused);
        for (size_t t = 0; t < rows; t++) {
            float *gate = qd_matf_row(out, t), *both = qd_matf_row(fused, t);
            memcpy(gate, both, out.cols * sizeof *gate);
            f->multiply(gate, both + out.cols, out.cols);
        }
    } else if (block->slots[QD_SLOT_GATE] != NULL) {
        if (qd_dense_apply_gated(*block->slots[QD_SLOT_GATE], *block->slots[QD_SLOT_UP], input, f->multiply, out))
            return;
        qd_matf up = qd_rows_of(&scratch->up, rows);
        const qd_dense *const dense[] = { *block->slots[QD_SLOT_GATE], *block->slots[QD_SLOT_UP] };
        qd_dense_apply_all(dense, QD_LENGTH(dense), input, (const qd_matf[]){ out, up });
        for (size_t t = 0; t < rows; t++)
            f->multiply(qd_matf_row(out, t), qd_matf_row(up, t), out.cols);
    } else {
        qd_dense_apply(*block->slots[QD_SLOT_UP], input, QD_SET, out);
        for (size_t t = 0; t < rows; t++)
            qd_activation_apply(f, qd_matf_row(out, t), out.cols);
    }
}

/* ---- the walk ---- */

static qd_code check_length(const qd_scratch *scratch, size_t length, qd_error *err)
{
    if (length > scratch->max_tokens)
        return qd_fail(err, QD_ESHAPE, "sequence of %zu tokens, the scratch holds %zu", length, scratch->max_tokens);
    return QD_OK;
}

qd_code qd_block_enter(const qd_block *block, qd_matf residual, qd_scratch *scratch, qd_matf out_input, qd_error *err)
{
    qd_code code = check_length(scratch, residual.rows, err);
    if (code == QD_OK)
        qd_block_norm(block, QD_NORM_BEFORE_ATTENTION, qd_matf_const(residual), out_input);
    return code;
}

static void add_attention(const qd_block *block, qd_matf residual, qd_operand input, qd_scratch *scratch,
                          qd_matf out_input)
{
    bool before = block->decoder->residual != QD_RESIDUAL_SEQUENTIAL;
    if (before)
        qd_block_mlp_input(block, qd_matf_const(residual), out_input);
    qd_block_add_branch(block, QD_SLOT_O, input, scratch, residual);
    if (!before)
        qd_block_mlp_input(block, qd_matf_const(residual), out_input);
}

qd_code qd_block_advance(const qd_block *block, size_t group, qd_matf residual, qd_operand input, qd_scratch *scratch,
                         qd_matf out_input, qd_error *err)
{
    bool last = group + 1 == qd_block_groups(block);
    assert(group < qd_block_groups(block) &&
           input.cols == qd_block_group_width(block, qd_block_group_place(block, group)));
    qd_code code = check_length(scratch, residual.rows, err);
    if (code != QD_OK)
        return code;
    if (qd_block_group_expert(block, group) != QD_NO_EXPERT) {
        if (last)
            qd_block_add_experts(block, qd_floats_of(input), scratch, residual);
        return QD_OK;
    }
    switch (group) {
    case QD_GROUP_QKV:
        run_attention(block, input, scratch, out_input);
        break;
    case QD_GROUP_O:
        add_attention(block, residual, input, scratch, out_input);
        break;
    case QD_GROUP_MLP:
        qd_block_run_mlp(block, input, scratch, out_input);
        break;
    default:
        qd_block_add_branch(block, QD_SLOT_DOWN, input, scratch, residual);
    }
    return QD_OK;
}

bool qd_block_group_is_rowwise(const qd_block *block, size_t group)
{
    return group != QD_GROUP_QKV && block->decoder->experts == 0;
}

qd_code qd_block_forward(const qd_block *block, qd_matf residual, qd_scratch *scratch, qd_error *err)
{
    size_t rows = residual.rows, groups = qd_block_groups(block);
    qd_code code = check_length(scratch, rows, err);
    qd_matf input = qd_matf_view(scratch->inputs[0].view.data, rows, qd_block_group_width(block, 0));
    if (code == QD_OK)
        code = qd_block_enter(block, residual, scratch, input, err);
    for (size_t g = 0; code == QD_OK && g < groups; g++) {
        if (g + 1 < groups && qd_block_group_place(block, g + 1) == qd_block_group_place(block, g))
            continue; /* all experts at once, at the last of their groups */
        size_t width = g + 1 < groups ? qd_block_group_width(block, g + 1) : 0;
        qd_matf next = qd_matf_view(scratch->inputs[(g + 1) % 2].view.data, width == 0 ? 0 : rows, width);
        code = qd_block_advance(block, g, residual, qd_operand_floats(qd_matf_const(input)), scratch, next, err);
        input = next;
    }
    return code;
}
