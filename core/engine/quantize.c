/* quantize.c: the quantizing phase: block by block, group by group, layer by layer (design.md §4). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/mem.h"
#include "engine/context.h"

/* One block on its way. */
typedef struct blockwise {
    qd_context *context;
    qd_streams *streams; /* NULL = data-free */
    qd_block *float_block, *block;
    size_t first; /* linear index of the block's first layer */
    qd_meter *meter;
} blockwise;

/* H of a group, or the identity where there is no data. */
static qd_code group_hessian(const blockwise *b, size_t group, qd_gram *gram, qd_error *err)
{
    size_t width = qd_block_group_width(b->block, group);
    qd_code code = qd_gram_init(gram, width, err);
    if (code == QD_OK && b->streams == NULL) {
        for (size_t i = 0; i < width; i++)
            qd_matd_row(gram->sum.view, i)[i] = 1;
        return QD_OK;
    }
    if (code == QD_OK)
        code = qd_streams_gram(b->streams, group, gram, err);
    return code == QD_OK ? qd_gram_finish(gram, err) : code;
}

static qd_code make_factor(const blockwise *b, const qd_gram *gram, qd_factor **out, qd_error *err)
{
    const qd_recipe *r = b->context->recipe;
    return qd_factor_create(qd_matd_const(gram->sum.view), r->order, r->regularizer, r->regularization,
                            b->context->pool, out, err);
}

/* The factor of a group. When no damping helps, or H is not finite, *out_reason says so and the factor is the identity's: its layers are
 * rounded to nearest and marked degraded. */
static qd_code group_factor(const blockwise *b, size_t group, qd_factor **out, size_t *out_tokens, char *out_reason,
                            size_t reason_size, qd_error *err)
{
    QD_AUTO(qd_gram_fini) qd_gram gram = { 0 };
    qd_code code = group_hessian(b, group, &gram, err);
    *out_tokens = gram.tokens;
    out_reason[0] = '\0';
    if (code == QD_OK)
        code = make_factor(b, &gram, out, err);
    if (code != QD_ENUMERIC)
        return code;
    qd_error why = *err;
    snprintf(out_reason, reason_size, "%s", why.text);
    blockwise no_data = *b;
    no_data.streams = NULL;
    qd_gram_fini(&gram);
    *out_tokens = 0;
    code = group_hessian(&no_data, group, &gram, err);
    return code == QD_OK ? make_factor(b, &gram, out, err) : code;
}

static void count_layer(qd_context *c, const json_t *record)
{
    const json_t *certificate = json_object_get(record, "certificate");
    const char *status = json_string_value(json_object_get(certificate, "status"));
    c->error_sq += json_number_value(json_object_get(certificate, "error_sq"));
    c->output_sq += json_number_value(json_object_get(certificate, "output_sq"));
    c->degraded += json_is_true(json_object_get(record, "degraded"));
    c->certified += status != NULL && (strcmp(status, "CERTIFIED") == 0 || strcmp(status, "CERTIFIED_OVERLOAD") == 0);
}

static void report_layer(blockwise *b, size_t index, const json_t *record, int resumed)
{
    json_t *event = json_pack("{s:s}", "event", "layer");
    json_object_update(event, (json_t *)(uintptr_t)record);
    json_object_set_new(event, "resumed", json_boolean(resumed));
    qd_emit_take(b->context->sink, event);
    count_layer(b->context, record);
    if (resumed)
        b->meter->free_of_charge = index + 1;
    qd_meter_step(b->meter, index + 1);
}

/* What a group's layers have in common. */
typedef struct shared {
    const qd_factor *factor;
    const double *diagonal; /* diag(H), original order */
    size_t tokens;
    const char *degraded_reason; /* NULL = fine */
    double seconds;              /* each layer's share of statistics and factor */
} shared;

static qd_code round_one(blockwise *b, size_t index, const shared *s, qd_checkpoint *out, qd_certificate *certificate,
                         qd_error *err)
{
    const qd_recipe *r = b->context->recipe;
    const qd_linear *linear = qd_model_linear_at(b->context->model, index);
    qd_cmatf w = qd_matf_const(qd_block_weight(b->float_block, index - b->first));
    qd_code code = qd_grid_build(&r->grid, w, s->diagonal, b->context->pool, &out->grid, err);
    if (code == QD_OK)
        code = qd_alloc(linear->out * linear->in, 1, (void **)&out->codes, err);
    const qd_layer_input input = { .w = w,
                                   .grid = &out->grid,
                                   .factor = s->factor,
                                   .tokens = s->tokens,
                                   .rounding = r->rounding,
                                   .seed = qd_rng_key(r->seed, index, 0),
                                   .pool = b->context->pool };
    const qd_algorithm *algorithm = s->degraded_reason == NULL ? r->algorithm : qd_algorithm_find("rtn");
    return code == QD_OK ? qd_layer_round(algorithm, &input, out->codes, certificate, err) : code;
}

