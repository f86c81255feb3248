/* model_unknown.c: the linear layers of a model whose architecture has no row: what a finder takes for such, in blocks by
 * the numbers in their names. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "model/model_private.h"
#include "model/unknown.h"

const qd_arch qd_arch_unknown = {
    .name = "unknown",
    .summary = "linear layers found by name and shape; no forward pass",
};

bool qd_model_is_known(const qd_model *model)
{
    return model->arch != &qd_arch_unknown;
}

qd_code qd_model_need_forward(const qd_model *model, qd_error *err)
{
    if (qd_model_is_known(model))
        return QD_OK;
    return qd_fail(err, QD_EUNSUPPORTED, "architecture '%.100s' is not known: there is no forward pass for it",
                   model->config.architecture);
}

/* ---- config.json ---- */

void qd_model_unknown_numbers(qd_model *model)
{
    const json_t *config = model->config_json, *text = json_object_get(config, "text_config");
    const char *name = json_string_value(json_array_get(json_object_get(config, "architectures"), 0));
    if (name == NULL)
        name = json_string_value(json_object_get(config, "model_type"));
    model->arch = &qd_arch_unknown;
    model->text_config = json_is_object(text) ? text : config;
    model->config = (qd_model_config){ .architecture = name == NULL ? "unnamed" : name, .bos = -1 };
    qd_json_size(model->text_config, "vocab_size", 0, &model->config.vocabulary, NULL); /* 0 where it is no number */
}

/* ---- layers ---- */

bool qd_unknown_find_stored(void *ctx, const qd_tensor *tensor, uint64_t vocabulary, qd_linear *out, size_t *out_length)
{
    (void)ctx;
    if (qd_unknown_judge(tensor, vocabulary) != NULL)
        return false;
    out->out = (size_t)tensor->shape[0];
    out->in = (size_t)tensor->shape[1];
    *out_length = strlen(tensor->name) - strlen(".weight");
    return true;
}

static int compare_layers(const void *a, const void *b)
{
    return qd_unknown_compare(((const qd_linear *)a)->name, ((const qd_linear *)b)->name);
}

static qd_code take_layer(qd_model *model, const qd_tensor *tensor, size_t length, qd_linear *found, qd_error *err)
{
    char weight[QD_NAME_BYTES + 8], bias[QD_NAME_BYTES + 8], *name = strndup(tensor->name, length);
    if (name == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    const qd_tensor *stored = qd_shards_find(&model->shards, weight), *added = qd_shards_find(&model->shards, bias);
    found->name = name;
    found->expert = QD_NO_EXPERT;
    found->weight = stored != NULL && stored->dtype->from_floats != NULL ? stored : NULL;
    found->weight = stored != NULL && stored->dtype->block != 0 ? stored : found->weight;
    found->bias = added != NULL && added->rank == 1 && added->shape[0] == found->out ? added : NULL;
    model->linears[model->linear_count++] = *found;
    return QD_OK;
}

static bool same_block(const char *a, const char *b)
{
    size_t prefix_a = 0, prefix_b = 0;
    uint64_t block_a = 0, block_b = 0;
    bool in_a = qd_unknown_block(a, &prefix_a, &block_a), in_b = qd_unknown_block(b, &prefix_b, &block_b);
    return in_a == in_b && prefix_a == prefix_b && strncmp(a, b, prefix_a) == 0 && block_a == block_b;
}

/* In order; no two layers of a block are known to share their input. */
static void cut_into_blocks(qd_model *model)
{
    size_t blocks = 0, group = 0;
    for (size_t i = 0; i < model->linear_count; i++) {
        if (i == 0 || !same_block(model->linears[i - 1].name, model->linears[i].name)) {
            model->first[blocks++] = i;
            group = 0;
        }
        model->linears[i].group = group++;
    }
    model->first[blocks] = model->linear_count;
    model->config.blocks = blocks;
}

qd_code qd_model_find_layers(qd_model *model, qd_error *err)
{
    const qd_layer_finder *finder = model->finder;
    size_t tensors = model->shards.tensor_count;
    qd_code code = qd_alloc(tensors + 1, sizeof *model->linears, (void **)&model->linears, err);
    if (code == QD_OK)
        code =
            qd_alloc(tensors + 1, sizeof *model->slots, (void **)&model->slots, err); /* none has a place in a block */
    if (code == QD_OK)
        code = qd_alloc(tensors + 1, sizeof *model->first, (void **)&model->first, err);
    for (size_t i = 0; code == QD_OK && i < tensors; i++) {
        const qd_tensor *tensor = model->shards.tensors[i];
        qd_linear found = { 0 };
        size_t length = 0;
        if (finder->find(finder->ctx, tensor, model->config.vocabulary, &found, &length))
            code = take_layer(model, tensor, length, &found, err);
    }
    if (code != QD_OK)
        return code;
    if (model->linear_count == 0)
        return qd_fail(err, QD_EUNSUPPORTED,
                       "architecture '%.100s' is not known, and no tensor is a linear layer's weight by name and shape",
                       model->config.architecture);
    qsort(model->linears, model->linear_count, sizeof *model->linears, compare_layers);
    for (size_t i = 1; i < model->linear_count; i++)
        if (strcmp(model->linears[i - 1].name, model->linears[i].name) == 0)
            return qd_fail(err, QD_EFORMAT, "layer '%s': two tensors stand for its weight", model->linears[i].name);
    cut_into_blocks(model);
    return qd_model_sort_linears(model, err);
}
