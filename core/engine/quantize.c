/* quantize.c: the quantizing phase: block by block, group by group (design.md §4). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "engine/arithmetic.h"
#include "engine/calibration.h"
#include "engine/forecast_memory.h"
#include "engine/kept.h"
#include "engine/outcome.h"
#include "engine/pace.h"
#include "engine/probe.h"
#include "engine/starved.h"
#include "engine/statistics.h"

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
        qd_pace_passed(meter->pace, QD_LEG_ROUNDING, index + 1, qd_clock_seconds());
    else if (meter->pace != NULL)
        qd_pace_made(meter->pace, QD_LEG_ROUNDING, index + 1, qd_clock_seconds());
    qd_meter_step(meter, index + 1);
}

/* The quantized stream sees the layer from here on. room: O x I. */
static qd_code decide(qd_blockwise *b, size_t index, const qd_checkpoint *layer, qd_matf room, qd_error *err)
{
    const qd_context *c = b->context;
    qd_code code = qd_layer_weights(c->recipe, c->model, index, &layer->grid, layer->codes, c->pool, room, err);
    return code == QD_OK ? qd_block_set_weight(b->block, index - b->first, qd_matf_const(room), err) : code;
}

static qd_code make_layer(qd_blockwise *b, size_t index, const qd_shared *shared, qd_error *err)
{
    qd_context *c = b->context;
    QD_AUTO(qd_checkpoint_fini) qd_checkpoint made = { 0 };
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf w = { 0 };
    qd_code code = qd_cancel_check(c->cancel, err);
    if (code == QD_OK)
        code = qd_layer_read(c->model, index, &w, err);
    if (code == QD_OK)
        code = qd_layer_make(c, index, qd_matf_const(w.view), shared, &made, err);
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
        code = decide(b, index, &made, w.view, err);
    if (code == QD_OK)
        report_layer(c, b->meter, index, made.record, MADE);
    return code;
}

static qd_code resume_layer(qd_blockwise *b, size_t index, qd_error *err)
{
    qd_context *c = b->context;
    const qd_linear *linear = qd_model_linear_at(c->model, index);
    QD_AUTO(qd_checkpoint_fini) qd_checkpoint found = { 0 };
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf room = { 0 };
    qd_code code = qd_context_read_layer(c, index, &found, err);
    if (code == QD_OK && b->block != NULL)
        code = qd_matf_buf_init(&room, linear->out, linear->in, err);
    if (code == QD_OK && b->block != NULL)
        code = decide(b, index, &found, room.view, err);
    if (code == QD_OK)
        report_layer(c, b->meter, index, found.record, RESUMED);
    return code;
}

static qd_code make_layers(qd_blockwise *b, size_t group, size_t first, size_t end, qd_error *err)
{
    QD_AUTO(qd_shared_fini) qd_shared shared = QD_SHARED_NOTHING;
    double started = qd_clock_seconds();
    qd_code code = qd_basis_create(b->context->recipe, b->context->model, first, &shared.input.basis, err);
    if (code == QD_OK)
        code = qd_fate_of(b, group, &shared.fate, err);
    if (code == QD_OK)
        code = qd_group_statistics(b, group, &shared, err);
    if (code == QD_OK)
        code = qd_statistics_judge(b, first, &shared, err);
    qd_pace_made(b->meter->pace, QD_LEG_MOMENTS, end, qd_clock_seconds());
    shared.seconds = (qd_clock_seconds() - started) / (double)(end - first);
    for (size_t i = first; code == QD_OK && i < end; i++) {
        code = make_layer(b, i, &shared, err);
        if (code != QD_OK && code != QD_ECANCELLED)
            code = qd_within(err, code, "layer '%s'", qd_model_linear_at(b->context->model, i)->name);
    }
    return code;
}

/* The first group of the block that not every token goes to, with data to say how many do. */
static bool begins_experts(const qd_blockwise *b, size_t group)
{
    return b->streams != NULL && qd_block_group_expert(b->block, group) != QD_NO_EXPERT &&
           qd_block_group_place(b->block, group) == group;
}

/* A group's layers, from checkpoints as far as they reach; then both streams move on. */
static qd_code do_group(qd_blockwise *b, size_t group, size_t first, size_t end, qd_error *err)
{
    size_t next = first;
    qd_code code = QD_OK;
    for (; code == QD_OK && next < end && next < b->context->finished; next++)
        code = resume_layer(b, next, err);
    if (code == QD_OK && begins_experts(b, group) && b->context->finished < b->end)
        code = qd_starved_warn(b, group, err);
    if (code == QD_OK && next < end)
        code = make_layers(b, group, next, end, err);
    if (code != QD_OK || b->streams == NULL)
        return code;
    qd_pace_passed(b->meter->pace, QD_LEG_MOMENTS, end, qd_clock_seconds());
    code = qd_streams_advance(b->streams, group, err);
    qd_pace_made(b->meter->pace, QD_LEG_WALK, end, qd_clock_seconds());
    return code;
}

/* null: there is no float stream to compare with. */
static qd_code report_difference(const qd_blockwise *b, qd_error *err)
{
    double difference = NAN;
    qd_code code = qd_streams_difference(b->streams, &difference, err);
    if (code == QD_OK)
        qd_emit_take(b->context->sink, json_pack("{s:s, s:I, s:o}", "event", "stream", "block", (json_int_t)b->number,
                                                 "relative_error", qd_number_print(difference)));
    return code;
}

