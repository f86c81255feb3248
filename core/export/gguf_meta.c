/* gguf_meta.c: see gguf_meta.h. */
#include "export/gguf_meta.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "export/gguf_tokenizer.h"
#include "model/folder.h"

enum {
    QUANTIZATION_VERSION = 2,
    TOKENIZER_LIMIT = 128 << 20,
    SMALL_LIMIT = 4 << 20,
    DEPTH = 64,
    KEY = 128,
    CONTEXT = 2048
};

/* The architecture of a file says what its clients compute: no key has the activation. */
static qd_code check_activation(const qd_model *model, qd_error *err)
{
    const char *name = NULL;
    qd_code code = qd_json_text(qd_model_borrow_config_json(model), "hidden_act", "silu", &name, err);
    if (code == QD_OK && strcmp(name, "silu") != 0 && strcmp(name, "swish") != 0)
        code =
            qd_fail(err, QD_EUNSUPPORTED, "hidden_act '%.60s' has no place in GGUF files of this architecture", name);
    return code;
}

qd_code qd_gguf_arch_of_model(const qd_model *model, const qd_gguf_arch **out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str known = { 0 };
    const char *class_name = qd_model_borrow_config(model)->architecture;
    *out = qd_gguf_arch_of_class(class_name);
    if (*out != NULL)
        return check_activation(model, err);
    for (size_t i = 0; qd_gguf_arch_at(i) != NULL; i++)
        for (size_t k = 0; qd_gguf_arch_at(i)->classes[k] != NULL; k++)
            qd_str_addf(&known, "%s%s", known.length == 0 ? "" : ", ", qd_gguf_arch_at(i)->classes[k]);
    return qd_fail(err, QD_EUNSUPPORTED, "architecture '%.80s' is not written to GGUF; written are %s", class_name,
                   qd_str_borrow(&known));
}

qd_code qd_gguf_head_dim(const json_t *config, size_t *out, qd_error *err)
{
    size_t hidden = 0, heads = 1;
    qd_code code = qd_json_size(config, "hidden_size", 0, &hidden, err);
    if (code == QD_OK)
        code = qd_json_size(config, "num_attention_heads", 1, &heads, err);
    if (code == QD_OK)
        code = qd_json_size(config, "head_dim", 0, out, err);
    if (code == QD_OK && *out == 0)
        *out = heads == 0 ? 0 : hidden / heads;
    return code;
}

qd_code qd_gguf_rope_of(const qd_model *model, qd_rope *out, qd_error *err)
{
    size_t head_dim = 0;
    const json_t *config = qd_model_borrow_config_json(model);
    qd_code code = qd_gguf_head_dim(config, &head_dim, err);
    if (code == QD_OK)
        code = qd_rope_read(config, head_dim, qd_model_borrow_config(model)->max_positions, out, err);
    if (code == QD_OK && (strcmp(qd_rope_scaling_name(out), "longrope") == 0 || out->range == QD_ROPE_EXACT))
        code = qd_fail(err, QD_EUNSUPPORTED, "rope type '%s'%s has no place in GGUF files of this architecture",
                       qd_rope_scaling_name(out), out->range == QD_ROPE_EXACT ? " without truncation" : "");
    return code;
}

/* ---- keys of an architecture ---- */
typedef struct keys {
    qd_gguf_meta *meta;
    const char *arch;
    const json_t *config;
    const qd_model *model;
} keys;

static const char *key_of(const keys *k, const char *name, char out[KEY])
{
    snprintf(out, KEY, "%s.%s", k->arch, name);
    return out;
}

static void put_count(const keys *k, const char *name, size_t value)
{
    char key[KEY];
    qd_gguf_meta_u32(k->meta, key_of(k, name, key), (uint32_t)qd_min_size(value, UINT32_MAX));
}

static void put_real(const keys *k, const char *name, double value)
{
    char key[KEY];
    qd_gguf_meta_f32(k->meta, key_of(k, name, key), (float)value);
}

static void put_word(const keys *k, const char *name, const char *value)
{
    char key[KEY];
    qd_gguf_meta_text(k->meta, key_of(k, name, key), value);
}

/* llama3 is a tensor of divisors (gguf_plan.c). yarn: clients multiply by 0.1 ln(factor) + 1 themselves, and by attn_factor. */
static void put_rope(const keys *k, const qd_rope *rope)
{
    const char *scaling = qd_rope_scaling_name(rope);
    bool yarn = strcmp(scaling, "yarn") == 0;
    put_count(k, "rope.dimension_count", rope->dimensions);
    put_real(k, "rope.freq_base", rope->theta);
    if (!yarn && strcmp(scaling, "linear") != 0)
        return;
    put_word(k, "rope.scaling.type", scaling);
    put_real(k, "rope.scaling.factor", rope->factor);
    if (!yarn)
        return;
    put_count(k, "rope.scaling.original_context_length", (size_t)rope->original_positions);
    put_real(k, "rope.scaling.yarn_beta_fast", rope->beta_fast);
    put_real(k, "rope.scaling.yarn_beta_slow", rope->beta_slow);
    if (rope->attention_factor > 0 && rope->factor > 1)
        put_real(k, "rope.scaling.attn_factor", rope->attention_factor / (0.1 * log(rope->factor) + 1));
}

