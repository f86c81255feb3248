/* cost.c: see cost.h. */
#include "engine/cost.h"

#include "base/mem.h"
#include "engine/kept.h"
#include "quant/holdout.h"
#include "quant/scale.h"

/* Dampings that qd_holdout_search tries, each with a factor of its own. */
enum { DAMPINGS = 6 };

const char *qd_leg_name(size_t leg)
{
    static const char *const names[QD_LEGS] = { "start",      "walk",      "moments",  "rounding",
                                                "evaluating", "exporting", "verifying" };
    return leg < QD_LEGS ? names[leg] : NULL;
}

void qd_cost_add(qd_cost *to, const qd_cost *what)
{
    for (size_t i = 0; i < QD_WORKS; i++)
        to->amount[i] += what->amount[i];
}

/* The part of all tokens that a layer sees: of an expert's, what it would be if all experts saw as many. */
static double part_of_tokens(const qd_model *model, const qd_linear *linear)
{
    const qd_model_config *config = qd_model_borrow_config(model);
    return linear->expert == QD_NO_EXPERT ? 1.0 : (double)config->experts_used / (double)config->experts;
}

void qd_block_shape_of(const qd_model *model, size_t block, qd_block_shape *out)
{
    *out = (qd_block_shape){ .first = qd_model_block_first(model, block), .count = qd_model_block_size(model, block) };
    for (size_t i = out->first; i < out->first + out->count; i++) {
        const qd_linear *linear = qd_model_linear_at(model, i);
        out->widest = qd_max_size(out->widest, linear->in);
        out->groups = qd_max_size(out->groups, linear->group + 1);
        out->weights += linear->out * linear->in;
        out->seen += (double)linear->out * (double)linear->in * part_of_tokens(model, linear);
        if (linear->group == 1)
            out->attention = linear->in;
    }
}

/* The layers from first to before end share an input. */
typedef struct group {
    size_t first, end;
} group;

static group group_of(const qd_model *model, size_t index)
{
    size_t all = qd_model_linear_count(model), number = qd_model_linear_at(model, index)->group;
    group g = { index, index + 1 };
    while (g.first > 0 && qd_model_linear_at(model, g.first - 1)->group == number)
        g.first--;
    while (g.end < all && qd_model_linear_at(model, g.end)->group == number)
        g.end++;
    return g;
}

static double weights_of(const qd_model *model, group g)
{
    double weights = 0;
    for (size_t i = g.first; i < g.end; i++)
        weights += (double)qd_model_linear_at(model, i)->out * (double)qd_model_linear_at(model, i)->in;
    return weights;
}

static bool knows_both_streams(const qd_recipe *recipe)
{
    return recipe->algorithm->needs == QD_NEEDS_MISMATCH;
}

size_t qd_cost_streams(const qd_recipe *recipe)
{
    return qd_recipe_compares_streams(recipe) ? 2 : 1;
}

void qd_cost_settle(const qd_recipe *recipe, const qd_model *model, qd_volume *volume)
{
    uint64_t tokens = (uint64_t)volume->samples * volume->length;
    volume->widest_kept = qd_kept_width(model, qd_kept_by(recipe, model, tokens));
}

static bool tries_dampings(const qd_recipe *recipe, const qd_volume *volume)
{
    return recipe->regularizer->value == QD_VALUE_HELD_OUT && volume->samples >= QD_HOLDOUT_EVERY;
}

