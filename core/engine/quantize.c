/* quantize.c: the quantizing phase: block by block, group by group (design.md §4). */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "engine/context.h"
#include "engine/layer.h"
#include "engine/pace.h"
#include "quant/turned.h"

/* One block on its way. `block` holds the decided weights; NULL when there are no streams to send through it. */
typedef struct blockwise {
    qd_context *context;
    qd_streams *streams; /* NULL = data-free */
    qd_block *float_block, *block;
    size_t first, end; /* linear indices of the block's layers */
    qd_meter *meter;
} blockwise;

typedef enum origin { MADE, RESUMED } origin;

static void report_layer(qd_context *c, qd_meter *meter, size_t index, const json_t *record, origin from)
{
    json_t *event = json_pack("{s:s}", "event", "layer");
    json_object_update(event, (json_t *)(uintptr_t)record);
    json_object_set_new(event, "resumed", json_boolean(from == RESUMED));
    qd_emit_take(c->sink, event);
    qd_summary_add(&c->summary, record);
    if (from == RESUMED) {
        meter->free_of_charge = index + 1;
        c->resumed++;
    }
    if (meter->pace != NULL && from == RESUMED)
        qd_pace_begin(meter->pace, qd_clock_seconds());
    else if (meter->pace != NULL)
        qd_pace_made(meter->pace, index, qd_clock_seconds());
    qd_meter_step(meter, index + 1);
}

static bool holds_out(const qd_context *c)
{
    return c->recipe->regularizer->value == QD_VALUE_HELD_OUT && c->calibration.count >= QD_HOLDOUT_EVERY;
}

/* The mean of what was added, in the basis of the codes. */
static qd_code finish(const blockwise *b, const qd_shared *shared, qd_gram *gram, qd_error *err)
{
    qd_code code = qd_gram_finish(gram, err);
    if (code != QD_OK || shared->input.basis == NULL)
        return code;
    return qd_hadamard_gram(shared->input.basis, gram->sum.view, b->context->pool, err);
}

/* H of a group's input. */
static qd_code group_hessian(const blockwise *b, size_t group, const qd_shared *shared, qd_gram *gram, qd_error *err)
{
    qd_code code = qd_gram_init(gram, qd_block_group_width(b->float_block, group), err);
    if (code == QD_OK)
        code = qd_streams_gram(b->streams, QD_STREAM_QUANTIZED, group, gram, NULL, err);
    return code == QD_OK ? finish(b, shared, gram, err) : code;
}

/* The same H, with the damping that held-out sequences choose; one pass (theory.md §8.3). */
static qd_code group_search(const blockwise *b, size_t group, qd_gram *gram, qd_shared *shared, qd_error *err)
{
    size_t width = qd_block_group_width(b->float_block, group);
    QD_AUTO(qd_gram_fini) qd_gram fit = { 0 }, held = { 0 };
    qd_code code = qd_gram_init(&fit, width, err);
    if (code == QD_OK)
        code = qd_gram_init(&held, width, err);
    if (code == QD_OK)
        code = qd_gram_init(gram, width, err);
    if (code == QD_OK)
        code = qd_streams_gram(b->streams, QD_STREAM_QUANTIZED, group, &fit, &held, err);
    if (code == QD_OK)
        code = qd_gram_merge(gram, &fit, err);
    if (code == QD_OK)
        code = qd_gram_merge(gram, &held, err);
    qd_gram *const all[] = { gram, &fit, &held };
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(all); i++)
        code = finish(b, shared, all[i], err);
    return code == QD_OK
               ? qd_holdout_search(qd_matd_const(fit.sum.view), &held, b->context->recipe->order,
                                   qd_group_guard_borrow(&shared->guard), b->context->pool, &shared->holdout, err)
               : code;
}

static bool shapes(const blockwise *b)
{
    return qd_transforms_shaping(&b->context->recipe->transforms) != NULL;
}

/* The float stream's second moments, for transforms that keep its outputs. */
static qd_code float_reference(const blockwise *b, size_t group, qd_shared *shared, qd_error *err)
{
    QD_AUTO(qd_gram_fini) qd_gram gram = { 0 };
    qd_code code = qd_gram_init(&gram, qd_block_group_width(b->float_block, group), err);
    if (code == QD_OK)
        code = qd_streams_gram(b->streams, QD_STREAM_FLOAT, group, &gram, NULL, err);
    if (code == QD_OK)
        code = qd_gram_finish(&gram, err);
    if (code != QD_OK)
        return code;
    shared->input.reference = gram.sum;
    gram.sum = (qd_matd_buf){ 0 };
    return qd_input_basis_settle(b->context->recipe, &shared->input, b->context->pool, err);
}

