/* statistics.c: see statistics.h. */
#include "engine/statistics.h"

#include <stdio.h>
#include <string.h>

#include "engine/calibration.h"
#include "quant/turned.h"

static bool knows_both_streams(const qd_context *c)
{
    return c->recipe->algorithm->needs == QD_NEEDS_MISMATCH;
}

bool qd_statistics_split(const qd_context *c)
{
    return qd_calibration_holds_out(c) || (knows_both_streams(c) && c->recipe->mismatch.shrink == QD_SHRINK_AUTO);
}

/* The mean of what was added, in the basis of the codes. */
static qd_code finish(const qd_blockwise *b, const qd_shared *shared, qd_gram *gram, qd_error *err)
{
    qd_code code = qd_gram_finish(gram, err);
    if (code != QD_OK || shared->input.basis == NULL)
        return code;
    code = qd_hadamard_gram(shared->input.basis, gram->sum.view, b->context->pool, err);
    qd_matd_buf_release(&gram->sum);
    return code;
}

static qd_code make_gram(const qd_blockwise *b, size_t width, qd_gram *gram, qd_error *err)
{
    return qd_gram_init_in(gram, width, width, b->context->matrix_folder, err);
}

/* Where memory is short, that of the walk makes room for what is made of the moments. Elsewhere it stays: the system takes longer to clear it
 * again, group by group, than to round a small model's layers. */
static qd_code make_room(const qd_blockwise *b, qd_error *err)
{
    return b->context->matrix_folder == NULL ? QD_OK : qd_streams_rest(b->streams, err);
}

/* H of a group's input. */
static qd_code group_hessian(const qd_blockwise *b, size_t group, const qd_shared *shared, qd_gram *gram, qd_error *err)
{
    qd_code code = make_gram(b, qd_block_group_width(b->block, group), gram, err);
    if (code == QD_OK)
        code = qd_streams_gram(b->streams, QD_STREAM_QUANTIZED, group, qd_fate_tokens(&shared->fate), gram, NULL, err);
    if (code == QD_OK)
        code = make_room(b, err);
    return code == QD_OK ? finish(b, shared, gram, err) : code;
}

/* The same H, with the damping that held-out sequences choose; one pass (theory.md §8.3). */
static qd_code group_search(const qd_blockwise *b, size_t group, qd_gram *gram, qd_shared *shared, qd_error *err)
{
    size_t width = qd_block_group_width(b->block, group);
    QD_AUTO(qd_gram_fini) qd_gram fit = { 0 }, held = { 0 };
    qd_code code = make_gram(b, width, &fit, err);
    if (code == QD_OK)
        code = make_gram(b, width, &held, err);
    if (code == QD_OK)
        code = make_gram(b, width, gram, err);
    if (code == QD_OK)
        code = qd_streams_gram(b->streams, QD_STREAM_QUANTIZED, group, qd_fate_tokens(&shared->fate), &fit, &held, err);
    if (code == QD_OK)
        code = make_room(b, err);
    if (code == QD_OK)
        code = qd_gram_merge(gram, &fit, err);
    if (code == QD_OK)
        code = qd_gram_merge(gram, &held, err);
    qd_gram *const all[] = { gram, &fit, &held };
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(all); i++)
        code = finish(b, shared, all[i], err);
    return code == QD_OK
               ? qd_holdout_search_in(&fit.sum, &held, b->context->recipe->order, qd_group_guard_borrow(&shared->guard),
                                      b->context->pool, &shared->holdout, err)
               : code;
}

static bool shapes(const qd_blockwise *b)
{
    return qd_transforms_shaping(&b->context->recipe->transforms) != NULL;
}

/* The float stream's second moments, for transforms that keep its outputs. */
static qd_code float_reference(const qd_blockwise *b, size_t group, qd_shared *shared, qd_error *err)
{
    QD_AUTO(qd_gram_fini) qd_gram gram = { 0 };
    qd_code code = make_gram(b, qd_block_group_width(b->block, group), &gram, err);
    if (code == QD_OK)
        code = qd_streams_gram(b->streams, QD_STREAM_FLOAT, group, qd_fate_tokens(&shared->fate), &gram, NULL, err);
    if (code == QD_OK)
        code = qd_gram_finish(&gram, err);
    if (code != QD_OK)
        return code;
    shared->input.reference = gram.sum;
    gram.sum = (qd_matd_buf){ 0 };
    return qd_input_basis_settle(b->context->recipe, &shared->input, b->context->pool, err);
}

/* After what transforms want to know. */
static qd_code ask_guard(const qd_blockwise *b, size_t group, qd_shared *shared, qd_error *err)
{
    return qd_group_guard_init(b->context, b->first, group, &shared->input, &shared->guard, err);
}