/* The group that writes to the residual stream is wider than it is high, or as high: o and down. */
static bool repairs_residual(const qd_recipe *recipe, const qd_model *model, const qd_linear *linear)
{
    return recipe->residual && linear->expert == QD_NO_EXPERT && linear->group % 2 == 1 &&
           linear->out == qd_model_borrow_config(model)->hidden;
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

static double attention(double tokens, double length, size_t width)
{
    return 2 * tokens * length * (double)width;
}

/* ---- the walk ---- */

/* Is the input of the group that begins at `first` kept by the streams (streams.c)? */
static bool is_kept(const qd_model *model, const qd_volume *volume, size_t first)
{
    const qd_linear *linear = qd_model_linear_at(model, first);
    if (linear->group == 0)
        return true;
    const qd_linear *before = qd_model_linear_at(model, first - 1);
    if (linear->expert != QD_NO_EXPERT)
        return before->expert == QD_NO_EXPERT;
    return before->group % 2 == 1 ||
           linear->in <= qd_max_size(volume->widest_kept, qd_model_borrow_config(model)->hidden);
}

/* Layers that are gone through again, from a kept input on, to have the group's: of an expert's only its own. */
static group made_again(const qd_model *model, const qd_volume *volume, group g)
{
    size_t expert = qd_model_linear_at(model, g.first)->expert;
    group behind = { g.first, g.first };
    while (!is_kept(model, volume, behind.first) && qd_model_linear_at(model, behind.first - 1)->expert == expert)
        behind.first = group_of(model, behind.first - 1).first;
    return behind;
}

/* Products of one stream through layers; attention comes behind those of the first input. */
static double through(const qd_model *model, const qd_volume *volume, group layers)
{
    double tokens = (double)(volume->samples * volume->length), sum = 0;
    for (size_t i = layers.first; i < layers.end; i++) {
        const qd_linear *linear = qd_model_linear_at(model, i);
        const qd_linear *next = i + 1 < qd_model_linear_count(model) ? qd_model_linear_at(model, i + 1) : linear;
        sum += 2 * tokens * part_of_tokens(model, linear) * (double)linear->out * (double)linear->in;
        if (linear->group == 0 && next->group == 1)
            sum += attention(tokens, (double)volume->length, next->in);
    }
    return sum;
}

/* What the streams do once the group's layers are decided: nothing yet where the next input is not kept. */
static double walk_behind(const qd_recipe *recipe, const qd_model *model, const qd_volume *volume, group g)
{
    size_t all = qd_model_linear_count(model);
    bool last = g.end == all || qd_model_linear_at(model, g.end)->group == 0;
    if (!last && !is_kept(model, volume, g.end))
        return 0;
    group layers = { g.first, g.end };
    while (layers.first > 0 && !is_kept(model, volume, layers.first))
        layers.first = group_of(model, layers.first - 1).first;
    return (double)qd_cost_streams(recipe) * through(model, volume, layers);
}

/* ---- layers ---- */

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
                      qd_cost out[QD_LEGS])
{
    const qd_linear *linear = qd_model_linear_at(model, index);
    double weights = (double)linear->out * (double)linear->in,
           tokens = (double)(volume->samples * volume->length) * part_of_tokens(model, linear);
    for (size_t i = 0; i < QD_LEGS; i++)
        out[i] = (qd_cost){ 0 };
    qd_cost *rounding = &out[QD_LEG_ROUNDING], *moments = &out[QD_LEG_MOMENTS];
    rounding->amount[QD_WORK_GRID] = scales_tried(recipe, weights);
    rounding->amount[QD_WORK_LAYER] = weights;
    rounding->amount[QD_WORK_CHECKPOINT] = 1;
    if (volume->samples == 0)
        return;
    round_layer(recipe, linear, rounding);
    group g = group_of(model, index);
    double share = weights / weights_of(model, g);
    out[QD_LEG_WALK].amount[QD_WORK_FORWARD] = share * walk_behind(recipe, model, volume, g);
    moments->amount[QD_WORK_FORWARD] =
        share * (double)qd_cost_streams(recipe) * through(model, volume, made_again(model, volume, g));
    moments->amount[QD_WORK_GRAM] = share * gram_of_group(recipe, model, linear, tokens);
    moments->amount[QD_WORK_FACTOR] = share * factors_of_group(recipe, volume, linear);
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

/* Tokens that the source model samples: each passes every block and the whole head. */
static void draw(const qd_model *model, const qd_volume *volume, qd_cost *out)
{
    const qd_model_config *config = qd_model_borrow_config(model);
    double tokens = (double)volume->drawn, words = tokens * (double)config->vocabulary;
    for (size_t i = 0; i < config->blocks; i++) {
        qd_block_shape shape;
        qd_block_shape_of(model, i, &shape);
        out->amount[QD_WORK_DRAW] +=
            2 * tokens * shape.seen + attention(tokens, (double)volume->drawn_length, shape.attention);
    }
    out->amount[QD_WORK_DRAW] += 2 * words * (double)config->hidden;
    out->amount[QD_WORK_WORD] += words;
}

static void cost_of_start(const qd_model *model, const qd_volume *volume, qd_cost *out)
{
    *out = (qd_cost){ 0 };
    out->amount[QD_WORK_TEXT] = (double)volume->text_bytes;
    out->amount[QD_WORK_LAYER] = all_weights(model) / 4; /* digests and finite values */
    if (volume->drawn > 0)
        draw(model, volume, out);
}

/* One model through tokens in pieces of a length, with logits of some of them. */
static void walk_tokens(const qd_model *model, double tokens, double length, double asked, qd_cost *out)
{
    const qd_model_config *config = qd_model_borrow_config(model);
    double words = asked * (double)config->vocabulary;
    for (size_t i = 0; i < config->blocks; i++) {
        qd_block_shape shape;
        qd_block_shape_of(model, i, &shape);
        out->amount[QD_WORK_FORWARD] += 2 * tokens * shape.seen + attention(tokens, length, shape.attention);
        out->amount[QD_WORK_LAYER] += (double)shape.weights;
    }
    out->amount[QD_WORK_FORWARD] += 2 * words * (double)config->hidden;
    out->amount[QD_WORK_WORD] += words;
}

/* One model through the evaluation windows, and through the tasks: of those a continuation is some six tokens. */
static void walk(const qd_model *model, const qd_volume *volume, qd_cost *out)
{
    static const double continuation = 6;
    double tokens = (double)(volume->windows * volume->window), requests = (double)volume->task_requests;
    if (volume->windows > 0)
        walk_tokens(model, tokens, (double)volume->window, tokens, out);
    if (volume->task_requests > 0)
        walk_tokens(model, (double)volume->task_tokens, (double)volume->task_tokens / requests, continuation * requests,
                    out);
}

static bool is_evaluated(const qd_volume *volume)
{
    return volume->windows > 0 || volume->task_requests > 0;
}

static bool has_baseline(const qd_recipe *recipe)
{
    return recipe->baseline != NULL && recipe->baseline != recipe->algorithm;
}

static void cost_of_evaluating(const qd_recipe *recipe, const qd_model *model, const qd_volume *volume, qd_cost *out)
{
    *out = (qd_cost){ 0 };
    if (!is_evaluated(volume))
        return;
    walk(model, volume, out);
    if (!has_baseline(recipe))
        return;
    walk(model, volume, out);
    out->amount[QD_WORK_LAYER] += linear_weights(model);
    if (qd_recipe_moves_scales(recipe))
        out->amount[QD_WORK_GRID] += scales_tried(recipe, linear_weights(model));
}

static void cost_of_exporting(const qd_recipe *recipe, const qd_model *model, qd_cost *out)
{
    *out = (qd_cost){ 0 };
    out->amount[QD_WORK_LAYER] = (double)recipe->format_count * all_weights(model) / 2;
    out->amount[QD_WORK_CHECKPOINT] = (double)recipe->format_count;
}

static void cost_of_verifying(const qd_recipe *recipe, const qd_model *model, const qd_volume *volume, qd_cost *out)
{
    *out = (qd_cost){ 0 };
    for (size_t i = 0; i < recipe->format_count; i++) {
        out->amount[QD_WORK_LAYER] += 4 * all_weights(model);
        out->amount[QD_WORK_CHECKPOINT] += 1;
        walk(model, volume, out);
    }
    const qd_volume text = { .windows = volume->windows, .window = volume->window };
    walk(model, &text, out); /* the source, beside them */
}

void qd_cost_of_job(const qd_recipe *recipe, const qd_model *model, const qd_volume *volume, qd_cost out[QD_LEGS])
{
    qd_cost layer[QD_LEGS];
    for (size_t i = 0; i < QD_LEGS; i++)
        out[i] = (qd_cost){ 0 };
    for (size_t i = 0; i < qd_model_linear_count(model); i++) {
        qd_cost_of_layer(recipe, model, volume, i, layer);
        for (size_t leg = 0; leg < QD_LEGS; leg++)
            qd_cost_add(&out[leg], &layer[leg]);
    }
    cost_of_start(model, volume, &out[QD_LEG_START]);
    cost_of_evaluating(recipe, model, volume, &out[QD_LEG_EVALUATING]);
    cost_of_exporting(recipe, model, &out[QD_LEG_EXPORTING]);
    cost_of_verifying(recipe, model, volume, &out[QD_LEG_VERIFYING]);
}