/* After what transforms want to know. */
static qd_code ask_guard(const blockwise *b, size_t group, qd_shared *shared, qd_error *err)
{
    return qd_group_guard_init(b->context, b->float_block, b->first, group, &shared->input, &shared->guard, err);
}

/* What a group's layers share: the second moments of their input and the factor made from them. */
static qd_code hessian_statistics(const blockwise *b, size_t group, qd_shared *shared, qd_error *err)
{
    const qd_recipe *r = b->context->recipe;
    QD_AUTO(qd_gram_fini) qd_gram gram = { 0 };
    bool search = holds_out(b->context);
    qd_code code = shapes(b) ? float_reference(b, group, shared, err) : QD_OK;
    if (code == QD_OK)
        code = ask_guard(b, group, shared, err);
    if (code == QD_OK)
        code = search ? group_search(b, group, &gram, shared, err) : group_hessian(b, group, shared, &gram, err);
    if (code == QD_OK)
        code = qd_factor_create_guarded(qd_matd_const(gram.sum.view), r->order, r->regularizer,
                                        search ? shared->holdout.value : r->regularization,
                                        qd_group_guard_borrow(&shared->guard), b->context->pool, &shared->factor, err);
    shared->tokens = gram.tokens;
    return code;
}

/* The parts of the split-sample rule are those of the hold-out. */
static qd_code mismatch_search(const blockwise *b, qd_shared *shared, qd_error *err)
{
    const qd_mismatch *mismatch = &shared->mismatch;
    QD_AUTO(qd_gram_fini) qd_gram held = { 0 };
    qd_cmatd fit = qd_matd_const(mismatch->part[QD_PART_FIT].hessian.sum.view);
    qd_code code = qd_gram_init(&held, fit.rows, err);
    if (code != QD_OK)
        return code;
    const qd_gram *judge = &mismatch->part[QD_PART_JUDGE].hessian;
    memcpy(held.sum.view.data, judge->sum.view.data, fit.rows * fit.rows * sizeof(double));
    held.tokens = judge->tokens;
    return qd_holdout_search(fit, &held, b->context->recipe->order, qd_group_guard_borrow(&shared->guard),
                             b->context->pool, &shared->holdout, err);
}

/* O of the group's layer, where it is to repair the error of the residual stream it writes to; else 0. Of several layers that write at once each
 * would repair the whole. */
