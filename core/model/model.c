/* model.c: see model.h. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/arch_private.h"
#include "model/float_scales.h"
#include "model/gguf_config.h"
#include "model/shards.h"
#include "model/stored.h"

enum { NAME_BYTES = 512, MAX_BLOCKS = 100000 };

struct qd_model {
    char *path, *dir;
    json_t *config_json;
    qd_shards shards;
    const qd_arch *arch;
    qd_decoder decoder;
    qd_model_config config;
    const qd_tensor *embedding, *final_norm, *head;
    qd_linear *linears;  /* blocks x QD_SLOTS; names are owned */
    char quantized[160]; /* what the stored weights were quantized to; "" = not */
};

typedef enum packing { STORED, PACKED } packing;

void qd_model_destroy(qd_model *model)
{
    if (model == NULL)
        return;
    for (size_t i = 0; model->linears != NULL && i < model->config.blocks * QD_SLOTS; i++)
        free((char *)(uintptr_t)model->linears[i].name);
    free(model->linears);
    qd_shards_fini(&model->shards);
    json_decref(model->config_json);
    free(model->path);
    free(model->dir);
    free(model);
}

size_t qd_slot_out(const qd_decoder *d, qd_slot slot)
{
    switch (slot) {
    case QD_SLOT_Q:
        return d->heads * d->head_dim;
    case QD_SLOT_K:
    case QD_SLOT_V:
        return d->kv_heads * d->head_dim;
    case QD_SLOT_GATE:
    case QD_SLOT_UP:
        return d->intermediate;
    default:
        return d->hidden;
    }
}

size_t qd_slot_in(const qd_decoder *d, qd_slot slot)
{
    if (slot == QD_SLOT_O)
        return d->heads * d->head_dim;
    return slot == QD_SLOT_DOWN ? d->intermediate : d->hidden;
}

size_t qd_slot_group(qd_slot slot)
{
    static const size_t groups[QD_SLOTS] = { QD_GROUP_QKV, QD_GROUP_QKV, QD_GROUP_QKV, QD_GROUP_O,
                                             QD_GROUP_MLP, QD_GROUP_MLP, QD_GROUP_DOWN };
    return groups[slot];
}

static qd_code find_arch(const json_t *config, const qd_arch **out, const char **out_class, qd_error *err)
{
    const json_t *classes = json_object_get(config, "architectures");
    const char *name = json_string_value(json_array_get(classes, 0));
    if (name == NULL)
        return qd_fail(err, QD_EFORMAT, "'architectures' is missing or empty");
    *out = qd_arch_find_class(name);
    *out_class = name;
    if (*out != NULL)
        return QD_OK;
    QD_AUTO(qd_str_fini) qd_str known = { 0 };
    for (size_t i = 0; qd_arch_at(i) != NULL; i++)
        for (size_t k = 0; qd_arch_at(i)->classes[k] != NULL; k++)
            qd_str_addf(&known, "%s%s", known.length == 0 ? "" : ", ", qd_arch_at(i)->classes[k]);
    return qd_fail(err, QD_EUNSUPPORTED, "architecture '%.100s' is not supported; supported are %s", name,
                   qd_str_borrow(&known));
}

/* A tensor outside or inside a block with the shape it must have; dimension 0 = 0 means rank 1. */
static qd_code need_tensor(qd_model *model, const char *name, size_t rows, size_t cols, const qd_tensor **out,
                           qd_error *err)
{
    const qd_tensor *t = qd_shards_use(&model->shards, name);
    if (t == NULL)
        return qd_fail(err, QD_EFORMAT, "tensor '%s' is missing", name);
    bool fits =
        rows == 0 ? t->rank == 1 && t->shape[0] == cols : t->rank == 2 && t->shape[0] == rows && t->shape[1] == cols;
    if (!fits)
        return qd_fail(
            err, QD_ESHAPE, "tensor '%s' has %zu dimensions of %llu x %llu elements, the config wants %zu x %zu", name,
            t->rank, t->rank > 0 ? (unsigned long long)t->shape[0] : 0,
            t->rank > 1 ? (unsigned long long)t->shape[1] : 1, rows == 0 ? cols : rows, rows == 0 ? (size_t)1 : cols);
    if (t->dtype->from_floats == NULL && t->dtype->block == 0 && t->scale == NULL)
        return qd_fail(err, QD_EUNSUPPORTED,
                       "tensor '%s': weights of dtype %s are not supported; F32, F16 and BF16 are, F8_E4M3 and F8_E5M2 "
                       "with scales, and the blocks of GGUF files",
                       name, t->dtype->name);
    *out = t;
    return QD_OK;
}