/* Does any layer slide? Where the config does not list them, all of Mistral do. */
static bool slides(const keys *k)
{
    const json_t *types = json_object_get(k->config, "layer_types");
    for (size_t i = 0; i < json_array_size(types); i++)
        if (strcmp(json_string_value(json_array_get(types, i)), "sliding_attention") == 0)
            return true;
    return !json_is_array(types) && strcmp(qd_model_borrow_config(k->model)->architecture, "LlamaForCausalLM") != 0;
}

/* A window is none for texts that are no longer than it; llama.cpp's llama knows no other. The same goes for what a dynamic rotation does beyond
 * the trained length. */
static qd_code context_length(const keys *k, size_t *out, qd_error *err)
{
    size_t window = 0, positions = qd_model_borrow_config(k->model)->max_positions;
    qd_code code = slides(k) ? qd_json_size(k->config, "sliding_window", 0, &window, err) : QD_OK;
    positions = positions == 0 ? CONTEXT : positions;
    *out = window == 0 ? positions : qd_min_size(window, positions);
    return code;
}

/* Decoders with rotary attention, RMS norms and a gated MLP. */
static qd_code put_decoder(const keys *k, qd_error *err)
{
    size_t context = 0, feed_forward = 0, heads = 0, kv_heads = 0, head_dim = 0;
    double eps = 0;
    qd_rope rope;
    const qd_model_config *c = qd_model_borrow_config(k->model);
    qd_code code = context_length(k, &context, err);
    if (code == QD_OK)
        code = qd_json_size(k->config, "intermediate_size", 0, &feed_forward, err);
    if (code == QD_OK)
        code = qd_json_size(k->config, "num_attention_heads", 0, &heads, err);
    if (code == QD_OK)
        code = qd_json_size(k->config, "num_key_value_heads", heads, &kv_heads, err);
    if (code == QD_OK)
        code = qd_json_real(k->config, "rms_norm_eps", 1e-6, &eps, err);
    if (code == QD_OK)
        code = qd_gguf_head_dim(k->config, &head_dim, err);
    if (code == QD_OK)
        code = qd_gguf_rope_of(k->model, &rope, err);
    if (code != QD_OK)
        return code;
    put_count(k, "context_length", context);
    put_count(k, "embedding_length", c->hidden);
    put_count(k, "block_count", c->blocks);
    put_count(k, "feed_forward_length", feed_forward);
    put_count(k, "attention.head_count", heads);
    put_count(k, "attention.head_count_kv", kv_heads);
    put_real(k, "attention.layer_norm_rms_epsilon", eps);
    if (head_dim * heads != c->hidden) {
        put_count(k, "attention.key_length", head_dim);
        put_count(k, "attention.value_length", head_dim);
    }
    put_rope(k, &rope);
    put_count(k, "vocab_size", c->vocabulary);
    return QD_OK;
}

static const struct {
    const char *arch;
    qd_code (*put)(const keys *k, qd_error *err);
} architectures[] = {
    { "llama", put_decoder },
};

static qd_code put_architecture(const keys *k, qd_error *err)
{
    for (size_t i = 0; i < QD_LENGTH(architectures); i++)
        if (strcmp(architectures[i].arch, k->arch) == 0)
            return architectures[i].put(k, err);
    return qd_fail(err, QD_EUNSUPPORTED, "architecture '%s' is not written to GGUF", k->arch);
}

/* ---- what it is ---- */
static uint64_t parameters(const qd_model *model)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < qd_model_tensor_count(model); i++)
        sum += qd_model_tensor_at(model, i)->elements;
    return sum;
}

static void put_size_label(const qd_model *model, qd_gguf_meta *meta)
{
    char label[32];
    double count = (double)parameters(model);
    if (count >= 1e9)
        snprintf(label, sizeof label, "%.1fB", count / 1e9);
    else
        snprintf(label, sizeof label, count >= 1e6 ? "%.0fM" : "%.0fK", count >= 1e6 ? count / 1e6 : count / 1e3);
    qd_gguf_meta_text(meta, "general.size_label", label);
}

/* Where the folder lies says nothing of the model; what the config says it was made as does. */
static void put_name(const keys *k)
{
    const char *path = json_string_value(json_object_get(k->config, "_name_or_path"));
    const char *slash = path == NULL ? NULL : strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    qd_gguf_meta_text(k->meta, "general.name",
                      name != NULL && name[0] != '\0' ? name : qd_model_borrow_config(k->model)->architecture);
}

