/* cost.c: see cost.h. */
#include "engine/cost.h"

#include "base/mem.h"
#include "quant/holdout.h"
#include "quant/scale.h"

/* Dampings that qd_holdout_search tries, each with a factor of its own. */
enum { DAMPINGS = 6, STREAMS = 2 };

void qd_cost_add(qd_cost *to, const qd_cost *what)
{
    for (size_t i = 0; i < QD_WORKS; i++)
        to->amount[i] += what->amount[i];
}

void qd_block_shape_of(const qd_model *model, size_t block, qd_block_shape *out)
{
    *out = (qd_block_shape){ .first = qd_model_block_first(model, block), .count = qd_model_block_size(model, block) };
    for (size_t i = out->first; i < out->first + out->count; i++) {
        const qd_linear *linear = qd_model_linear_at(model, i);
        out->widest = qd_max_size(out->widest, linear->in);
        out->groups = qd_max_size(out->groups, linear->group + 1);
        out->weights += linear->out * linear->in;
        if (linear->group == 1)
            out->attention = linear->in;
    }
}

/* Layers of the block of `index` with its input. */
static size_t companions(const qd_model *model, size_t index)
{
    size_t count = 0, all = qd_model_linear_count(model), group = qd_model_linear_at(model, index)->group;
    for (size_t i = index + 1; i-- > 0 && qd_model_linear_at(model, i)->group == group;)
        count++;
    for (size_t i = index + 1; i < all && qd_model_linear_at(model, i)->group == group; i++)
        count++;
    return qd_max_size(count, 1);
}

static bool knows_both_streams(const qd_recipe *recipe)
{
    return recipe->algorithm->needs == QD_NEEDS_MISMATCH;
}

static bool tries_dampings(const qd_recipe *recipe, const qd_volume *volume)
{
    return recipe->regularizer->value == QD_VALUE_HELD_OUT && volume->samples >= QD_HOLDOUT_EVERY;
}

/* The group that writes to the residual stream is wider than it is high, or as high: o and down. */
static bool repairs_residual(const qd_recipe *recipe, const qd_model *model, const qd_linear *linear)
{
    return recipe->residual && linear->group % 2 == 1 && linear->out == qd_model_borrow_config(model)->hidden;
}

static double gram_of_group(const qd_recipe *recipe, const qd_model *model, const qd_linear *linear, double tokens)
{
    double width = (double)linear->in, square = tokens * width * width;
    if (!knows_both_streams(recipe))
        return qd_transforms_shaping(&recipe->transforms) == NULL ? square : 2 * square;
    return 4 * square + (repairs_residual(recipe, model, linear) ? 4 * tokens * width * (double)linear->out : 0);
}

static double factors_of_group(const qd_recipe *recipe, const qd_volume *volume, const qd_linear *linear)
{
    double width = (double)linear->in, count = 1;
    if (tries_dampings(recipe, volume))
        count += DAMPINGS;
    if (knows_both_streams(recipe) && recipe->mismatch.shrink == QD_SHRINK_AUTO)
        count += 1;
    return count * width * width * width;
}

/* Weights times the scales that a rule tries for each group of them; an asymmetric grid tries zeros as well. */
static double scales_tried(const qd_recipe *recipe, double weights)
{
    double passes = recipe->grid.zero == QD_ZERO_NONE ? 1 : 2;
    return weights * passes * (double)recipe->grid.rule->tries;
}

/* Both streams through the layer, and once more where its outputs are made again for the statistics of a wider input behind it. */
static double forward_of_layer(const qd_recipe *recipe, const qd_model *model, const qd_linear *linear, double tokens)
{
    size_t hidden = qd_model_borrow_config(model)->hidden;
    bool again = linear->group == 2 && linear->out > hidden;
    double passes = STREAMS + (!again ? 0 : knows_both_streams(recipe) ? STREAMS : 1);
    return passes * 2 * tokens * (double)linear->out * (double)linear->in;
}

static double attention_of_block(const qd_block_shape *shape, double tokens, double length)
{
    return 2 * tokens * length * (double)shape->attention;
}

/* Steps that are there for this algorithm and effort only. */
static void round_layer(const qd_recipe *recipe, const qd_linear *linear, qd_cost *out)
{
    double square = (double)linear->out * (double)linear->in * (double)linear->in;
    if (recipe->algorithm->needs == QD_NEEDS_NOTHING)
        return;
    out->amount[QD_WORK_SWEEP] = square;
    if (knows_both_streams(recipe))
        out->amount[QD_WORK_TARGET] = square * (recipe->mismatch.shrink == QD_SHRINK_AUTO ? 2 : 1);
    if (recipe->algorithm->refines && recipe->refine.beam > 1)
        out->amount[QD_WORK_BEAM] = square * (double)recipe->refine.beam;
    if (recipe->algorithm->refines && recipe->refine.rounds > 0)
        out->amount[QD_WORK_DESCENT] = square;
}

