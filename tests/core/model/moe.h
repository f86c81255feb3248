/* moe.h: small random models with experts, written into a folder by the tests that need them: of both families, in both
 * layouts of the experts' tensors. The numbers depend on names only, so that layouts hold the same ones. */
#ifndef QD_TESTS_MOE_H
#define QD_TESTS_MOE_H

#include "forward.h"

#include "base/rng.h"
#include "base/str.h"

typedef enum moe_family { MOE_MIXTRAL, MOE_QWEN3 } moe_family;
typedef enum moe_layout { MOE_APART, MOE_STACKED } moe_layout;

typedef struct moe_model {
    moe_family family;
    moe_layout layout;
    const char *routing; /* of qwen3_moe: "true" or "false": norm_topk_prob; NULL = true */
    const char *more;    /* members of config.json, with a comma in front; NULL = none */
    unsigned dense;      /* bit i: block i has a dense MLP (qwen3_moe) */
    unsigned unloved;    /* bit e: no token is ever sent to expert e */
} moe_model;

enum {
    MOE_D = 64,
    MOE_HEADS = 2,
    MOE_KV = 1,
    MOE_HD = 32,
    MOE_E = 6,
    MOE_K = 2,
    MOE_F = 96,
    MOE_DENSE_F = 160,
    MOE_BLOCKS = 2,
    MOE_V = 2048
};

typedef struct moe_writer {
    qd_tensor_out tensors[256];
    size_t count;
    const moe_model *model;
} moe_writer;

static inline uint64_t moe_key(const char *name)
{
    uint64_t key = 1469598103934665603u;
    for (; *name != '\0'; name++)
        key = (key ^ (unsigned char)*name) * 1099511628211u;
    return key;
}

static inline void moe_fill(const char *name, size_t count, double scale, double offset, float *out)
{
    uint64_t key = moe_key(name);
    for (size_t i = 0; i < count; i++)
        out[i] = (float)(offset + scale * (2 * qd_rng_uniform(key, i) - 1) * 1.7320508);
}

static inline float *moe_add(moe_writer *w, const char *name, size_t rank, size_t a, size_t b, size_t c)
{
    size_t count = a * (rank > 1 ? b : 1) * (rank > 2 ? c : 1);
    float *data = calloc(count, sizeof *data);
    assert_true(w->count < QD_LENGTH(w->tensors));
    w->tensors[w->count++] = (qd_tensor_out){
        .name = strdup(name), .dtype = qd_dtype_find("F32"), .rank = rank, .shape = { a, b, c }, .data = data
    };
    return data;
}

static inline void moe_matrix(moe_writer *w, const char *name, size_t out, size_t in)
{
    moe_fill(name, out * in, 1 / sqrt((double)in), 0, moe_add(w, name, 2, out, in, 0));
}

static inline void moe_norm(moe_writer *w, const char *name, size_t count)
{
    moe_fill(name, count, 0.3, 1, moe_add(w, name, 1, count, 0, 0));
}

/* The part's name, in the family's words, of an expert of a block. */
static inline const char *moe_name(moe_family family, size_t block, size_t expert, size_t part, char *out)
{
    static const char *const words[2][3] = { { "w1", "w3", "w2" }, { "gate_proj", "up_proj", "down_proj" } };
    snprintf(out, 200, "model.layers.%zu.%s.experts.%zu.%s.weight", block,
             family == MOE_MIXTRAL ? "block_sparse_moe" : "mlp", expert, words[family][part]);
    return out;
}

static inline void moe_apart(moe_writer *w, size_t block)
{
    char name[200];
    for (size_t e = 0; e < MOE_E; e++)
        for (size_t part = 0; part < 3; part++)
            moe_matrix(w, moe_name(w->model->family, block, e, part, name), part == 2 ? MOE_D : MOE_F,
                       part == 2 ? MOE_F : MOE_D);
}

static inline void moe_stacked(moe_writer *w, size_t block)
{
    char name[200];
    enum { PART = MOE_F * MOE_D };
    snprintf(name, sizeof name, "model.layers.%zu.mlp.experts.gate_up_proj", block);
    float *gate_up = moe_add(w, name, 3, MOE_E, 2 * MOE_F, MOE_D);
    snprintf(name, sizeof name, "model.layers.%zu.mlp.experts.down_proj", block);
    float *down = moe_add(w, name, 3, MOE_E, MOE_D, MOE_F);
    for (size_t e = 0; e < MOE_E; e++)
        for (size_t part = 0; part < 3; part++)
            moe_fill(moe_name(w->model->family, block, e, part, name), PART,
                     1 / sqrt(part == 2 ? (double)MOE_F : (double)MOE_D), 0,
                     part == 2 ? down + e * PART : gate_up + (2 * e + part) * PART);
}

/* The first feature of every token is the same: a router may turn it down. */
static inline void moe_router(moe_writer *w, size_t block)
{
    char name[200], values[200];
    bool apart_mixtral = w->model->family == MOE_MIXTRAL && w->model->layout == MOE_APART;
    snprintf(name, sizeof name, "model.layers.%zu.%s.gate.weight", block, apart_mixtral ? "block_sparse_moe" : "mlp");
    snprintf(values, sizeof values, "router %zu", block);
    float *data = moe_add(w, name, 2, MOE_E, MOE_D, 0);
    moe_fill(values, MOE_E * MOE_D, 2 / sqrt(MOE_D), 0, data);
    for (size_t e = 0; e < MOE_E; e++)
        data[e * MOE_D] = (w->model->unloved >> e & 1) != 0 ? -50.0f : 0.0f;
}

