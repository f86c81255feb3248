/* forecast_memory.c: see forecast_memory.h. Each line follows an allocation of the engine. */
#include "engine/forecast_memory.h"

#include "base/mem.h"
#include "engine/arithmetic.h"
#include "engine/kept.h"
#include "generate/generate.h"
#include "export/weight_bytes.h"
#include "quant/holdout.h"

enum { BF16 = 2, F32 = 4, F64 = 8 };
/* Program, libraries and tables; work memory of the products, a thread. */
static const uint64_t base_bytes = 22u << 20, thread_bytes = 5u << 20;
/* A checkpoint's header and record, an artifact's records of a layer. */
static const uint64_t record_bytes = 4000, other_records = 5000;
/* Hidden states of an evaluation batch; a slice of logits, two a thread; a shard in the making. */
static const uint64_t batch_bytes = 64u << 20, slice_bytes = 8u << 20, slice_rows = 256, shard_bytes = 1u << 30;
/* Beside a text itself, for each byte that is encoded at once: pieces of words, or symbols and pairs of a single word, which grow by doubling.
 * Measured, over 24 MB: 15 for prose where the tokenizer cuts words, 23 where it does not. */
static const uint64_t encoding_bytes = 23;
/* Tokens whose inputs are gathered at a time. */
static const size_t chunk_tokens = 4096;
/* Rows of float64 that a thread has at hand: a panel of the sweep, four times; partial roundings of a batch of the beam search, twice, beside it. */
static const uint64_t swept_rows = 4 * 64, refined_rows = 4 * 64 + 2 * 256;

static bool is_refined(const qd_recipe *recipe)
{
    return recipe->algorithm->refines && (recipe->refine.beam > 1 || recipe->refine.rounds > 0);
}

/* ---- disk ---- */

