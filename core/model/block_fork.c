/* block_fork.c: several continuations of one text through a block: what they share is computed once. Everything but attention is row by row, and
 * attention takes each branch with a copy of the trunk's keys and values before its own. */
#include <string.h>

#include "base/mem.h"
#include "model/block_private.h"

size_t qd_fork_rows(const qd_fork *fork)
{
    size_t rows = fork->trunk;
    for (size_t i = 0; i < fork->count; i++)
        rows += fork->branches[i];
    return rows;
}

size_t qd_model_length_form(const qd_model *model, size_t length)
{
    const qd_decoder *d = qd_model_decoder(model);
    size_t form = 0;
    for (size_t i = 0; i < QD_ROPES; i++)
        if (d->ropes[i].dimensions > 0)
            form = form * 1000003 + qd_rope_form(&d->ropes[i], length);
    return form;
}

static size_t longest_path(const qd_fork *fork)
{
    size_t longest = 0;
    for (size_t i = 0; i < fork->count; i++)
        longest = qd_max_size(longest, fork->branches[i]);
    return fork->trunk + longest;
}

/* Rows [first, first + count) of a view. */
static qd_matf rows_at(qd_matf x, size_t first, size_t count)
{
    return qd_matf_block(x, first, 0, count, x.cols);
}

/* Rows that stand at `position` and behind it. */
static void rotate(const qd_block *b, const qd_rope_table *table, size_t position, qd_matf x)
{
    const qd_decoder *d = b->decoder;
    size_t half = table->cosine.view.cols;
    qd_cmatf cosine = qd_cmatf_block(qd_matf_const(table->cosine.view), position, 0, x.rows, half);
    qd_cmatf sine = qd_cmatf_block(qd_matf_const(table->sine.view), position, 0, x.rows, half);
    qd_rope_apply(&d->ropes[b->layer->rope], cosine, sine, d->head_dim, x);
}

static void copy_rows(qd_matf from, qd_matf to)
{
    for (size_t t = 0; t < from.rows; t++)
        memcpy(qd_matf_row(to, t), qd_matf_row(from, t), from.cols * sizeof(float));
}

void qd_block_attend_fork(const qd_block *block, const qd_attention *attention, const qd_heads *heads,
                          qd_scratch *scratch, qd_matf out)
{
    const qd_fork *fork = scratch->fork;
    const qd_rope_table *table = qd_block_rope(block, longest_path(fork), scratch);
    size_t trunk = fork->trunk, at = trunk;
    qd_matf k = rows_at(heads->k, 0, trunk), v = rows_at(heads->v, 0, trunk), q = rows_at(heads->q, 0, trunk);
    if (table != NULL) {
        rotate(block, table, 0, q);
        rotate(block, table, 0, k);
    }
    qd_attention_apply(attention, qd_matf_const(q), qd_matf_const(k), qd_matf_const(v), scratch->room.view,
                       rows_at(out, 0, trunk));
    copy_rows(k, rows_at(scratch->path_k.view, 0, trunk));
    copy_rows(v, rows_at(scratch->path_v.view, 0, trunk));
    for (size_t i = 0; i < fork->count; at += fork->branches[i++]) {
        size_t rows = fork->branches[i];
        q = rows_at(heads->q, at, rows);
        k = rows_at(heads->k, at, rows);
        if (table != NULL) {
            rotate(block, table, trunk, q);
            rotate(block, table, trunk, k);
        }
        copy_rows(k, rows_at(scratch->path_k.view, trunk, rows));
        copy_rows(rows_at(heads->v, at, rows), rows_at(scratch->path_v.view, trunk, rows));
        qd_attention_apply(attention, qd_matf_const(q), qd_matf_const(rows_at(scratch->path_k.view, 0, trunk + rows)),
                           qd_matf_const(rows_at(scratch->path_v.view, 0, trunk + rows)), scratch->room.view,
                           rows_at(out, at, rows));
    }
}

/* Made at the first fork: calibration has none. */
static qd_code need_paths(const qd_block *block, qd_scratch *s, qd_error *err)
{
    size_t width = block->decoder->kv_heads * block->decoder->head_dim;
    qd_code code = QD_OK;
    if (s->path_k.view.rows == 0)
        code = qd_matf_buf_init(&s->path_k, s->max_tokens, width, err);
    if (code == QD_OK && s->path_v.view.rows == 0)
        code = qd_matf_buf_init(&s->path_v, s->max_tokens, width, err);
    return code;
}

qd_code qd_block_forward_fork(const qd_block *block, const qd_fork *fork, qd_matf residual, qd_scratch *scratch,
                              qd_error *err)
{
    assert(residual.rows == qd_fork_rows(fork) && fork->trunk > 0);
    qd_code code = need_paths(block, scratch, err);
    if (code != QD_OK)
        return code;
    scratch->fork = fork;
    code = qd_block_forward(block, residual, scratch, err);
    scratch->fork = NULL;
    return code;
}

qd_code qd_model_embed_fork(const qd_model *model, const qd_fork *fork, const uint32_t *ids, qd_matf out, qd_error *err)
{
    qd_code code = qd_model_embed(model, ids, rows_at(out, 0, fork->trunk), err);
    size_t at = fork->trunk;
    for (size_t i = 0; code == QD_OK && i < fork->count; at += fork->branches[i++])
        code = qd_model_embed_from(model, ids + at, fork->trunk, rows_at(out, at, fork->branches[i]), err);
    return code;
}
