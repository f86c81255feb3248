/* arithmetic.c: see arithmetic.h. */
#include "engine/arithmetic.h"

#include <string.h>

#include "engine/source_model.h"

/* Weights that are bf16 numbers lose nothing in bf16 products, and their model was made to run with inputs of that type. */
static qd_arithmetic by_model(const qd_model_config *config)
{
    return config->dtype != NULL && strcmp(config->dtype, "BF16") == 0 ? QD_ARITHMETIC_BFLOAT16 : QD_ARITHMETIC_FLOAT32;
}

static qd_arithmetic always_float32(const qd_model_config *config)
{
    (void)config;
    return QD_ARITHMETIC_FLOAT32;
}

static qd_arithmetic always_bfloat16(const qd_model_config *config)
{
    (void)config;
    return QD_ARITHMETIC_BFLOAT16;
}

static qd_arithmetic always_two_terms(const qd_model_config *config)
{
    (void)config;
    return QD_ARITHMETIC_TWO_TERMS;
}

static const qd_arithmetic_rule table[] = {
    { "auto",
      "bfloat16 where most linear weights are stored as BF16 or as 8-bit floats, else float32; whatever the processor",
      by_model },
    { "float32", "inputs and weights of all products as they are", always_float32 },
    { "bfloat16", "operands of linear layers, of attention and of moments rounded to bf16; sums in float32",
      always_bfloat16 },
    { "two-terms",
      "layers as in float32; moments of inputs in two terms of bf16, three products for one, within some millionths of "
      "float32's: for float32 models on processors with AMX, slower than float32 on others; never what auto takes",
      always_two_terms },
};

const qd_arithmetic_rule *qd_arithmetic_rule_at(size_t index)
{
    return index < QD_LENGTH(table) ? &table[index] : NULL;
}

const qd_arithmetic_rule *qd_arithmetic_rule_find(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

qd_arithmetic qd_recipe_arithmetic(const qd_recipe *recipe, const qd_model *model)
{
    return recipe->arithmetic->decide(qd_model_borrow_config(model));
}

static const char *const names[] = {
    [QD_ARITHMETIC_FLOAT32] = "float32", [QD_ARITHMETIC_BFLOAT16] = "bfloat16", [QD_ARITHMETIC_TWO_TERMS] = "two-terms"
};

const char *qd_arithmetic_name(qd_arithmetic arithmetic)
{
    return names[arithmetic];
}

int qd_arithmetic_find(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(names); i++)
        if (strcmp(names[i], name) == 0)
            return (int)i;
    return -1;
}

void qd_arithmetic_settle(const qd_recipe *recipe, const char *model_dir, json_t *printed)
{
    qd_model *model = NULL;
    if (qd_source_model(recipe, model_dir, &model, NULL) == QD_OK)
        json_object_set_new(printed, "arithmetic",
                            json_string(qd_arithmetic_name(qd_recipe_arithmetic(recipe, model))));
    qd_model_destroy(model);
}
