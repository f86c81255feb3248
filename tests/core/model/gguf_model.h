/* gguf_model.h: a model of safetensors as a GGUF file, for tests: keys and tensors as converters write them (formats.md
 * §6.2, §6.3), the order of rows and the llama3 divisors by their definitions.
 * Room: tests. May use: base, model.
 * Threads: one. */
#ifndef QD_TESTS_GGUF_MODEL_H
#define QD_TESTS_GGUF_MODEL_H

#include "forward.h"
#include "gguf_file.h"

#include "model/arch_private.h"
#include "model/ggml_types.h"
#include "model/gguf_names.h"

static inline double member(const json_t *object, const char *key, double fallback)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : fallback;
}

/* rope_freqs.weight as float32 arithmetic makes it. */
static inline void put_divisors(gguf_file *g, const json_t *rope, size_t head_dim)
{
    float divisors[256];
    float low = (float)member(rope, "low_freq_factor", 1), high = (float)member(rope, "high_freq_factor", 4);
    float factor = (float)member(rope, "factor", 8),
          original = (float)member(rope, "original_max_position_embeddings", 0);
    for (size_t i = 0; i < head_dim / 2; i++) {
        float frequency = 1.0f / powf((float)member(rope, "rope_theta", 1e4), (float)(2 * i) / (float)head_dim);
        float wavelength = 2 * (float)M_PI / frequency, s = (original / wavelength - low) / (high - low);
        divisors[i] = wavelength < original / high  ? 1
                      : wavelength > original / low ? factor
                                                    : 1 / ((1 - s) / factor + s);
    }
    gf_tensor(g, "rope_freqs.weight", 0, 0, head_dim / 2, divisors, head_dim / 2 * sizeof(float));
}

static inline void put_scaling(gguf_file *g, const json_t *rope, const char *type, size_t head_dim)
{
    if (strcmp(type, "llama3") == 0)
        put_divisors(g, rope, head_dim);
    if (strcmp(type, "linear") != 0 && strcmp(type, "yarn") != 0)
        return;
    double factor = member(rope, "factor", 1), amplitude = member(rope, "attention_factor", 0);
    gf_put_text(g, "llama.rope.scaling.type", type);
    gf_put_f32(g, "llama.rope.scaling.factor", (float)factor);
    if (strcmp(type, "linear") == 0)
        return;
    gf_put_u32(g, "llama.rope.scaling.original_context_length",
               (uint32_t)member(rope, "original_max_position_embeddings", 0));
    gf_put_f32(g, "llama.rope.scaling.yarn_beta_fast", (float)member(rope, "beta_fast", 32));
    gf_put_f32(g, "llama.rope.scaling.yarn_beta_slow", (float)member(rope, "beta_slow", 1));
    if (amplitude != 0)
        gf_put_f32(g, "llama.rope.scaling.yarn_attn_factor", (float)(amplitude / (0.1 * log(factor) + 1)));
}

/* Old and new configs: rope_scaling and rope_theta, or rope_parameters with both. */
static inline void put_rope(gguf_file *g, const json_t *config, size_t head_dim)
{
    json_t *rope = json_object();
    json_object_update(rope, json_object_get(config, "rope_scaling"));
    json_object_update(rope, json_object_get(config, "rope_parameters"));
    const char *type = json_string_value(json_object_get(rope, "rope_type"));
    if (type == NULL)
        type = json_string_value(json_object_get(rope, "type"));
    gf_put_f32(g, "llama.rope.freq_base", (float)member(rope, "rope_theta", member(config, "rope_theta", 1e4)));
    gf_put_u32(g, "llama.rope.dimension_count", (uint32_t)head_dim);
    put_scaling(g, rope, type == NULL ? "default" : type, head_dim);
    json_decref(rope);
}

