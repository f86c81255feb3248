/* kept.c: see kept.h. */
#include "engine/kept.h"

#include "base/mem.h"
#include "engine/arithmetic.h"

size_t qd_kept_width(const qd_model *model, qd_keep keep)
{
    size_t width = qd_model_borrow_config(model)->hidden;
    for (size_t i = 0; keep == QD_KEEP_WIDE && i < qd_model_linear_count(model); i++)
        if (qd_model_linear_at(model, i)->expert == QD_NO_EXPERT)
            width = qd_max_size(width, qd_model_linear_at(model, i)->in);
    return width;
}

uint64_t qd_kept_bytes(const qd_recipe *recipe, const qd_model *model, uint64_t tokens, qd_keep keep)
{
    bool rounded = qd_recipe_arithmetic(recipe, model) == QD_ARITHMETIC_BFLOAT16;
    uint64_t residual = (uint64_t)qd_model_borrow_config(model)->hidden * sizeof(float);
    uint64_t input = (uint64_t)qd_kept_width(model, keep) * (rounded ? sizeof(uint16_t) : sizeof(float));
    return tokens * (residual + input) * (qd_recipe_compares_streams(recipe) ? QD_STREAM_COUNT : 1);
}

qd_keep qd_kept_by(const qd_recipe *recipe, const qd_model *model, uint64_t tokens)
{
    uint64_t bytes = qd_kept_bytes(recipe, model, tokens, QD_KEEP_WIDE);
    bool fits = bytes <= QD_KEPT_MOST && (recipe->limit_memory == 0 || bytes <= recipe->limit_memory) &&
                (recipe->limit_disk == 0 || bytes <= recipe->limit_disk / 2);
    return fits ? QD_KEEP_WIDE : QD_KEEP_NARROW;
}