/* What a group's layers share: the second moments of their input and the factor made from them. */
static qd_code hessian_statistics(const qd_blockwise *b, size_t group, qd_shared *shared, qd_error *err)
{
    const qd_recipe *r = b->context->recipe;
    QD_AUTO(qd_gram_fini) qd_gram gram = { 0 };
    bool search = qd_calibration_holds_out(b->context);
    qd_code code = shapes(b) ? float_reference(b, group, shared, err) : QD_OK;
    if (code == QD_OK)
        code = ask_guard(b, group, shared, err);
    if (code == QD_OK)
        code = search ? group_search(b, group, &gram, shared, err) : group_hessian(b, group, shared, &gram, err);
    if (code == QD_OK)
        code = qd_factor_take(&gram.sum, r->order, r->regularizer, search ? shared->holdout.value : r->regularization,
                              qd_group_guard_borrow(&shared->guard), b->context->pool, &shared->factor, err);
    shared->tokens = gram.tokens;
    return code;
}

/* The parts of the split-sample rule are those of the hold-out. */
static qd_code mismatch_search(const qd_blockwise *b, qd_shared *shared, qd_error *err)
{
    const qd_mismatch *mismatch = &shared->mismatch;
    QD_AUTO(qd_gram_fini) qd_gram held = { 0 };
    const qd_matd_buf *fit = &mismatch->part[QD_PART_FIT].hessian.sum;
    qd_code code = make_gram(b, fit->view.rows, &held, err);
    if (code != QD_OK)
        return code;
    const qd_gram *judge = &mismatch->part[QD_PART_JUDGE].hessian;
    for (size_t i = 0; i < fit->view.rows; i++) {
        memcpy(qd_matd_row(held.sum.view, i), qd_matd_row(judge->sum.view, i), fit->view.cols * sizeof(double));
        qd_matd_buf_release_rows(&held.sum, i, 1);
        qd_matd_buf_release_rows(&judge->sum, i, 1);
    }
    held.tokens = judge->tokens;
    return qd_holdout_search_in(fit, &held, b->context->recipe->order, qd_group_guard_borrow(&shared->guard),
                                b->context->pool, &shared->holdout, err);
}

/* Behind a norm or a factor, or together with other experts, a layer cannot repair the stream it writes to; said once. */
static void tell_left_out(const qd_blockwise *b, size_t group)
{
    qd_context *c = b->context;
    size_t i = b->first;
    if (c->told_residual)
        return;
    c->told_residual = true;
    while (qd_model_linear_at(c->model, i)->group != group)
        i++;
    qd_emit_warning(c->sink,
                    "mismatch.residual: what layer '%s' gives does not go into the residual stream as it is (a norm, a "
                    "factor or other experts come between): the stream's error is not repaired there and in layers "
                    "like it",
                    qd_model_linear_at(c->model, i)->name);
}

/* O of the group's layer, where it is to repair the error of the residual stream it writes to; else 0. Of several
 * layers that write at once each would repair the whole. */
static qd_code residual_outputs(const qd_blockwise *b, size_t group, size_t *out, qd_error *err)
{
    const qd_model *model = b->context->model;
    size_t layers = 0, hidden = qd_model_borrow_config(model)->hidden;
    *out = 0;
    if (!b->context->recipe->residual || !qd_block_group_writes_residual(b->block, group))
        return QD_OK;
    if (!qd_block_group_adds_output(b->block, group)) {
        tell_left_out(b, group);
        return QD_OK;
    }
    for (size_t i = b->first; i < b->end; i++)
        if (qd_model_linear_at(model, i)->group == group) {
            layers++;
            *out = qd_model_linear_at(model, i)->out;
        }
    if (layers == 1 && *out == hidden)
        return QD_OK;
    return qd_fail(
        err, QD_EUNSUPPORTED,
        "mismatch.residual: %zu layers with one input, of %zu outputs, write to a residual stream of %zu; one "
        "of all outputs is supported here, or mismatch.residual false",
        layers, *out, hidden);
}