static qd_code residual_outputs(const blockwise *b, size_t group, size_t *out, qd_error *err)
{
    const qd_model *model = b->context->model;
    size_t layers = 0, hidden = qd_model_borrow_config(model)->hidden;
    *out = 0;
    if (!b->context->recipe->residual || !qd_block_group_writes_residual(b->float_block, group))
        return QD_OK;
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
static qd_code mismatch_moments(const blockwise *b, size_t group, qd_shared *shared, qd_error *err)
{
    qd_mismatch *mismatch = &shared->mismatch;
    qd_pool *pool = b->context->pool;
    size_t width = qd_block_group_width(b->float_block, group), outputs = 0;
    qd_code code = residual_outputs(b, group, &outputs, err);
    if (code == QD_OK)
        code = qd_mismatch_init(mismatch, width, outputs, err);
    if (code == QD_OK)
        code = qd_streams_mismatch(b->streams, group, mismatch, err);
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
    return code;
}

static qd_code mismatch_statistics(const blockwise *b, size_t group, qd_shared *shared, qd_error *err)
{
    const qd_recipe *r = b->context->recipe;
    qd_pool *pool = b->context->pool;
    qd_mismatch *mismatch = &shared->mismatch;
    bool search = holds_out(b->context);
    qd_code code = mismatch_moments(b, group, shared, err);
    if (code == QD_OK)
        code = ask_guard(b, group, shared, err);
    if (code == QD_OK && search)
        code = mismatch_search(b, shared, err);
    double damping = search ? shared->holdout.value : r->regularization;
    if (code == QD_OK)
        code = qd_factor_create_guarded(qd_matd_const(mismatch->hessian.view), r->order, r->regularizer, damping,
                                        qd_group_guard_borrow(&shared->guard), pool, &shared->factor, err);
    if (code == QD_OK && r->mismatch.shrink == QD_SHRINK_AUTO)
        code = qd_mismatch_split(mismatch, r->order, r->regularizer, damping, pool, err);
    shared->tokens = mismatch->tokens;
    return code;
}

/* When no damping helps, or H is not finite, there is no factor and `reason` says why: the layers are then rounded to nearest. */
static qd_code group_statistics(const blockwise *b, size_t group, qd_shared *shared, qd_error *err)
{
    if (b->streams == NULL)
        return QD_OK;
    bool both = b->context->recipe->algorithm->needs == QD_NEEDS_MISMATCH;
    qd_code code = both ? mismatch_statistics(b, group, shared, err) : hessian_statistics(b, group, shared, err);
    if (code != QD_ENUMERIC)
        return code == QD_OK ? qd_shared_diagonal(shared, err) : code;
    qd_factor_destroy(shared->factor);
    shared->factor = NULL;
    shared->tokens = 0;
    snprintf(shared->reason, sizeof shared->reason, "%s", err->text);
    return QD_OK;
}

/* Fewer tokens than columns, escalated or impossible damping: never silent. */
static qd_code judge_statistics(const blockwise *b, size_t first, const qd_shared *shared, qd_error *err)
{
    const char *name = qd_model_linear_at(b->context->model, first)->name;
    size_t columns = qd_model_linear_at(b->context->model, first)->in;
    if (shared->tokens > 0 && shared->tokens < columns)
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
    qd_emit_warning(b->context->sink, "layer '%s' and those that share its input are rounded to nearest: %s", name,
                    shared->reason);
    return QD_OK;
}

/* The quantized stream sees the layer from here on. */
static qd_code decide(blockwise *b, size_t index, const qd_checkpoint *layer, qd_error *err)
{
    const qd_context *c = b->context;
    return qd_layer_weights(c->recipe, c->model, index, &layer->grid, layer->codes, c->pool,
                            qd_block_weight(b->block, index - b->first), err);
}

static qd_code make_layer(blockwise *b, size_t index, const qd_shared *shared, qd_error *err)
{
    qd_context *c = b->context;
    QD_AUTO(qd_checkpoint_fini) qd_checkpoint made = { 0 };
    qd_code code = qd_cancel_check(c->cancel, err);
    if (code == QD_OK)
        code = qd_layer_make(c, index, qd_matf_const(qd_block_weight(b->float_block, index - b->first)), shared, &made,
                             err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("layer.made", err);
    if (code == QD_OK)
        code = qd_checkpoint_write(c->paths->work_dir, index, c->keys[index], qd_model_linear_at(c->model, index),
                                   &made, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("layer.checkpointed", err);
    if (code != QD_OK)
        return code;
    if (b->block != NULL)
        code = decide(b, index, &made, err);
    if (code == QD_OK)
        report_layer(c, b->meter, index, made.record, MADE);
    return code;
}

static qd_code resume_layer(blockwise *b, size_t index, qd_error *err)
{
    qd_context *c = b->context;
    QD_AUTO(qd_checkpoint_fini) qd_checkpoint found = { 0 };
    qd_code code = qd_context_read_layer(c, index, &found, err);
    if (code != QD_OK)
        return code;
    if (b->block != NULL)
        code = decide(b, index, &found, err);
    if (code == QD_OK)
        report_layer(c, b->meter, index, found.record, RESUMED);
    return code;
}

static qd_code make_layers(blockwise *b, size_t group, size_t first, size_t end, qd_error *err)
{
    QD_AUTO(qd_shared_fini) qd_shared shared = { 0 };
    double started = qd_clock_seconds();
    qd_code code = qd_basis_create(b->context->recipe, b->context->model, first, &shared.input.basis, err);
    if (code == QD_OK)
        code = group_statistics(b, group, &shared, err);
    if (code == QD_OK)
        code = judge_statistics(b, first, &shared, err);
    shared.seconds = (qd_clock_seconds() - started) / (double)(end - first);
    for (size_t i = first; code == QD_OK && i < end; i++) {
        code = make_layer(b, i, &shared, err);
        if (code != QD_OK && code != QD_ECANCELLED)
            code = qd_within(err, code, "layer '%s'", qd_model_linear_at(b->context->model, i)->name);
    }
    return code;
}

/* A group's layers, from checkpoints as far as they reach; then both streams move on. */
static qd_code do_group(blockwise *b, size_t group, size_t first, size_t end, qd_error *err)
{
    size_t next = first;
    qd_code code = QD_OK;
    for (; code == QD_OK && next < end && next < b->context->finished; next++)
        code = resume_layer(b, next, err);
    if (code == QD_OK && next < end)
        code = make_layers(b, group, next, end, err);
    return code == QD_OK && b->streams != NULL ? qd_streams_advance(b->streams, group, err) : code;
}

static qd_code report_difference(const blockwise *b, size_t block, qd_error *err)
{
    double difference = 0;
    qd_code code = qd_streams_difference(b->streams, &difference, err);
    if (code == QD_OK)
        qd_emit_take(b->context->sink, json_pack("{s:s, s:I, s:f}", "event", "stream", "block", (json_int_t)block,
                                                 "relative_error", difference));
    return code;
}

static qd_code do_block(blockwise *b, size_t block, qd_error *err)
{
    const qd_model *model = b->context->model;
    b->end = b->first + qd_model_block_size(model, block);
    qd_code code = b->streams == NULL ? QD_OK : qd_streams_enter(b->streams, b->float_block, b->block, err);
    for (size_t at = b->first; code == QD_OK && at < b->end;) {
        size_t group = qd_model_linear_at(model, at)->group, stop = at;
        while (stop < b->end && qd_model_linear_at(model, stop)->group == group)
            stop++;
        code = do_group(b, group, at, stop, err);
        at = stop;
    }
    return code == QD_OK && b->streams != NULL ? report_difference(b, block, err) : code;
}

static qd_code walk(qd_context *c, qd_streams *streams, qd_error *err)
{
    qd_meter meter;
    QD_AUTO(qd_pace_fini) qd_pace pace = { 0 };
    const qd_volume volume = { .samples = c->calibration.count, .length = c->calibration.length };
    qd_meter_start(&meter, c->sink, "quantizing", "layers", qd_model_linear_count(c->model));
    qd_code code = qd_pace_init(c->recipe, c->model, &volume, &pace, err);
    qd_pace_begin(&pace, qd_clock_seconds());
    meter.pace = &pace;
    for (size_t i = 0; code == QD_OK && i < qd_model_borrow_config(c->model)->blocks; i++) {
        blockwise b = { .context = c, .streams = streams, .first = qd_model_block_first(c->model, i), .meter = &meter };
        code = qd_block_load(c->model, i, NULL, &b.float_block, err);
        if (code == QD_OK && streams != NULL)
            code = qd_block_load(c->model, i, NULL, &b.block, err);
        if (code == QD_OK)
            code = do_block(&b, i, err);
        qd_block_destroy(b.block);
        qd_block_destroy(b.float_block);
        if (code != QD_OK && code != QD_ECANCELLED)
            code = qd_within(err, code, "block %zu", i);
    }
    return code;
}

/* Counts leading layers whose checkpoint holds. What comes after a gap is made again even if it is there. */
static qd_code find_finished(qd_context *c, qd_error *err)
{
    size_t count = qd_model_linear_count(c->model);
    for (c->finished = 0; c->finished < count; c->finished++) {
        QD_AUTO(qd_checkpoint_fini) qd_checkpoint found = { 0 };
        qd_error why = { 0 };
        qd_code code = qd_cancel_check(c->cancel, err);
        if (code != QD_OK)
            return code;
        code = qd_context_read_layer(c, c->finished, &found, &why);
        if (code == QD_ENOTFOUND)
            return QD_OK;
        if (code != QD_OK)
            return qd_fail(err, code, "%s", why.text);
    }
    return QD_OK;
}

/* Nothing is left to make: layers are only reported. */
static qd_code report_all(qd_context *c, qd_error *err)
{
    qd_meter meter;
    qd_code code = QD_OK;
    qd_meter_start(&meter, c->sink, "quantizing", "layers", qd_model_linear_count(c->model));
    blockwise b = { .context = c, .meter = &meter };
    for (size_t i = 0; code == QD_OK && i < c->finished; i++)
        code = resume_layer(&b, i, err);
    return code;
}

qd_code qd_phase_quantize(qd_context *c, qd_error *err)
{
    qd_emit_phase(c->sink, "quantizing");
    qd_code code = find_finished(c, err);
    if (code != QD_OK)
        return code;
    if (c->finished == qd_model_linear_count(c->model))
        return report_all(c, err);
    if (c->calibration.count == 0)
        return walk(c, NULL, err);
    if (c->recipe->regularizer->value == QD_VALUE_HELD_OUT && !holds_out(c))
        qd_emit_warning(
            c->sink,
            "regularization: '%s' holds out one of %d sequences and there are %zu; %g of the mean diagonal is used",
            c->recipe->regularizer->name, QD_HOLDOUT_EVERY, c->calibration.count, c->recipe->regularization);
    QD_AUTO(qd_streams_fini) qd_streams streams = { 0 };
    qd_streams_way way = { c->recipe->scope, c->recipe->first_position };
    code = qd_streams_init(c->model, &c->calibration, c->paths->work_dir, c->pool, c->cancel, way, &streams, err);
    return code == QD_OK ? walk(c, &streams, err) : code;
}