static void put_general(const keys *k)
{
    const char *license = json_string_value(json_object_get(k->config, "license"));
    qd_gguf_meta_text(k->meta, "general.architecture", k->arch);
    qd_gguf_meta_text(k->meta, "general.type", "model");
    put_name(k);
    put_size_label(k->model, k->meta);
    if (license != NULL)
        qd_gguf_meta_text(k->meta, "general.license", license);
}

/* What the types of the weights decide. */
static void put_types(const qd_ggml_encoder *encoder, qd_gguf_meta *meta)
{
    qd_gguf_meta_u32(meta, "general.file_type", qd_ggml_type_named(encoder->type)->file_type);
    qd_gguf_meta_u32(meta, "general.quantization_version", QUANTIZATION_VERSION);
    qd_gguf_meta_text(meta, "general.quantized_by", "quantd");
}

/* Keys that say how the source's weights are stored, and in how many files. */
static bool is_of_types(const char *key)
{
    static const char *const patterns[] = { "general.file_type",    "general.quantization_version",
                                            "general.quantized_by", "general.alignment",
                                            "quantize.*",           "split.*" };
    for (size_t i = 0; i < QD_LENGTH(patterns); i++)
        if (qd_glob_match(patterns[i], key))
            return true;
    return false;
}

static void repeat_keys(const qd_gguf *file, const qd_ggml_encoder *encoder, qd_gguf_meta *meta)
{
    for (size_t i = 0; i < qd_gguf_key_count(file); i++)
        if (!is_of_types(qd_gguf_key_at(file, i)->key))
            qd_gguf_meta_copy(meta, qd_gguf_key_at(file, i));
    put_types(encoder, meta);
}

/* ---- the tokenizer ---- */
static qd_code read_optional(const qd_folder *folder, const char *name, size_t limit, json_t **out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    bool found = false;
    qd_code code = qd_folder_read_optional(folder, name, limit, &text, &found, err);
    if (code == QD_OK && found)
        code = qd_json_parse_object_wide(qd_str_borrow(&text), text.length, DEPTH, out, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "%s", name);
}

static qd_code read_template(const qd_folder *folder, char **out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    bool found = false;
    qd_code code = qd_folder_read_optional(folder, "chat_template.jinja", SMALL_LIMIT, &text, &found, err);
    return code == QD_OK && found ? qd_dup(qd_str_borrow(&text), out, err) : code;
}

static qd_code read_tokenizer(const qd_folder *folder, json_t **out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    bool found = false;
    qd_code code = qd_folder_read_optional(folder, "tokenizer.json", TOKENIZER_LIMIT, &text, &found, err);
    if (code == QD_OK && !found)
        return qd_fail(err, QD_EUNSUPPORTED, "the model has no tokenizer.json, which a GGUF file carries in its keys");
    if (code == QD_OK)
        code = qd_gguf_tokenizer_parse(text.data, text.length, out, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "tokenizer.json");
}

static qd_code put_tokenizer(const qd_folder *folder, const qd_model *model, qd_gguf_meta *meta, qd_error *err)
{
    QD_AUTO(qd_gguf_texts_fini) qd_gguf_texts texts = { 0 };
    qd_code code = read_tokenizer(folder, &texts.tokenizer, err);
    if (code == QD_OK)
        code = read_optional(folder, "tokenizer_config.json", SMALL_LIMIT, &texts.tokenizer_config, err);
    if (code == QD_OK)
        code = read_optional(folder, "generation_config.json", SMALL_LIMIT, &texts.generation, err);
    if (code == QD_OK)
        code = read_template(folder, &texts.chat_template, err);
    if (code != QD_OK)
        return code;
    texts.config = json_incref((json_t *)(uintptr_t)qd_model_borrow_config_json(model));
    return qd_gguf_tokenizer_put(&texts, qd_model_borrow_config(model)->vocabulary, meta, err);
}

static void destroy_folder(qd_folder **folder)
{
    qd_folder_destroy(*folder);
}

qd_code qd_gguf_meta_build(const qd_model *model, const qd_ggml_encoder *encoder, qd_gguf_meta *meta, qd_error *err)
{
    const qd_gguf_arch *arch = NULL;
    QD_AUTO(destroy_folder) qd_folder *folder = NULL;
    qd_code code = qd_gguf_arch_of_model(model, &arch, err);
    if (code == QD_OK)
        code = qd_folder_open(qd_model_borrow_path(model), &folder, err);
    if (code != QD_OK)
        return code;
    if (qd_folder_gguf(folder) != NULL) {
        repeat_keys(qd_folder_gguf(folder)->files[0], encoder, meta);
        return qd_gguf_meta_check(meta, err);
    }
    const keys k = { meta, arch->id, qd_model_borrow_config_json(model), model };
    put_general(&k);
    code = put_architecture(&k, err);
    put_types(encoder, meta);
    if (code == QD_OK)
        code = put_tokenizer(folder, model, meta, err);
    return code == QD_OK ? qd_gguf_meta_check(meta, err) : code;
}