static qd_code do_block(qd_blockwise *b, qd_error *err)
{
    const qd_model *model = b->context->model;
    b->end = b->first + qd_model_block_size(model, b->number);
    qd_code code = b->streams == NULL ? QD_OK : qd_streams_enter(b->streams, b->float_block, b->block, err);
    if (b->streams != NULL)
        qd_pace_made(b->meter->pace, QD_LEG_WALK, b->first, qd_clock_seconds());
    for (size_t at = b->first; code == QD_OK && at < b->end;) {
        size_t group = qd_model_linear_at(model, at)->group, stop = at;
        while (stop < b->end && qd_model_linear_at(model, stop)->group == group)
            stop++;
        code = do_group(b, group, at, stop, err);
        at = stop;
    }
    return code == QD_OK && b->streams != NULL ? report_difference(b, err) : code;
}

/* What is known of the machine goes for the first layers, until they have told: by earlier runs, or by a probe. */
static qd_code begin(qd_context *c, qd_meter *meter, qd_pace *pace, qd_error *err)
{
    static const qd_machine unit = { .threads = 1, .flops = 1, .factor = 1 };
    const qd_volume volume = qd_outcome_volume(c);
    bool measured = c->machine.flops > 0;
    qd_code code = qd_pace_init(c->recipe, c->model, &volume, measured ? &c->machine : &unit, pace, err);
    const double *told = c->machine.leg[qd_recipe_arithmetic(c->recipe, c->model)];
    for (qd_leg leg = QD_LEG_WALK; code == QD_OK && measured && leg <= QD_LEG_ROUNDING; leg++)
        qd_pace_expect(pace, leg, told[leg] > 0 ? told[leg] : 1);
    if (code == QD_OK && measured && c->calibration.count > 0 && told[QD_LEG_WALK] <= 0)
        code = qd_probe_layers(c->recipe, &c->machine, c->pool, pace, err);
    qd_meter_start(meter, c->sink, "quantizing", "layers", qd_model_linear_count(c->model));
    qd_pace_begin(pace, qd_clock_seconds());
    meter->pace = pace;
    if (code == QD_OK && measured)
        qd_meter_step(meter, 0);
    return code;
}

/* The blocks that streams go through: the model's only where something looks at how the quantized one differs. */
static qd_code load_blocks(qd_blockwise *b, qd_error *err)
{
    const qd_context *c = b->context;
    qd_arithmetic arithmetic = qd_recipe_arithmetic(c->recipe, c->model);
    if (b->streams == NULL)
        return QD_OK;
    if (!qd_recipe_compares_streams(c->recipe))
        return qd_block_load(c->model, b->number, NULL, arithmetic, &b->block, err);
    qd_code code = qd_block_load(c->model, b->number, NULL, arithmetic, &b->float_block, err);
    return code == QD_OK ? qd_block_share(b->float_block, &b->block, err) : code;
}

static qd_code walk(qd_context *c, qd_streams *streams, qd_error *err)
{
    qd_meter meter;
    QD_AUTO(qd_pace_fini) qd_pace pace = { 0 };
    qd_code code = begin(c, &meter, &pace, err);
    for (size_t i = 0; code == QD_OK && i < qd_model_borrow_config(c->model)->blocks; i++) {
        qd_blockwise b = {
            .context = c, .streams = streams, .number = i, .first = qd_model_block_first(c->model, i), .meter = &meter
        };
        code = load_blocks(&b, err);
        if (code == QD_OK)
            code = do_block(&b, err);
        qd_block_destroy(b.block);
        qd_block_destroy(b.float_block);
        if (code != QD_OK && code != QD_ECANCELLED)
            code = qd_within(err, code, "block %zu", i);
    }
    qd_outcome_take(c, &pace);
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
    qd_blockwise b = { .context = c, .meter = &meter };
    for (size_t i = 0; code == QD_OK && i < c->finished; i++)
        code = resume_layer(&b, i, err);
    return code;
}

/* In memory where the forecast has room for them there; on disk elsewhere, and where the system gives no more memory. */
static qd_code make_streams(const qd_context *c, qd_streams *out, qd_error *err)
{
    const qd_windows *windows = &c->calibration;
    const char *folder = c->paths->work_dir;
    const qd_volume volume = { .samples = windows->count, .length = windows->length };
    qd_streams_way way = { c->recipe->scope, c->recipe->first_position, qd_recipe_arithmetic(c->recipe, c->model),
                           qd_recipe_compares_streams(c->recipe) ? QD_WALK_BOTH : QD_WALK_QUANTIZED,
                           qd_kept_by(c->recipe, c->model, (uint64_t)windows->count * windows->length) };
    bool held = qd_memory_held(c->recipe, c->model, qd_pool_threads(c->pool), &volume) > 0;
    qd_code code = qd_streams_init(c->model, windows, held ? NULL : folder, c->pool, c->cancel, way, out, err);
    if (code != QD_ENOMEM || !held)
        return code;
    qd_emit_warning(c->sink, "hidden states lie on disk: %.400s", err->text);
    return qd_streams_init(c->model, windows, folder, c->pool, c->cancel, way, out, err);
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
    if (c->recipe->regularizer->value == QD_VALUE_HELD_OUT && !qd_calibration_holds_out(c))
        qd_emit_warning(
            c->sink,
            "regularization: '%s' holds out one of %d sequences and there are %zu; %g of the mean diagonal is used",
            c->recipe->regularizer->name, QD_HOLDOUT_EVERY, c->calibration.count, c->recipe->regularization);
    const qd_volume volume = { .samples = c->calibration.count, .length = c->calibration.length };
    if (qd_memory_matrices(c->recipe, c->model, qd_pool_threads(c->pool), &volume) == QD_MATRICES_ON_DISK)
        c->matrix_folder = c->paths->work_dir;
    QD_AUTO(qd_streams_fini) qd_streams streams = { 0 };
    code = make_streams(c, &streams, err);
    return code == QD_OK ? walk(c, &streams, err) : code;
}
