/* model.c: see model.h. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "model/float_scales.h"
#include "model/fused_experts.h"
#include "model/gguf_config.h"
#include "model/model_private.h"
#include "model/stored.h"

void qd_model_destroy(qd_model *model)
{
    if (model == NULL)
        return;
    for (size_t i = 0; i < model->linear_count; i++)
        free((char *)(uintptr_t)model->linears[i].name);
    free(model->linears);
    free(model->by_name);
    free(model->slots);
    free(model->first);
    qd_decoder_fini(&model->decoder);
    qd_shards_fini(&model->shards);
    json_decref(model->config_json);
    free(model->path);
    free(model->dir);
    free(model);
}

/* One id, or the first of several, of the text's own config or the wrapper's; -1 = none that the model knows. */
static int64_t read_token(const qd_model *model, const char *key)
{
    const json_t *value = json_object_get(model->text_config, key);
    value = value == NULL ? json_object_get(model->config_json, key) : value;
    value = json_is_array(value) ? json_array_get(value, 0) : value;
    json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
    return id < (json_int_t)model->config.vocabulary ? id : -1;
}

static qd_code read_numbers(qd_model *model, qd_error *err)
{
    const qd_decoder *d = &model->decoder;
    qd_model_config *c = &model->config;
    qd_code code = qd_arch_of_config(model->config_json, &model->arch, &model->text_config, err);
    if (code != QD_OK && model->finder != NULL) {
        qd_model_unknown_numbers(model);
        return QD_OK;
    }
    if (code == QD_OK)
        code = qd_decoder_read(model->arch, model->config_json, model->text_config, &model->decoder, err);
    if (code != QD_OK)
        return code;
    *c = (qd_model_config){ .hidden = d->hidden,
                            .blocks = d->blocks,
                            .vocabulary = d->vocabulary,
                            .max_positions = d->max_positions,
                            .experts = d->experts,
                            .experts_used = d->experts_used };
    c->architecture = json_string_value(json_array_get(json_object_get(model->config_json, "architectures"), 0));
    c->bos = read_token(model, "bos_token_id");
    c->eos = read_token(model, "eos_token_id");
    return QD_OK;
}

static qd_code read_config(qd_model *model, qd_error *err)
{
    qd_code code = read_numbers(model, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "config.json");
}

/* Weights that can be read as numbers are no obstacle, however they are stored. */
static qd_code check_plain(const qd_model *model, qd_packing how, qd_error *err)
{
    const json_t *quantization = json_object_get(model->config_json, "quantization_config");
    if (how == QD_STORED && quantization != NULL && !json_is_null(quantization) &&
        !qd_model_reads_quantization(quantization))
        return qd_fail(err, QD_EUNSUPPORTED, "config.json has a quantization_config: this folder is quantized already");
    return QD_OK;
}

static qd_code read_file(const char *dir, json_t **out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = NULL;
    qd_code code = qd_folder_file(dir, "config.json", &path, err);
    return code == QD_OK ? qd_json_read_object(path, QD_CONFIG_LIMIT, QD_CONFIG_DEPTH, out, err) : code;
}

/* What the metadata says, unless the folder has a config.json of its own. */
static qd_code make_config(qd_model *model, const char *path, qd_packing how, qd_error *err)
{
    qd_code code = qd_gguf_config_beside(path, &model->config_json, err);
    if (code == QD_OK && model->config_json == NULL)
        return qd_gguf_set_config(&model->shards.gguf, &model->config_json, err);
    return code == QD_OK ? check_plain(model, how, err) : code;
}

/* Weights whose bytes need scales get them. */
static qd_code attach_scales(qd_model *model, qd_packing how, qd_error *err)
{
    const json_t *quantization = json_object_get(model->config_json, "quantization_config");
    if (how != QD_STORED || !qd_model_reads_quantization(quantization))
        return QD_OK;
    return qd_float_scales_attach(quantization, &model->shards, model->quantized, sizeof model->quantized, err);
}

static qd_code open_gguf(qd_model *model, const char *path, qd_packing how, qd_error *err)
{
    qd_code code = qd_shards_open(path, &model->shards, err);
    if (code == QD_OK)
        code = qd_dup(model->shards.gguf.dir, &model->dir, err);
    if (code == QD_OK)
        code = make_config(model, path, how, err);
    return code == QD_OK ? read_config(model, err) : code;
}

static qd_code open_safetensors(qd_model *model, const char *dir, qd_packing how, qd_error *err)
{
    qd_code code = qd_dup(dir, &model->dir, err);
    if (code == QD_OK)
        code = read_file(dir, &model->config_json, err);
    if (code == QD_OK)
        code = check_plain(model, how, err);
    if (code == QD_OK)
        code = read_config(model, err);
    if (code == QD_OK)
        code = qd_shards_open(dir, &model->shards, err);
    if (code == QD_OK && model->decoder.experts > 0)
        code = qd_fused_experts_split(&model->decoder, &model->shards, err);
    return code == QD_OK ? attach_scales(model, how, err) : code;
}