static inline void put_keys(gguf_file *g, const qd_model *model)
{
    const qd_decoder *d = qd_model_decoder(model);
    const json_t *config = qd_model_borrow_config_json(model);
    gf_put_text(g, "general.architecture", "llama");
    gf_put_u32(g, "llama.block_count", (uint32_t)qd_model_borrow_config(model)->blocks);
    gf_put_u32(g, "llama.context_length", (uint32_t)qd_model_borrow_config(model)->max_positions);
    gf_put_u32(g, "llama.embedding_length", (uint32_t)d->hidden);
    gf_put_u32(g, "llama.feed_forward_length", (uint32_t)d->intermediate);
    gf_put_u32(g, "llama.attention.head_count", (uint32_t)d->heads);
    gf_put_u32(g, "llama.attention.head_count_kv", (uint32_t)d->kv_heads);
    gf_put_u32(g, "llama.attention.key_length", (uint32_t)d->head_dim);
    gf_put_u32(g, "llama.attention.value_length", (uint32_t)d->head_dim);
    gf_put_f32(g, "llama.attention.layer_norm_rms_epsilon", d->eps);
    if (d->layers[0].window != 0)
        gf_put_u32(g, "llama.attention.sliding_window", (uint32_t)d->layers[0].window);
    if (qd_model_borrow_config(model)->bos >= 0)
        gf_put_u32(g, "tokenizer.ggml.bos_token_id", (uint32_t)qd_model_borrow_config(model)->bos);
    put_rope(g, config, d->head_dim);
}

/* Rows of a head from half-split to interleaved: row (h, 2i + j) = old row (h, j hd/2 + i). */
static inline unsigned char *interleaved(const qd_tensor *t, size_t head_dim)
{
    size_t rows = (size_t)t->shape[0], stride = t->bytes / rows;
    unsigned char *out = malloc(t->bytes);
    for (size_t h = 0; h < rows / head_dim; h++)
        for (size_t i = 0; i < head_dim / 2; i++)
            for (size_t j = 0; j < 2; j++)
                memcpy(out + (h * head_dim + 2 * i + j) * stride,
                       t->data + (h * head_dim + j * head_dim / 2 + i) * stride, stride);
    return out;
}

static inline void put_tensor(gguf_file *g, const qd_model *model, const qd_tensor *t)
{
    char name[QD_GGUF_NAME_BYTES];
    const qd_gguf_name *row = qd_gguf_name_to_theirs(qd_gguf_arch_find("llama"), t->name, name);
    assert_non_null(row);
    bool turned = strstr(t->name, "q_proj") != NULL || strstr(t->name, "k_proj") != NULL;
    unsigned char *bytes = turned ? interleaved(t, qd_model_decoder(model)->head_dim) : NULL;
    gf_tensor(g, name, qd_ggml_type_named(t->dtype->name)->id, t->rank == 1 ? 0 : t->shape[0], t->shape[t->rank - 1],
              turned ? bytes : t->data, t->bytes);
    free(bytes);
}

/* The keys that there must be, and the tensor: a vocabulary of 4, 16 features in 4 heads. */
static inline void put_embedding(gguf_file *g)
{
    static const float zeros[4 * 16];
    gf_tensor(g, "token_embd.weight", 0, 4, 16, zeros, sizeof zeros);
}

static inline void put_least_keys(gguf_file *g)
{
    gf_put_text(g, "general.architecture", "llama");
    gf_put_f32(g, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gf_put_u32(g, "llama.block_count", 1);
    gf_put_u32(g, "llama.context_length", 64);
    gf_put_u32(g, "llama.embedding_length", 16);
    gf_put_u32(g, "llama.feed_forward_length", 32);
    gf_put_u32(g, "llama.attention.head_count", 4);
}

/* Writes to DIR/name, and empties g. */
static inline void save(gguf_file *g, const char *dir, const char *name)
{
    size_t size = 0;
    unsigned char *bytes = gguf_file_finish(g, &size);
    char *path = qd_path_join(dir, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    free(path);
    free(bytes);
}

#endif