static void block_name(const qd_model *model, size_t block, const char *name, char *out)
{
    char prefix[64];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(prefix, sizeof prefix, model->arch->ops->block_prefix, block); /* the row's constant, one %zu */
#pragma GCC diagnostic pop
    snprintf(out, NAME_BYTES, "%s%s", prefix, name);
}

const qd_tensor *qd_model_block_tensor(const qd_model *model, size_t block, const char *name)
{
    char full[NAME_BYTES];
    block_name(model, block, name, full);
    return qd_shards_find(&model->shards, full);
}

/* Is there a weight to be read as numbers? Packed folders may keep codes under its name. */
static bool is_weight(const qd_model *model, const char *name)
{
    const qd_tensor *t = qd_shards_find(&model->shards, name);
    return t != NULL && strcmp(t->dtype->name, "I8") != 0;
}

static qd_code read_linear(qd_model *model, size_t block, qd_slot slot, packing how, qd_error *err)
{
    qd_linear *linear = &model->linears[block * QD_SLOTS + slot];
    char name[NAME_BYTES], weight[NAME_BYTES + 8], bias[NAME_BYTES + 8];
    block_name(model, block, model->arch->ops->slot_names[slot], name);
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    *linear = (qd_linear){ .out = qd_slot_out(&model->decoder, slot),
                           .in = qd_slot_in(&model->decoder, slot),
                           .group = qd_slot_group(slot) };
    char *copy = NULL;
    qd_code code = qd_dup(name, &copy, err);
    linear->name = copy;
    if (code == QD_OK && (how == STORED || is_weight(model, weight)))
        code = need_tensor(model, weight, linear->out, linear->in, &linear->weight, err);
    bool biased = slot <= QD_SLOT_O ? model->decoder.attention_bias : model->decoder.mlp_bias;
    if (code == QD_OK && biased)
        code = need_tensor(model, bias, 0, linear->out, &linear->bias, err);
    return code;
}

static qd_code read_blocks(qd_model *model, packing how, qd_error *err)
{
    const struct qd_arch_ops *ops = model->arch->ops;
    qd_code code = qd_alloc(model->config.blocks * QD_SLOTS, sizeof *model->linears, (void **)&model->linears, err);
    for (size_t b = 0; code == QD_OK && b < model->config.blocks; b++) {
        const char *const norms[] = { ops->norm_before_attention, ops->norm_before_mlp };
        for (size_t i = 0; code == QD_OK && i < QD_LENGTH(norms); i++) {
            const qd_tensor *ignored;
            char name[NAME_BYTES];
            block_name(model, b, norms[i], name);
            code = need_tensor(model, name, 0, model->decoder.hidden, &ignored, err);
        }
        for (size_t slot = 0; code == QD_OK && slot < QD_SLOTS; slot++)
            code = read_linear(model, b, (qd_slot)slot, how, err);
    }
    return code;
}

static qd_code read_ends(qd_model *model, qd_error *err)
{
    const struct qd_arch_ops *ops = model->arch->ops;
    size_t v = model->config.vocabulary, d = model->config.hidden;
    bool tied = false;
    qd_code code = qd_json_bool(model->config_json, "tie_word_embeddings", false, &tied, err);
    if (code != QD_OK)
        return qd_within(err, code, "config.json");
    code = need_tensor(model, ops->embedding, v, d, &model->embedding, err);
    if (code == QD_OK)
        code = need_tensor(model, ops->final_norm, 0, d, &model->final_norm, err);
    if (code != QD_OK)
        return code;
    model->head = model->embedding; /* a missing head means tied, whatever the flag says */
    if (qd_shards_use(&model->shards, ops->head) != NULL && !tied)
        code = need_tensor(model, ops->head, v, d, &model->head, err);
    return code;
}

static qd_code read_numbers(qd_model *model, qd_error *err)
{
    const json_t *json = model->config_json;
    qd_model_config *c = &model->config;
    qd_code code = find_arch(json, &model->arch, &c->architecture, err);
    if (code == QD_OK)
        code = model->arch->ops->configure(json, &model->decoder, err);
    if (code == QD_OK)
        code = qd_json_size(json, "num_hidden_layers", 0, &c->blocks, err);
    if (code == QD_OK)
        code = qd_json_size(json, "vocab_size", 0, &c->vocabulary, err);
    if (code == QD_OK)
        code = qd_json_size(json, "max_position_embeddings", 0, &c->max_positions, err);
    if (code != QD_OK)
        return code;
    if (c->blocks == 0 || c->blocks > MAX_BLOCKS || c->vocabulary == 0)
        return qd_fail(err, QD_EFORMAT, "'%s' is missing or out of range",
                       c->vocabulary == 0 ? "vocab_size" : "num_hidden_layers");
    c->hidden = model->decoder.hidden;
    const json_t *bos = json_object_get(json, "bos_token_id");
    c->bos = json_is_integer(bos) ? json_integer_value(bos) : -1;
    if (c->bos >= (int64_t)c->vocabulary)
        c->bos = -1;
    return QD_OK;
}