static qd_code open_model(const char *path, qd_packing how, qd_model *model, qd_error *err)
{
    qd_code code = qd_dup(path, &model->path, err);
    if (code == QD_OK)
        code = qd_shards_are_gguf(path) ? open_gguf(model, path, how, err) : open_safetensors(model, path, how, err);
    bool known = code == QD_OK && qd_model_is_known(model);
    if (known)
        code = qd_model_read_ends(model, err);
    else if (code == QD_OK)
        code = qd_model_find_layers(model, err);
    if (code == QD_OK && known)
        code = qd_model_read_blocks(model, how, err);
    if (code == QD_OK && known && how == QD_STORED)
        code = qd_shards_warn_unused(&model->shards, model->text_config == model->config_json ? "" : model->prefix,
                                     model->arch->ops->ignored_suffixes, err);
    if (code == QD_OK) {
        model->config.dtype = qd_stored_dtype(model);
        qd_stored_words(model, model->quantized, sizeof model->quantized);
    }
    return code;
}

static qd_code open_any(const char *dir, qd_packing how, const qd_layer_finder *finder, qd_model **out, qd_error *err)
{
    qd_model *model = NULL;
    qd_code code = qd_alloc(1, sizeof *model, (void **)&model, err);
    if (code == QD_OK) {
        model->finder = finder;
        code = open_model(dir, how, model, err);
    }
    if (code != QD_OK) {
        qd_model_destroy(model);
        return qd_within(err, code, "model '%s'", dir);
    }
    model->finder = NULL;
    *out = model;
    return QD_OK;
}

qd_code qd_model_open(const char *dir, qd_model **out, qd_error *err)
{
    return open_any(dir, QD_STORED, NULL, out, err);
}

qd_code qd_model_open_packed(const char *dir, qd_model **out, qd_error *err)
{
    return open_any(dir, QD_PACKED, NULL, out, err);
}

qd_code qd_model_open_any(const char *path, const qd_layer_finder *finder, qd_model **out, qd_error *err)
{
    return open_any(path, QD_STORED, finder, out, err);
}

qd_code qd_model_open_packed_any(const char *dir, const qd_layer_finder *finder, qd_model **out, qd_error *err)
{
    return open_any(dir, QD_PACKED, finder, out, err);
}

const qd_model_config *qd_model_borrow_config(const qd_model *model)
{
    return &model->config;
}

const char *qd_model_borrow_path(const qd_model *model)
{
    return model->path;
}

const char *qd_model_borrow_dir(const qd_model *model)
{
    return model->dir;
}

const json_t *qd_model_borrow_config_json(const qd_model *model)
{
    return model->config_json;
}

const char *qd_model_quantized_source(const qd_model *model)
{
    return model->quantized[0] == '\0' ? NULL : model->quantized;
}

const json_t *qd_model_borrow_text_config(const qd_model *model)
{
    return model->text_config;
}

const qd_arch *qd_model_arch(const qd_model *model)
{
    return model->arch;
}

const qd_decoder *qd_model_decoder(const qd_model *model)
{
    return &model->decoder;
}

const qd_model_ends *qd_model_ends_of(const qd_model *model)
{
    return &model->ends;
}

size_t qd_model_tensor_count(const qd_model *model)
{
    return model->shards.tensor_count;
}

const qd_tensor *qd_model_tensor_at(const qd_model *model, size_t index)
{
    return index < model->shards.tensor_count ? model->shards.tensors[index] : NULL;
}

const qd_tensor *qd_model_tensor(const qd_model *model, const char *name)
{
    return qd_shards_find(&model->shards, name);
}

size_t qd_model_file_count(const qd_model *model)
{
    return model->shards.file_count;
}

const char *qd_model_file_at(const qd_model *model, size_t index)
{
    return index < model->shards.file_count ? model->shards.names[index] : NULL;
}

size_t qd_model_file_of(const qd_model *model, const qd_tensor *tensor)
{
    return qd_shards_file_of(&model->shards, tensor);
}

const char *qd_model_warning_at(const qd_model *model, size_t index)
{
    return index < model->shards.warning_count ? model->shards.warnings[index] : NULL;
}

size_t qd_model_linear_count(const qd_model *model)
{
    return model->linear_count;
}

const qd_linear *qd_model_linear_at(const qd_model *model, size_t index)
{
    return index < model->linear_count ? &model->linears[index] : NULL;
}

typedef struct linear_key {
    const char *name;
    size_t length;
} linear_key;

static int compare_linear(const void *key, const void *entry)
{
    const linear_key *k = key;
    const char *name = (*(const qd_linear *const *)entry)->name;
    int order = strncmp(k->name, name, k->length);
    return order != 0 ? order : name[k->length] == '\0' ? 0 : -1;
}

const qd_linear *qd_model_linear_named(const qd_model *model, const char *name, size_t length, size_t *out_index)
{
    const linear_key key = { name, length };
    const qd_linear **found = model->linear_count == 0 ? NULL
                                                       : bsearch(&key, model->by_name, model->linear_count,
                                                                 sizeof *model->by_name, compare_linear);
    if (found == NULL)
        return NULL;
    *out_index = (size_t)(*found - model->linears);
    return *found;
}

qd_slot qd_model_slot(const qd_model *model, size_t linear)
{
    return (qd_slot)model->slots[linear];
}

size_t qd_model_block_first(const qd_model *model, size_t block)
{
    return model->first[block];
}

size_t qd_model_block_size(const qd_model *model, size_t block)
{
    return model->first[block + 1] - model->first[block];
}