/* A layer in certificate.json: more of it where more was done. */
static uint64_t certificate_bytes(const qd_recipe *recipe)
{
    enum { PLAIN = 2010, REFINED = 360, MISMATCH = 245 };
    return PLAIN + (is_refined(recipe) ? REFINED : 0) + (recipe->algorithm->needs == QD_NEEDS_MISMATCH ? MISMATCH : 0);
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

static uint64_t states_bytes(const qd_recipe *recipe, const qd_model *model, const qd_volume *volume)
{
    uint64_t tokens = (uint64_t)volume->samples * volume->length;
    return qd_kept_bytes(recipe, model, tokens, qd_kept_by(recipe, model, tokens));
}

qd_code qd_forecast_disk(const qd_recipe *recipe, const qd_model *model, size_t threads, qd_forecast *f, qd_error *err)
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
    if (qd_memory_held(recipe, model, threads, &f->volume) == 0)
        f->scratch_bytes = states_bytes(recipe, model, &f->volume);
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

/* Matrices I x I of float64: all there are at once, and how many of them are resident in one step where they lie on disk: where H is factored,
 * and where a layer is made. Rows that were read and are not wanted next are given back. */
typedef struct square_counts {
    double all, factored, layer;
} square_counts;

static square_counts squares_of_group(const qd_recipe *recipe, const qd_forecast *f)
{
    bool tried = recipe->regularizer->value == QD_VALUE_HELD_OUT && f->volume.samples >= QD_HOLDOUT_EVERY;
    bool refined = is_refined(recipe), walks = recipe->algorithm->drift == QD_DRIFT_PATH;
    double order = (double)recipe->order->matrices;
    /* A candidate's H, then its C, beside the part that they are made from; or H, then C. */
    double factored = (tried ? 2.1 : 1.1) + order;
    /* Nine moments, the held-out copy, H and C; later C, twice on the path, and narrow copies. Each thread may be at another of them. */
    if (recipe->algorithm->needs == QD_NEEDS_MISMATCH)
        return (square_counts){ 12.0 + order, factored, refined || walks ? 3.0 : 2.0 };
    /* H, C and a narrow copy; or the sum of the parts and both, and a candidate's H and C, and what is held out in order. */
    return (square_counts){ (tried ? 5.0 : 2.5) + order, factored, tried || refined ? 2.1 : 1.4 };
}

/* Floats of a token that a thread has beside those of any block, where tokens are sent to experts. */
static uint64_t expert_room(const qd_model *model, size_t widest)
{
    const qd_model_config *c = qd_model_borrow_config(model);
    return c->experts == 0
               ? 0
               : c->experts + 4 * (uint64_t)c->experts_used + 2 * (uint64_t)c->hidden + 2 * (uint64_t)widest;
}

/* What threads work with on their way through a block. */
static uint64_t passing_memory(const qd_model *model, size_t threads, const qd_forecast *f)
{
    size_t largest, weights, widest = widest_of_model(model, &largest, &weights);
    size_t hidden = qd_model_borrow_config(model)->hidden;
    return (uint64_t)F32 * threads * f->volume.length * (3 * widest + 6 * hidden + expert_room(model, widest));
}

/* The inputs that are gathered for all, and a chunk of them packed in bf16, as left and as right operands. Those that are packed straight from where
 * they are stored are not gathered, which leaves room for their panels. */
static uint64_t chunk_memory(const qd_recipe *recipe, const qd_model *model, const qd_forecast *f)
{
    size_t largest, weights, widest = widest_of_model(model, &largest, &weights);
    size_t hidden = qd_model_borrow_config(model)->hidden;
    uint64_t tokens = (uint64_t)f->volume.samples * f->volume.length;
    bool both = recipe->algorithm->needs == QD_NEEDS_MISMATCH;
    bool routed = qd_model_borrow_config(model)->experts > 0;
    qd_arithmetic arithmetic = qd_recipe_arithmetic(recipe, model);
    uint64_t gathered =
        (uint64_t)F32 * qd_max_size(chunk_tokens, f->volume.length) * (both ? 2 * widest + hidden : widest);
    uint64_t panels = (uint64_t)BF16 * QD_GRAM_CHUNK * (both ? 4 * widest + hidden : 2 * widest);
    if (arithmetic == QD_ARITHMETIC_FLOAT32)
        return gathered;
    if (arithmetic == QD_ARITHMETIC_TWO_TERMS)
        return gathered + 2 * panels;
    return qd_kept_by(recipe, model, tokens) == QD_KEEP_WIDE && !routed ? larger(gathered, panels) : gathered + panels;
}

/* What a layer takes while it is made, beside its group's matrices. */
static uint64_t layer_memory(const qd_recipe *recipe, const qd_model *model, size_t threads)
{
    size_t largest, weights, widest = widest_of_model(model, &largest, &weights);
    bool both = recipe->algorithm->needs == QD_NEEDS_MISMATCH;
    uint64_t rows = is_refined(recipe) ? refined_rows : swept_rows;
    return 4ull * F32 * largest + largest + (both ? 3ull * F64 * largest : 0) + threads * rows * F64 * widest;
}

/* The weights that the streams go through: the second stream's are its own once they are rounded. */
static uint64_t blocks_memory(const qd_recipe *recipe, const qd_model *model)
{
    size_t largest, weights;
    widest_of_model(model, &largest, &weights);
    uint64_t each = qd_recipe_arithmetic(recipe, model) == QD_ARITHMETIC_BFLOAT16 ? BF16 : F32;
    return (qd_recipe_compares_streams(recipe) ? 2 : 1) * each * weights;
}

/* Resident at most while layers are made. */
static uint64_t quantizing_memory(const qd_recipe *recipe, const qd_model *model, size_t threads, const qd_forecast *f,
                                  qd_matrices matrices)
{
    size_t largest, weights, widest = widest_of_model(model, &largest, &weights);
    size_t hidden = qd_model_borrow_config(model)->hidden;
    uint64_t layer = layer_memory(recipe, model, threads);
    if (f->volume.samples == 0)
        return layer;
    square_counts squares = squares_of_group(recipe, f);
    bool residual = recipe->algorithm->needs == QD_NEEDS_MISMATCH && recipe->residual;
    double square = (double)F64 * (double)widest * (double)widest;
    uint64_t beside = residual ? (uint64_t)F64 * hidden * widest : 0, passing = passing_memory(model, threads, f),
             chunk = chunk_memory(recipe, model, f);
    uint64_t always = blocks_memory(recipe, model) + (uint64_t)F32 * f->volume.samples * f->volume.length *
                                                         qd_model_borrow_config(model)->experts_used;
    if (matrices == QD_MATRICES_IN_MEMORY)
        return always + (uint64_t)(squares.all * square) + 4 * beside + passing + larger(layer, chunk);
    uint64_t made = larger((uint64_t)(squares.factored * square), (uint64_t)(squares.layer * square) + layer);
    return always + beside + larger(made, (uint64_t)square + chunk + passing); /* who makes layers has the walk rest */
}

/* Bytes that all moments and factors take, and what goes to disk and comes back: every chunk of tokens touches the moments once. */
static qd_memory_choice on_disk(const qd_recipe *recipe, const qd_model *model, const qd_forecast *f)
{
    static const double page_rate = 2e9; /* bytes a second through page faults, where the page cache has room */
    qd_memory_choice out = { 0 };
    square_counts squares = squares_of_group(recipe, f);
    double chunks = 1 + (double)(f->volume.samples * f->volume.length) / (double)chunk_tokens;
    bool both = recipe->algorithm->needs == QD_NEEDS_MISMATCH;
    for (size_t i = 0; i < qd_model_linear_count(model); i++) {
        const qd_linear *linear = qd_model_linear_at(model, i);
        double square = (double)F64 * (double)linear->in * (double)linear->in;
        out.disk_bytes = larger(out.disk_bytes, (uint64_t)(squares.all * square));
        if (i == 0 || qd_model_linear_at(model, i - 1)->group != linear->group)
            out.seconds += square * ((both ? 3 : 1) * chunks + 4 * squares.all) / page_rate;
    }
    return out;
}

static uint64_t walking_memory(const qd_model *model, const qd_machine *machine, const qd_forecast *f, uint64_t streams)
{
    size_t largest, weights, widest = widest_of_model(model, &largest, &weights);
    const qd_model_config *config = qd_model_borrow_config(model);
    size_t length = f->volume.window;
    uint64_t states = streams * F32 * f->volume.most_windows * length * config->hidden;
    uint64_t numbers = streams * f->volume.most_windows * length * (2 * F64 + 1);
    uint64_t row = (uint64_t)F32 * config->vocabulary, slice = smaller(slice_bytes, slice_rows * row);
    uint64_t logits = 2 * larger(slice, 8 * row);
    uint64_t scratch = (uint64_t)F32 * length * (4 * widest + 3 * config->hidden + expert_room(model, widest));
    if (f->volume.windows == 0)
        return 0;
    states = smaller(states, larger(batch_bytes, streams * F32 * length * config->hidden));
    return states + numbers + (uint64_t)F32 * weights + 3ull * F32 * largest +
           machine->threads * (streams * scratch + logits);
}

/* Of zero-shot tasks, whose requests are short: one of these many tokens is a long one. */
static uint64_t tasks_memory(const qd_model *model, const qd_machine *machine, const qd_forecast *f, uint64_t streams)
{
    static const uint64_t longest = 1024;
    size_t largest, weights, widest = widest_of_model(model, &largest, &weights);
    const qd_model_config *config = qd_model_borrow_config(model);
    uint64_t states = streams * F32 * f->volume.task_tokens * config->hidden, row = (uint64_t)F32 * config->vocabulary;
    uint64_t logits = larger(smaller(2 * slice_bytes, slice_rows * row), 8 * row);
    uint64_t scratch = (uint64_t)F32 * longest * (4 * widest + 3 * config->hidden);
    if (f->volume.task_requests == 0)
        return 0;
    states = smaller(states, larger(batch_bytes, streams * F32 * longest * config->hidden));
    return states + (uint64_t)F32 * f->volume.task_tokens + (uint64_t)F32 * weights + 3ull * F32 * largest +
           machine->threads * (streams * scratch + logits);
}

const char *qd_matrices_name(size_t index)
{
    static const char *const names[] = { "memory", "disk" };
    return index < QD_LENGTH(names) ? names[index] : NULL;
}

static qd_matrices choose(uint64_t limit, uint64_t in_memory)
{
    return limit == 0 || in_memory <= limit ? QD_MATRICES_IN_MEMORY : QD_MATRICES_ON_DISK;
}

/* With all matrices in memory, and hidden states on disk. */
static uint64_t memory_in_memory(const qd_recipe *recipe, const qd_model *model, size_t threads,
                                 const qd_volume *volume)
{
    const qd_forecast f = { .volume = *volume };
    return base_bytes + threads * thread_bytes + quantizing_memory(recipe, model, threads, &f, QD_MATRICES_IN_MEMORY);
}

qd_matrices qd_memory_matrices(const qd_recipe *recipe, const qd_model *model, size_t threads, const qd_volume *volume)
{
    return choose(recipe->limit_memory, memory_in_memory(recipe, model, threads, volume));
}

uint64_t qd_memory_held(const qd_recipe *recipe, const qd_model *model, size_t threads, const qd_volume *volume)
{
    uint64_t bytes = states_bytes(recipe, model, volume);
    bool fits =
        recipe->limit_memory == 0 || memory_in_memory(recipe, model, threads, volume) + bytes <= recipe->limit_memory;
    return bytes <= QD_HELD_MOST && fits ? bytes : 0;
}

/* Of the model's files what is looked at as it lies, a tensor at a time. */
static uint64_t mapped_memory(const qd_model *model)
{
    uint64_t most = 0;
    for (size_t i = 0; i < qd_model_tensor_count(model); i++)
        most = larger(most, qd_model_tensor_at(model, i)->bytes);
    return most;
}

void qd_forecast_memory(const qd_recipe *recipe, const qd_model *model, const qd_machine *machine, qd_forecast *f)
{
    uint64_t base = base_bytes + machine->threads * thread_bytes, mapped = mapped_memory(model);
    uint64_t texts = 3 * f->volume.text_bytes + encoding_bytes * f->volume.encoded_bytes;
    uint64_t evaluating = larger(walking_memory(model, machine, f, 2), walking_memory(model, machine, f, 3));
    evaluating = larger(evaluating, tasks_memory(model, machine, f, 2));
    uint64_t exporting = f->artifact_bytes < shard_bytes ? f->artifact_bytes : shard_bytes;
    uint64_t drawing = f->volume.drawn == 0 ? 0 : qd_generate_memory(model, f->volume.drawn_length, machine->threads);
    uint64_t others = larger(mapped + larger(evaluating, exporting), texts);
    f->choices[QD_MATRICES_ON_DISK] = on_disk(recipe, model, f);
    for (size_t i = 0; i < QD_MATRICES_COUNT; i++) {
        uint64_t quantizing = quantizing_memory(recipe, model, machine->threads, f, (qd_matrices)i);
        if (i == QD_MATRICES_IN_MEMORY)
            quantizing += qd_memory_held(recipe, model, machine->threads, &f->volume);
        f->choices[i].peak_memory = base + larger(larger(quantizing, others), mapped + drawing);
    }
    f->matrices = choose(recipe->limit_memory, f->choices[QD_MATRICES_IN_MEMORY].peak_memory);
    f->peak_memory = f->choices[f->matrices].peak_memory;
    f->least_memory = f->choices[QD_MATRICES_ON_DISK].peak_memory;
    f->least_with_texts =
        base + larger(quantizing_memory(recipe, model, machine->threads, f, QD_MATRICES_ON_DISK), others);
}
