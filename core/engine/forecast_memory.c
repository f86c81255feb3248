/* forecast_memory.c: see forecast_memory.h. Each line follows an allocation of the engine. */
#include "engine/forecast_memory.h"

#include "base/mem.h"
#include "export/weight_bytes.h"
#include "quant/holdout.h"

enum { F32 = 4, F64 = 8, STREAMS = 2 };
/* Program, libraries and tables; work memory of the products, a thread. */
static const uint64_t base_bytes = 22u << 20, thread_bytes = 5u << 20;
/* A checkpoint's header and record, an artifact's records of a layer. */
static const uint64_t record_bytes = 4000, other_records = 5000;
/* Hidden states of an evaluation batch; a slice of logits, two a thread; a shard in the making. */
static const uint64_t batch_bytes = 64u << 20, slice_bytes = 8u << 20, slice_rows = 256, shard_bytes = 1u << 30;
/* Tokens whose inputs are gathered at a time. */
static const size_t chunk_tokens = 4096;
/* Rows of float64 that a thread has at hand: a panel of the sweep, four times; partial roundings of a batch of the beam search, twice, beside it. */
static const uint64_t swept_rows = 4 * 64, refined_rows = 4 * 64 + 2 * 256;

/* ---- disk ---- */

/* A layer in certificate.json: more of it where more was done. */
static uint64_t certificate_bytes(const qd_recipe *recipe)
{
    enum { PLAIN = 2010, REFINED = 360, MISMATCH = 245 };
    bool refined = recipe->algorithm->refines && (recipe->refine.beam > 1 || recipe->refine.rounds > 0);
    return PLAIN + (refined ? REFINED : 0) + (recipe->algorithm->needs == QD_NEEDS_MISMATCH ? MISMATCH : 0);
}

static qd_code layer_on_disk(const qd_recipe *recipe, const qd_model *model, size_t index, qd_forecast *f,
                             qd_error *err)
{
    qd_grid_spec spec;
    qd_grid grid = { 0 };
    const qd_linear *linear = qd_model_linear_at(model, index);
    qd_code code = qd_recipe_layer_spec(recipe, linear, &spec, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; i < recipe->format_count; i++)
        f->artifact_bytes +=
            qd_format_layer_bytes(&recipe->formats[i], &spec, linear, qd_model_borrow_config(model)->dtype);
    qd_grid_shape(&spec, linear->in, &grid);
    size_t matrices = spec.zero == QD_ZERO_NONE ? 1 : 2;
    f->checkpoint_bytes +=
        (uint64_t)linear->out * linear->in + matrices * F32 * linear->out * grid.groups + record_bytes;
    return QD_OK;
}

/* Floats of a token in the scratch file: the residual and the widest input that is stored (streams.c). */
static uint64_t stored_width(const qd_model *model)
{
    qd_block_shape shape;
    qd_block_shape_of(model, 0, &shape);
    size_t hidden = qd_model_borrow_config(model)->hidden;
    return hidden + qd_max_size(hidden, shape.attention);
}

qd_code qd_forecast_disk(const qd_recipe *recipe, const qd_model *model, qd_forecast *f, qd_error *err)
{
    size_t layers = qd_model_linear_count(model);
    uint64_t bytes = 0;
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < layers; i++)
        code = layer_on_disk(recipe, model, i, f, err);
    for (size_t i = 0; code == QD_OK && i < recipe->format_count; i++) {
        code = qd_format_other_bytes(&recipe->formats[i], model, &bytes, err);
        f->artifact_bytes += bytes + layers * certificate_bytes(recipe) + other_records;
        if (code == QD_OK)
            code = qd_format_side_bytes(model, &bytes, err);
        f->artifact_bytes += bytes;
    }
    f->scratch_bytes = (uint64_t)STREAMS * F32 * f->volume.samples * f->volume.length * stored_width(model);
    f->disk_bytes = f->checkpoint_bytes + (f->scratch_bytes > f->artifact_bytes ? f->scratch_bytes : f->artifact_bytes);
    return code;
}

/* ---- memory ---- */

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static size_t widest_of_model(const qd_model *model, size_t *out_tallest, size_t *out_weights)
{
    size_t widest = 0;
    *out_tallest = *out_weights = 0;
    for (size_t i = 0; i < qd_model_borrow_config(model)->blocks; i++) {
        qd_block_shape shape;
        qd_block_shape_of(model, i, &shape);
        widest = qd_max_size(widest, shape.widest);
        *out_weights = qd_max_size(*out_weights, shape.weights);
        for (size_t k = shape.first; k < shape.first + shape.count; k++)
            *out_tallest =
                qd_max_size(*out_tallest, qd_model_linear_at(model, k)->out * qd_model_linear_at(model, k)->in);
    }
    return widest;
}