/* Moments of both streams in the basis of the codes; before that, what transforms want of the float one. */
static qd_code mismatch_moments(const qd_blockwise *b, size_t group, qd_shared *shared, qd_error *err)
{
    qd_mismatch *mismatch = &shared->mismatch;
    qd_pool *pool = b->context->pool;
    size_t width = qd_block_group_width(b->block, group), outputs = 0;
    qd_code code = residual_outputs(b, group, &outputs, err);
    if (code == QD_OK)
        code = qd_mismatch_init_in(mismatch, width, outputs, b->context->matrix_folder, err);
    if (code == QD_OK)
        code = qd_streams_mismatch(b->streams, group, qd_fate_tokens(&shared->fate), mismatch, err);
    if (code == QD_OK)
        code = make_room(b, err);
    if (code == QD_OK)
        code = qd_mismatch_finish(mismatch, err);
    if (code == QD_OK && shapes(b)) {
        code = qd_matd_buf_init(&shared->input.reference, width, width, err);
        if (code == QD_OK)
            qd_mismatch_float_moment(mismatch, shared->input.reference.view);
        if (code == QD_OK)
            code = qd_input_basis_settle(b->context->recipe, &shared->input, pool, err);
    }
    if (code == QD_OK && shared->input.basis != NULL)
        code = qd_mismatch_turn(mismatch, shared->input.basis, pool, err);
    qd_mismatch_release(mismatch);
    return code;
}

static qd_code mismatch_statistics(const qd_blockwise *b, size_t group, qd_shared *shared, qd_error *err)
{
    const qd_recipe *r = b->context->recipe;
    qd_pool *pool = b->context->pool;
    qd_mismatch *mismatch = &shared->mismatch;
    bool search = qd_calibration_holds_out(b->context);
    qd_code code = mismatch_moments(b, group, shared, err);
    if (code == QD_OK)
        code = ask_guard(b, group, shared, err);
    if (code == QD_OK && search)
        code = mismatch_search(b, shared, err);
    double damping = search ? shared->holdout.value : r->regularization;
    if (code == QD_OK)
        code = qd_factor_take(&mismatch->hessian, r->order, r->regularizer, damping,
                              qd_group_guard_borrow(&shared->guard), pool, &shared->factor, err);
    if (code == QD_OK && r->mismatch.shrink == QD_SHRINK_AUTO)
        code = qd_mismatch_split(mismatch, r->order, r->regularizer, damping, pool, err);
    shared->tokens = mismatch->tokens;
    return code;
}

/* A starved expert of a job that wants it rounded to nearest: that is why, and no statistics are needed. */
static bool starves(qd_shared *shared)
{
    const qd_fate *fate = &shared->fate;
    if (fate->expert == QD_NO_EXPERT || fate->state != QD_STARVED || fate->fallback != QD_FALLBACK_NEAREST)
        return false;
    snprintf(shared->reason, sizeof shared->reason,
             "expert %zu got %zu calibration tokens, %zu are wanted (experts.fallback is 'rtn')", fate->expert,
             fate->tokens, fate->wanted);
    return true;
}

qd_code qd_group_statistics(const qd_blockwise *b, size_t group, qd_shared *shared, qd_error *err)
{
    if (b->streams == NULL || starves(shared))
        return QD_OK;
    qd_code code = knows_both_streams(b->context) ? mismatch_statistics(b, group, shared, err)
                                                  : hessian_statistics(b, group, shared, err);
    if (code != QD_ENUMERIC)
        return code == QD_OK ? qd_shared_diagonal(shared, err) : code;
    qd_factor_destroy(shared->factor);
    shared->factor = NULL;
    shared->tokens = 0;
    snprintf(shared->reason, sizeof shared->reason, "%s", err->text);
    return QD_OK;
}

qd_code qd_statistics_judge(const qd_blockwise *b, size_t first, const qd_shared *shared, qd_error *err)
{
    const char *name = qd_model_linear_at(b->context->model, first)->name;
    size_t columns = qd_model_linear_at(b->context->model, first)->in;
    bool routed = shared->fate.expert != QD_NO_EXPERT; /* whose tokens are told a block (starved.h) */
    if (!routed && shared->tokens > 0 && shared->tokens < columns)
        qd_emit_warning(b->context->sink,
                        "layer '%s': %zu calibration tokens for %zu columns: H has rank %zu at most, the rest of it is "
                        "the damping",
                        name, shared->tokens, columns, shared->tokens);
    if (shared->factor != NULL && shared->factor->escalations > 0)
        qd_emit_warning(b->context->sink, "layer '%s': damping was raised %u times, to %g of the mean diagonal", name,
                        shared->factor->escalations, shared->factor->lambda_relative);
    if (shared->reason[0] == '\0')
        return QD_OK;
    if (b->context->recipe->on_degraded == QD_DEGRADED_FAIL)
        return qd_fail(err, QD_ENUMERIC, "layer '%s': %.400s (on_degraded is 'fail')", name, shared->reason);
    if (b->context->recipe->certified)
        return qd_fail(err, QD_ENUMERIC, "layer '%s': %.400s (certified is true)", name, shared->reason);
    if (shared->fate.state == QD_FED)
        qd_emit_warning(b->context->sink, "layer '%s' and those that share its input are rounded to nearest: %s", name,
                        shared->reason);
    return QD_OK;
}