static qd_code read_config(qd_model *model, qd_error *err)
{
    qd_code code = read_numbers(model, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "config.json");
}

/* Weights that can be read as numbers are no obstacle, however they are stored. */
static qd_code check_plain(const qd_model *model, packing how, qd_error *err)
{
    const json_t *quantization = json_object_get(model->config_json, "quantization_config");
    if (how == STORED && quantization != NULL && !json_is_null(quantization) &&
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
static qd_code make_config(qd_model *model, const char *path, packing how, qd_error *err)
{
    qd_code code = qd_gguf_config_beside(path, &model->config_json, err);
    if (code == QD_OK && model->config_json == NULL)
        return qd_gguf_set_config(&model->shards.gguf, &model->config_json, err);
    return code == QD_OK ? check_plain(model, how, err) : code;
}

/* Weights whose bytes need scales get them. */
static qd_code attach_scales(qd_model *model, packing how, qd_error *err)
{
    const json_t *quantization = json_object_get(model->config_json, "quantization_config");
    if (how != STORED || !qd_model_reads_quantization(quantization))
        return QD_OK;
    return qd_float_scales_attach(quantization, &model->shards, model->quantized, sizeof model->quantized, err);
}

static qd_code open_gguf(qd_model *model, const char *path, packing how, qd_error *err)
{
    qd_code code = qd_shards_open(path, &model->shards, err);
    if (code == QD_OK)
        code = qd_dup(model->shards.gguf.dir, &model->dir, err);
    if (code == QD_OK)
        code = make_config(model, path, how, err);
    return code == QD_OK ? read_config(model, err) : code;
}

static qd_code open_safetensors(qd_model *model, const char *dir, packing how, qd_error *err)
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
    return code == QD_OK ? attach_scales(model, how, err) : code;
}

static qd_code open_model(const char *path, packing how, qd_model *model, qd_error *err)
{
    qd_code code = qd_dup(path, &model->path, err);
    if (code == QD_OK)
        code = qd_shards_are_gguf(path) ? open_gguf(model, path, how, err) : open_safetensors(model, path, how, err);
    if (code == QD_OK)
        code = read_ends(model, err);
    if (code == QD_OK)
        code = read_blocks(model, how, err);
    if (code == QD_OK && how == STORED)
        code = qd_shards_warn_unused(&model->shards, model->arch->ops->ignored_suffixes, err);
    if (code == QD_OK) {
        model->config.dtype = qd_stored_dtype(model);
        qd_stored_words(model, model->quantized, sizeof model->quantized);
    }
    return code;
}

static qd_code open_any(const char *dir, packing how, qd_model **out, qd_error *err)
{
    qd_model *model = NULL;
    qd_code code = qd_alloc(1, sizeof *model, (void **)&model, err);
    if (code == QD_OK)
        code = open_model(dir, how, model, err);
    if (code != QD_OK) {
        qd_model_destroy(model);
        return qd_within(err, code, "model '%s'", dir);
    }
    *out = model;
    return QD_OK;
}

qd_code qd_model_open(const char *dir, qd_model **out, qd_error *err)
{
    return open_any(dir, STORED, out, err);
}

qd_code qd_model_open_packed(const char *dir, qd_model **out, qd_error *err)
{
    return open_any(dir, PACKED, out, err);
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

const qd_arch *qd_model_arch(const qd_model *model)
{
    return model->arch;
}

const qd_decoder *qd_model_decoder(const qd_model *model)
{
    return &model->decoder;
}

const qd_tensor *qd_model_embedding(const qd_model *model)
{
    return model->embedding;
}

const qd_tensor *qd_model_final_norm_tensor(const qd_model *model)
{
    return model->final_norm;
}

const qd_tensor *qd_model_head(const qd_model *model)
{
    return model->head;
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
    return model->config.blocks * QD_SLOTS;
}

const qd_linear *qd_model_linear_at(const qd_model *model, size_t index)
{
    return index < model->config.blocks * QD_SLOTS ? &model->linears[index] : NULL;
}

size_t qd_model_block_first(const qd_model *model, size_t block)
{
    (void)model;
    return block * QD_SLOTS;
}

size_t qd_model_block_size(const qd_model *model, size_t block)
{
    (void)model;
    (void)block;
    return QD_SLOTS;
}