static inline void moe_block(moe_writer *w, size_t block)
{
    static const struct {
        const char *name;
        size_t out, in;
    } attention[] = { { "self_attn.q_proj", MOE_HEADS * MOE_HD, MOE_D },
                      { "self_attn.k_proj", MOE_KV * MOE_HD, MOE_D },
                      { "self_attn.v_proj", MOE_KV * MOE_HD, MOE_D },
                      { "self_attn.o_proj", MOE_D, MOE_HEADS * MOE_HD } },
      dense[] = { { "mlp.gate_proj", MOE_DENSE_F, MOE_D },
                  { "mlp.up_proj", MOE_DENSE_F, MOE_D },
                  { "mlp.down_proj", MOE_D, MOE_DENSE_F } };
    static const char *const norms[] = { "input_layernorm", "post_attention_layernorm" }, *const head_norms[] = {
        "self_attn.q_norm", "self_attn.k_norm"
    };
    char name[200];
    bool is_dense = (w->model->dense >> block & 1) != 0;
    for (size_t i = 0; i < QD_LENGTH(attention) + (is_dense ? QD_LENGTH(dense) : 0); i++) {
        size_t k = i < QD_LENGTH(attention) ? i : i - QD_LENGTH(attention);
        snprintf(name, sizeof name, "model.layers.%zu.%s.weight", block, i == k ? attention[k].name : dense[k].name);
        moe_matrix(w, name, i == k ? attention[k].out : dense[k].out, i == k ? attention[k].in : dense[k].in);
    }
    for (size_t i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "model.layers.%zu.%s.weight", block, norms[i]);
        moe_norm(w, name, MOE_D);
        snprintf(name, sizeof name, "model.layers.%zu.%s.weight", block, head_norms[i]);
        if (w->model->family == MOE_QWEN3)
            moe_norm(w, name, MOE_HD);
    }
    if (is_dense)
        return;
    moe_router(w, block);
    if (w->model->layout == MOE_STACKED)
        moe_stacked(w, block);
    else
        moe_apart(w, block);
}

static inline void moe_config(const moe_model *m, const char *dir)
{
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, "config.json");
    qd_str_addf(
        &text,
        "{\"architectures\":[\"%s\"],\"model_type\":\"%s\",\"hidden_size\":%d,\"num_hidden_layers\":%d,"
        "\"num_attention_heads\":%d,\"num_key_value_heads\":%d,\"head_dim\":%d,\"vocab_size\":%d,"
        "\"max_position_embeddings\":1024,\"rms_norm_eps\":1e-05,\"hidden_act\":\"silu\",\"rope_theta\":10000.0,"
        "\"num_experts_per_tok\":%d,\"tie_word_embeddings\":true,\"bos_token_id\":0,",
        m->family == MOE_MIXTRAL ? "MixtralForCausalLM" : "Qwen3MoeForCausalLM",
        m->family == MOE_MIXTRAL ? "mixtral" : "qwen3_moe", MOE_D, MOE_BLOCKS, MOE_HEADS, MOE_KV, MOE_HD, MOE_V, MOE_K);
    if (m->family == MOE_MIXTRAL)
        qd_str_addf(&text, "\"num_local_experts\":%d,\"intermediate_size\":%d", MOE_E, MOE_F);
    else
        qd_str_addf(&text,
                    "\"%s\":%d,\"moe_intermediate_size\":%d,\"intermediate_size\":%d,\"norm_topk_prob\":%s,"
                    "\"decoder_sparse_step\":1",
                    m->layout == MOE_APART ? "num_experts" : "num_local_experts", MOE_E, MOE_F, MOE_DENSE_F,
                    m->routing == NULL ? "true" : m->routing);
    for (size_t b = 0, any = 0; m->dense != 0 && b < MOE_BLOCKS; b++)
        if ((m->dense >> b & 1) != 0)
            qd_str_addf(&text, "%s%zu", any++ == 0 ? ",\"mlp_only_layers\":[" : ",", b);
    qd_str_addf(&text, "%s%s}", m->dense != 0 ? "]" : "", m->more == NULL ? "" : m->more);
    check_ok(qd_file_write(path, qd_str_borrow(&text), text.length, &err));
}

/* Config and weights into the folder, which exists; with the tokenizer of the small trained model. */
static inline void write_moe(const moe_model *m, const char *dir)
{
    static const char *const side[] = { "tokenizer.json", "tokenizer_config.json" };
    qd_error err = { 0 };
    moe_writer w = { .model = m };
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, "model.safetensors");
    float *embedding = moe_add(&w, "model.embed_tokens.weight", 2, MOE_V, MOE_D, 0);
    moe_fill("embedding", MOE_V * MOE_D, 0.6, 0, embedding);
    for (size_t i = 0; i < MOE_V; i++)
        embedding[i * MOE_D] = 4;
    for (size_t b = 0; b < MOE_BLOCKS; b++)
        moe_block(&w, b);
    moe_norm(&w, "model.norm.weight", MOE_D);
    moe_config(m, dir);
    check_ok(qd_safetensors_write(path, w.tensors, w.count, NULL, NULL, 0, &err));
    for (size_t i = 0; i < w.count; i++) {
        free((void *)(uintptr_t)w.tensors[i].data);
        free((void *)(uintptr_t)w.tensors[i].name);
    }
    for (size_t i = 0; i < QD_LENGTH(side); i++) {
        char relative[200], from[4096];
        QD_AUTO(qd_free_pointer) char *to = qd_path_join(dir, side[i]);
        snprintf(relative, sizeof relative, "tests/models/novella-1m/%s", side[i]);
        copy_file(SOURCE_PATH(from, relative), to);
    }
}

#endif
