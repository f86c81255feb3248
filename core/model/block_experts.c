/* block_experts.c: what a block with experts has beside the others: see arch.h, "experts". */
#include <string.h>

#include "model/block_private.h"

qd_code qd_block_load_mixture(const qd_model *model, size_t block, qd_block *b, qd_error *err)
{
    const qd_decoder *d = b->decoder;
    const qd_tensor *router = qd_model_block_tensor(model, block, d->ops->names.router, ".weight");
    size_t first = 0;
    while (b->list[first].expert == QD_NO_EXPERT)
        first++;
    assert(b->count - first == QD_EXPERT_LAYERS * b->layer->experts);
    b->mixture = (qd_mixture){
        .router = &b->own.router,
        .used = d->experts_used,
        .routing = d->routing,
        .linears = b->linears + first,
        .activation = d->activation,
    };
    qd_code code = qd_matf_buf_init(&b->own.router.weight, d->experts, d->hidden, err);
    return code == QD_OK ? qd_load_finite(router, b->own.router.weight.view.data, err) : code;
}

size_t qd_block_group_place(const qd_block *block, size_t group)
{
    return block->layer->experts > 0 && group > QD_GROUP_MLP ? QD_GROUP_MLP : group;
}

size_t qd_block_group_expert(const qd_block *block, size_t group)
{
    return block->layer->experts > 0 && group >= QD_GROUP_MLP ? (group - QD_GROUP_MLP) / 2 : QD_NO_EXPERT;
}

void qd_block_add_experts(const qd_block *block, qd_cmatf input, qd_scratch *scratch, qd_matf residual)
{
    qd_mixture_add(&block->mixture, input, &scratch->experts, residual);
}

static qd_code check_rows(const qd_scratch *scratch, size_t rows, qd_error *err)
{
    if (rows > scratch->max_tokens)
        return qd_fail(err, QD_ESHAPE, "%zu rows for experts, the scratch holds %zu", rows, scratch->max_tokens);
    return QD_OK;
}

qd_code qd_block_route(const qd_block *block, size_t group, qd_cmatf input, qd_scratch *scratch, uint32_t *out_experts,
                       qd_error *err)
{
    assert(qd_block_group_expert(block, group) != QD_NO_EXPERT);
    qd_code code = check_rows(scratch, input.rows, err);
    if (code == QD_OK)
        qd_mixture_choose(&block->mixture, input, scratch->experts.probabilities.view, out_experts,
                          scratch->experts.shares);
    return code;
}

qd_code qd_block_derive(const qd_block *block, size_t group, qd_cmatf picked, qd_scratch *scratch, qd_matf out,
                        qd_error *err)
{
    size_t expert = qd_block_group_expert(block, group);
    assert(out.rows == picked.rows && out.cols == qd_block_group_width(block, group));
    qd_code code = check_rows(scratch, picked.rows, err);
    if (code != QD_OK)
        return code;
    if (expert != QD_NO_EXPERT && (group - QD_GROUP_MLP) % 2 == 1) {
        qd_mixture_gate(&block->mixture, expert, picked, qd_rows_of(&scratch->experts.up, picked.rows), out);
        return QD_OK;
    }
    for (size_t t = 0; t < picked.rows; t++)
        memcpy(qd_matf_row(out, t), qd_cmatf_row(picked, t), picked.cols * sizeof(float));
    return QD_OK;
}
