/* starved.c: see starved.h. */
#include "engine/starved.h"

#include "base/mem.h"
#include "engine/statistics.h"

enum { ENOUGH = 2 }; /* tokens a feature: starved.h */

/* The widest input of an expert's layers. */
static size_t widest_of(const qd_blockwise *b, size_t expert)
{
    size_t width = 0;
    for (size_t i = b->first; i < b->end; i++) {
        const qd_linear *linear = qd_model_linear_at(b->context->model, i);
        if (linear->expert == expert)
            width = qd_max_size(width, linear->in);
    }
    return width;
}

static void judge(const qd_blockwise *b, const qd_traffic *traffic, size_t expert, qd_fate *out)
{
    const qd_recipe *r = b->context->recipe;
    size_t judged = traffic[expert].judged;
    *out = (qd_fate){ .block = b->number,
                      .expert = expert,
                      .tokens = traffic[expert].tokens,
                      .wanted = r->expert_tokens > 0 ? r->expert_tokens : ENOUGH * widest_of(b, expert),
                      .fallback = r->fallback };
    bool lacks_a_part = qd_statistics_split(b->context) && (judged == 0 || judged == out->tokens);
    out->state = out->tokens < out->wanted || lacks_a_part ? QD_STARVED : QD_FED;
}

qd_code qd_fate_of(const qd_blockwise *b, size_t group, qd_fate *out, qd_error *err)
{
    const qd_traffic *traffic = NULL;
    *out = (qd_fate){ .expert = QD_NO_EXPERT };
    if (b->streams == NULL || qd_block_group_expert(b->block, group) == QD_NO_EXPERT)
        return QD_OK;
    size_t expert = qd_block_group_expert(b->block, group);
    qd_code code = qd_streams_traffic(b->streams, group, &traffic, err);
    if (code == QD_OK)
        judge(b, traffic, expert, out);
    return code;
}

qd_tokens qd_fate_tokens(const qd_fate *fate)
{
    return fate->state == QD_STARVED ? QD_TOKENS_ALL : QD_TOKENS_ROUTED;
}

json_t *qd_fate_print(const qd_fate *fate)
{
    return json_pack("{s:I, s:I, s:I, s:b, s:o}", "block", (json_int_t)fate->block, "expert", (json_int_t)fate->expert,
                     "tokens", (json_int_t)fate->tokens, "starved", fate->state == QD_STARVED, "fallback",
                     fate->state == QD_STARVED ? json_string(qd_fallback_name((size_t)fate->fallback)) : json_null());
}

static void warn_starved(const qd_blockwise *b, size_t count, const qd_fate *least)
{
    static const char *const gets[] = {
        [QD_FALLBACK_SHARED] = "the statistics of all tokens of the block are taken for them",
        [QD_FALLBACK_NEAREST] = "they are rounded to nearest",
    };
    qd_emit_warning(b->context->sink,
                    "block %zu: %zu of %zu experts are starved: expert %zu got %zu calibration tokens, %zu are wanted; "
                    "%s (experts.fallback '%s')",
                    b->number, count, qd_model_borrow_config(b->context->model)->experts, least->expert, least->tokens,
                    least->wanted, gets[least->fallback], qd_fallback_name((size_t)least->fallback));
}

qd_code qd_starved_warn(const qd_blockwise *b, size_t group, qd_error *err)
{
    const qd_traffic *traffic = NULL;
    size_t experts = qd_model_borrow_config(b->context->model)->experts, starved = 0, thin = 0;
    qd_fate fate, least = { 0 }, thinnest = { 0 };
    qd_code code = qd_streams_traffic(b->streams, group, &traffic, err);
    for (size_t e = 0; code == QD_OK && e < experts; e++) {
        judge(b, traffic, e, &fate);
        if (fate.state == QD_STARVED) {
            least = starved++ == 0 || fate.tokens < least.tokens ? fate : least;
        } else if (fate.tokens < widest_of(b, e)) {
            thinnest = thin++ == 0 || fate.tokens < thinnest.tokens ? fate : thinnest;
        }
    }
    if (starved > 0)
        warn_starved(b, starved, &least);
    if (thin > 0)
        qd_emit_warning(b->context->sink,
                        "block %zu: %zu of %zu experts got fewer calibration tokens than their inputs have features "
                        "(expert %zu got %zu): the rest of H is the damping",
                        b->number, thin, experts, thinnest.expert, thinnest.tokens);
    return code;
}