void qd_cost_of_layer(const qd_recipe *recipe, const qd_model *model, const qd_volume *volume, size_t index,
                      qd_cost *out)
{
    *out = (qd_cost){ 0 };
    const qd_linear *linear = qd_model_linear_at(model, index);
    double weights = (double)linear->out * (double)linear->in, tokens = (double)(volume->samples * volume->length);
    out->amount[QD_WORK_GRID] = scales_tried(recipe, weights);
    out->amount[QD_WORK_LAYER] = weights;
    out->amount[QD_WORK_CHECKPOINT] = 1;
    if (volume->samples == 0)
        return;
    qd_block_shape shape;
    size_t block = 0;
    while (index >= qd_model_block_first(model, block) + qd_model_block_size(model, block))
        block++;
    qd_block_shape_of(model, block, &shape);
    double share = 1.0 / (double)companions(model, index);
    out->amount[QD_WORK_FORWARD] = forward_of_layer(recipe, model, linear, tokens);
    if (linear->group == 1)
        out->amount[QD_WORK_FORWARD] += STREAMS * attention_of_block(&shape, tokens, (double)volume->length) * share;
    out->amount[QD_WORK_GRAM] = gram_of_group(recipe, model, linear, tokens) * share;
    out->amount[QD_WORK_FACTOR] = factors_of_group(recipe, volume, linear) * share;
    round_layer(recipe, linear, out);
}

static double all_weights(const qd_model *model)
{
    double elements = 0;
    for (size_t i = 0; i < qd_model_tensor_count(model); i++)
        elements += (double)qd_model_tensor_at(model, i)->elements;
    return elements;
}

static double linear_weights(const qd_model *model)
{
    double weights = 0;
    for (size_t i = 0; i < qd_model_linear_count(model); i++)
        weights += (double)qd_model_linear_at(model, i)->out * (double)qd_model_linear_at(model, i)->in;
    return weights;
}

void qd_cost_of_start(const qd_model *model, const qd_volume *volume, qd_cost *out)
{
    *out = (qd_cost){ 0 };
    out->amount[QD_WORK_TEXT] = (double)volume->text_bytes;
    out->amount[QD_WORK_LAYER] = all_weights(model) / 4; /* digests and finite values */
}

/* One model through the evaluation windows. */
static void walk(const qd_model *model, const qd_volume *volume, qd_cost *out)
{
    const qd_model_config *config = qd_model_borrow_config(model);
    double tokens = (double)(volume->windows * volume->window), words = tokens * (double)config->vocabulary;
    for (size_t i = 0; i < config->blocks; i++) {
        qd_block_shape shape;
        qd_block_shape_of(model, i, &shape);
        out->amount[QD_WORK_FORWARD] +=
            2 * tokens * (double)shape.weights + attention_of_block(&shape, tokens, (double)volume->window);
        out->amount[QD_WORK_LAYER] += (double)shape.weights;
    }
    out->amount[QD_WORK_FORWARD] += 2 * words * (double)config->hidden;
    out->amount[QD_WORK_WORD] += words;
}

static bool has_baseline(const qd_recipe *recipe)
{
    return recipe->baseline != NULL && recipe->baseline != recipe->algorithm;
}

void qd_cost_of_evaluating(const qd_recipe *recipe, const qd_model *model, const qd_volume *volume, qd_cost *out)
{
    *out = (qd_cost){ 0 };
    if (volume->windows == 0)
        return;
    walk(model, volume, out);
    if (!has_baseline(recipe))
        return;
    walk(model, volume, out);
    out->amount[QD_WORK_LAYER] += linear_weights(model);
    if (qd_recipe_moves_scales(recipe))
        out->amount[QD_WORK_GRID] += scales_tried(recipe, linear_weights(model));
}

void qd_cost_of_exporting(const qd_recipe *recipe, const qd_model *model, qd_cost *out)
{
    *out = (qd_cost){ 0 };
    out->amount[QD_WORK_LAYER] = (double)recipe->format_count * all_weights(model) / 2;
    out->amount[QD_WORK_CHECKPOINT] = (double)recipe->format_count;
}

void qd_cost_of_verifying(const qd_recipe *recipe, const qd_model *model, const qd_volume *volume, qd_cost *out)
{
    *out = (qd_cost){ 0 };
    for (size_t i = 0; i < recipe->format_count; i++) {
        out->amount[QD_WORK_LAYER] += 4 * all_weights(model);
        out->amount[QD_WORK_CHECKPOINT] += 1;
        if (volume->windows > 0)
            walk(model, volume, out);
    }
    if (volume->windows > 0)
        walk(model, volume, out); /* the source, beside them */
}