/* Matrices I x I of float64 that a group holds at once. */
static uint64_t squares_of_group(const qd_recipe *recipe, const qd_forecast *f)
{
    bool tried = recipe->regularizer->value == QD_VALUE_HELD_OUT && f->volume.samples >= QD_HOLDOUT_EVERY;
    bool both = recipe->algorithm->needs == QD_NEEDS_MISMATCH;
    bool split = both && recipe->mismatch.shrink == QD_SHRINK_AUTO;
    uint64_t moments = both ? 9 : 1, factor = 3; /* C, H in order, and what they are made from */
    return moments + factor + (tried ? 3 : 0) + (split ? 2 : 0);
}

static uint64_t quantizing_memory(const qd_recipe *recipe, const qd_model *model, const qd_machine *machine,
                                  const qd_forecast *f)
{
    size_t largest, weights, widest = widest_of_model(model, &largest, &weights);
    size_t hidden = qd_model_borrow_config(model)->hidden, length = f->volume.length;
    uint64_t layer = 4 * (uint64_t)F32 * largest, codes = largest;
    if (f->volume.samples == 0)
        return (uint64_t)F32 * weights + layer + codes;
    bool both = recipe->algorithm->needs == QD_NEEDS_MISMATCH;
    uint64_t blocks = (uint64_t)STREAMS * F32 * weights;
    uint64_t squares = squares_of_group(recipe, f) * F64 * widest * widest;
    uint64_t residual = both && recipe->residual ? 4ull * F64 * hidden * widest : 0;
    uint64_t target = both ? 3ull * F64 * largest : 0;
    uint64_t chunk = (uint64_t)F32 * qd_max_size(chunk_tokens, length) * (both ? 2 * widest + hidden : widest);
    uint64_t rows = recipe->refine.beam > 1 || recipe->refine.rounds > 0 ? refined_rows : swept_rows;
    uint64_t thread = (uint64_t)F32 * length * (5 * widest + 2 * hidden) + rows * F64 * widest;
    return blocks + squares + residual + target + chunk + layer + codes + machine->threads * thread;
}

static uint64_t walking_memory(const qd_model *model, const qd_machine *machine, const qd_forecast *f, uint64_t streams)
{
    size_t largest, weights, widest = widest_of_model(model, &largest, &weights);
    const qd_model_config *config = qd_model_borrow_config(model);
    size_t length = f->volume.window;
    uint64_t states = streams * F32 * f->volume.windows * length * config->hidden;
    uint64_t numbers = streams * f->volume.windows * length * (2 * F64 + 1);
    uint64_t row = (uint64_t)F32 * config->vocabulary, slice = smaller(slice_bytes, slice_rows * row);
    uint64_t logits = 2 * larger(slice, 8 * row);
    uint64_t scratch = (uint64_t)F32 * length * (4 * widest + 3 * config->hidden);
    if (f->volume.windows == 0)
        return 0;
    states = smaller(states, larger(batch_bytes, streams * F32 * length * config->hidden));
    return states + numbers + (uint64_t)F32 * weights + 3ull * F32 * largest +
           machine->threads * (streams * scratch + logits);
}

void qd_forecast_memory(const qd_recipe *recipe, const qd_model *model, const qd_machine *machine, qd_forecast *f)
{
    uint64_t mapped = 0;
    for (size_t i = 0; i < qd_model_tensor_count(model); i++)
        mapped += qd_model_tensor_at(model, i)->bytes;
    uint64_t base = base_bytes + machine->threads * thread_bytes;
    uint64_t texts = 3 * f->volume.text_bytes;
    uint64_t quantizing = quantizing_memory(recipe, model, machine, f);
    uint64_t evaluating = larger(walking_memory(model, machine, f, 2), walking_memory(model, machine, f, 3));
    uint64_t exporting = f->artifact_bytes < shard_bytes ? f->artifact_bytes : shard_bytes;
    uint64_t own = larger(larger(quantizing, evaluating), larger(exporting, texts));
    f->least_memory = base + own;
    f->peak_memory =
        base + larger(larger(quantizing + f->scratch_bytes, evaluating), larger(exporting, texts)) + mapped;
}