static qd_code round_layer(blockwise *b, size_t index, const shared *s, qd_error *err)
{
    qd_context *c = b->context;
    const qd_linear *linear = qd_model_linear_at(c->model, index);
    QD_AUTO(qd_checkpoint_fini) qd_checkpoint made = { 0 };
    qd_certificate certificate = { 0 };
    double started = qd_clock_seconds();
    qd_code code = qd_cancel_check(c->cancel, err);
    if (code == QD_OK)
        code = round_one(b, index, s, &made, &certificate, err);
    if (code != QD_OK)
        return code;
    const qd_layer_facts facts = { .index = index,
                                   .linear = linear,
                                   .recipe = c->recipe,
                                   .grid = &made.grid,
                                   .certificate = &certificate,
                                   .degraded_reason = s->degraded_reason,
                                   .seconds = qd_clock_seconds() - started + s->seconds };
    made.record = qd_layer_print(&facts);
    code = qd_checkpoint_write(c->paths->work_dir, index, c->keys[index], linear, &c->recipe->grid, &made, err);
    if (code != QD_OK)
        return code;
    qd_grid_dequantize(&made.grid, made.codes, qd_block_weight(b->block, index - b->first));
    report_layer(b, index, made.record, 0);
    return QD_OK;
}

/* true when the layer's checkpoint is there: its weights go into the block. */
static bool resume_layer(blockwise *b, size_t index)
{
    qd_context *c = b->context;
    QD_AUTO(qd_checkpoint_fini) qd_checkpoint found = { 0 };
    qd_error ignored = { 0 };
    if (qd_checkpoint_read(c->paths->work_dir, index, c->keys[index], qd_model_linear_at(c->model, index),
                           &c->recipe->grid, &found, &ignored) != QD_OK)
        return false;
    qd_grid_dequantize(&found.grid, found.codes, qd_block_weight(b->block, index - b->first));
    report_layer(b, index, found.record, 1);
    c->resumed++;
    return true;
}

static qd_code round_group(blockwise *b, size_t group, size_t first, size_t end, qd_error *err)
{
    char reason[sizeof err->text];
    qd_factor *factor = NULL;
    QD_AUTO(qd_free_pointer) double *diagonal = NULL;
    shared s = { 0 };
    double started = qd_clock_seconds();
    qd_code code = group_factor(b, group, &factor, &s.tokens, reason, sizeof reason, err);
    if (code == QD_OK && reason[0] != '\0' && b->context->recipe->on_degraded == QD_DEGRADED_FAIL)
        code = qd_fail(err, QD_ENUMERIC, "%s (on_degraded is fail)", reason);
    if (code == QD_OK && reason[0] != '\0')
        qd_emit_warning(b->context->sink, "'%s' and its neighbours are rounded to nearest: %s",
                        qd_model_linear_at(b->context->model, first)->name, reason);
    if (code == QD_OK)
        code = qd_alloc(factor->features, sizeof *diagonal, (void **)&diagonal, err);
    for (size_t t = 0; code == QD_OK && t < factor->features; t++)
        diagonal[factor->permutation[t]] = qd_matd_row(factor->hessian.view, t)[t];
    s.factor = factor;
    s.diagonal = diagonal;
    s.degraded_reason = reason[0] == '\0' ? NULL : reason;
    s.seconds = (qd_clock_seconds() - started) / (double)(end - first);
    for (size_t i = first; code == QD_OK && i < end; i++) {
        code = round_layer(b, i, &s, err);
        if (code != QD_OK)
            code = qd_within(err, code, "layer '%s'", qd_model_linear_at(b->context->model, i)->name);
    }
    qd_factor_destroy(factor);
    return code;
}

/* The group's layers, from checkpoints as far as they reach, then both streams move on. */
static qd_code do_group(blockwise *b, size_t group, size_t first, size_t end, qd_error *err)
{
    size_t next = first;
    while (next < end && resume_layer(b, next))
        next++;
    qd_code code = next < end ? round_group(b, group, next, end, err) : QD_OK;
    return code == QD_OK && b->streams != NULL ? qd_streams_advance(b->streams, group, err) : code;
}

static qd_code do_block(blockwise *b, size_t block, qd_error *err)
{
    const qd_model *model = b->context->model;
    size_t end = b->first + qd_model_block_size(model, block);
    qd_code code = b->streams == NULL ? QD_OK : qd_streams_enter(b->streams, b->float_block, b->block, err);
    for (size_t at = b->first; code == QD_OK && at < end;) {
        size_t group = qd_model_linear_at(model, at)->group, stop = at;
        while (stop < end && qd_model_linear_at(model, stop)->group == group)
            stop++;
        code = do_group(b, group, at, stop, err);
        at = stop;
    }
    double difference = 0;
    if (code == QD_OK && b->streams != NULL) {
        code = qd_streams_difference(b->streams, &difference, err);
        if (code == QD_OK)
            qd_emit_take(b->context->sink, json_pack("{s:s, s:I, s:f}", "event", "stream", "block", (json_int_t)block,
                                                     "relative_error", difference));
    }
    return code;
}

static qd_code walk(qd_context *c, qd_streams *streams, qd_error *err)
{
    qd_meter meter;
    qd_meter_start(&meter, c->sink, "quantizing", "layers", qd_model_linear_count(c->model));
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < qd_model_borrow_config(c->model)->blocks; i++) {
        blockwise b = { .context = c, .streams = streams, .first = qd_model_block_first(c->model, i), .meter = &meter };
        code = qd_block_load(c->model, i, NULL, &b.float_block, err);
        if (code == QD_OK)
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

qd_code qd_phase_quantize(qd_context *c, qd_error *err)
{
    qd_emit_phase(c->sink, "quantizing");
    if (c->calibration.count == 0)
        return walk(c, NULL, err);
    QD_AUTO(qd_streams_fini) qd_streams streams = { 0 };
    qd_code code = qd_streams_init(c->model, &c->calibration, c->paths->work_dir, c->pool, c->cancel, &streams, err);
    return code == QD_OK ? walk(c, &streams, err) : code;
}
