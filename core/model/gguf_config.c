/* gguf_config.c: see gguf_config.h. */
#include "model/gguf_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "model/model.h"
#include "model/shards.h"

enum { KEY_BYTES = 128 };

/* One config in the making; the first failure stays. */
typedef struct making {
    const qd_gguf_set *set;
    const qd_gguf *file; /* the one with the metadata */
    const qd_gguf_arch *arch;
    json_t *config;
} making;

double qd_gguf_tidy(double value)
{
    char text[40];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if ((float)strtod(text, NULL) == (float)value)
            return strtod(text, NULL);
    }
    return value;
}

static const char *key_of(const making *m, const char *key, char *out)
{
    snprintf(out, KEY_BYTES, "%s.%s", m->arch->id, key);
    return out;
}

static qd_code put(const making *m, const char *name, json_t *value, qd_error *err)
{
    return json_object_set_new(m->config, name, value) == 0 ? QD_OK : qd_fail(err, QD_ENOMEM, "out of memory");
}

/* A size that must be there, not zero, and small enough for every reader. */
static qd_code need_size(const making *m, const char *key, size_t fallback, size_t *out, qd_error *err)
{
    char full[KEY_BYTES];
    enum { LARGEST = INT32_MAX };
    qd_code code = qd_gguf_size(m->file, key_of(m, key, full), fallback, out, err);
    if (code != QD_OK)
        return code;
    if (*out == 0 || *out > LARGEST)
        return qd_fail(err, QD_EFORMAT, "'%s': key '%s' is missing, 0 or beyond %d", m->set->names[0], full, LARGEST);
    return QD_OK;
}

static qd_code put_size(const making *m, const char *name, const char *key, size_t fallback, size_t *out, qd_error *err)
{
    qd_code code = need_size(m, key, fallback, out, err);
    return code == QD_OK ? put(m, name, json_integer((json_int_t)*out), err) : code;
}

/* Keys that change what the model computes and that no forward pass here reads. */
static qd_code refuse_unread(const making *m, qd_error *err)
{
    static const char *const keys[] = {
        "attention.scale",        "attention.clamp_kqv",     "attention.max_alibi_bias",
        "attn_logit_softcapping", "final_logit_softcapping", "logit_scale",
        "residual_scale",         "embedding_scale",         "use_parallel_residual",
    };
    char full[KEY_BYTES];
    for (size_t i = 0; i < QD_LENGTH(keys); i++)
        if (qd_gguf_key(m->file, key_of(m, keys[i], full)) != NULL)
            return qd_fail(err, QD_EUNSUPPORTED, "'%s': key '%s' is not supported here", m->set->names[0], full);
    size_t experts = 0;
    qd_code code = qd_gguf_size(m->file, key_of(m, "expert_count", full), 0, &experts, err);
    if (code == QD_OK && experts > 0)
        code = qd_fail(err, QD_EUNSUPPORTED, "'%s': key '%s' is %zu: mixtures of experts are not supported here",
                       m->set->names[0], full, experts);
    return code;
}

static qd_code put_sizes(const making *m, size_t *out_head_dim, qd_error *err)
{
    size_t hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, value_dim = 0, other = 0;
    qd_code code = put_size(m, "hidden_size", "embedding_length", 0, &hidden, err);
    if (code == QD_OK)
        code = put_size(m, "intermediate_size", "feed_forward_length", 0, &other, err);
    if (code == QD_OK)
        code = put_size(m, "num_hidden_layers", "block_count", 0, &other, err);
    if (code == QD_OK)
        code = put_size(m, "num_attention_heads", "attention.head_count", 0, &heads, err);
    if (code == QD_OK)
        code = put_size(m, "num_key_value_heads", "attention.head_count_kv", heads, &kv_heads, err);
    if (code == QD_OK)
        code = put_size(m, "head_dim", "attention.key_length", hidden / heads, &head_dim, err);
    if (code == QD_OK)
        code = need_size(m, "attention.value_length", head_dim, &value_dim, err);
    if (code == QD_OK)
        code = put_size(m, "max_position_embeddings", "context_length", 0, &other, err);
    if (code != QD_OK)
        return code;
    if (value_dim != head_dim)
        return qd_fail(err, QD_EUNSUPPORTED, "'%s': keys of %zu and values of %zu features; they must be alike",
                       m->set->names[0], head_dim, value_dim);
    *out_head_dim = head_dim;
    return QD_OK;
}

static qd_code put_norm(const making *m, qd_error *err)
{
    char full[KEY_BYTES];
    double eps = -1;
    qd_code code = qd_gguf_real(m->file, key_of(m, "attention.layer_norm_rms_epsilon", full), -1, &eps, err);
    if (code != QD_OK)
        return code;
    if (!(eps >= 0 && eps <= 1))
        return qd_fail(err, QD_EFORMAT, "'%s': key '%s' is missing or not in [0, 1]", m->set->names[0], full);
    return put(m, "rms_norm_eps", json_real(qd_gguf_tidy(eps)), err);
}

static qd_code put_vocabulary(const making *m, qd_error *err)
{
    static const struct {
        const char *name, *key;
    } ids[] = {
        { "bos_token_id", "tokenizer.ggml.bos_token_id" },
        { "eos_token_id", "tokenizer.ggml.eos_token_id" },
        { "pad_token_id", "tokenizer.ggml.padding_token_id" },
    };
    const qd_tensor *embedding = qd_gguf_set_find(m->set, "token_embd.weight");
    if (embedding == NULL || embedding->rank != 2)
        return qd_fail(err, QD_EFORMAT, "'%s': tensor 'token_embd.weight' is missing or no matrix", m->set->names[0]);
    size_t words = (size_t)embedding->shape[0];
    qd_code code = put(m, "vocab_size", json_integer((json_int_t)words), err);
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(ids); i++) {
        size_t id = SIZE_MAX;
        code = qd_gguf_size(m->file, ids[i].key, SIZE_MAX, &id, err);
        if (code == QD_OK && id < words) /* beyond: padding words of other tools; as good as none */
            code = put(m, ids[i].name, json_integer((json_int_t)id), err);
    }
    if (code == QD_OK)
        code = put(m, "tie_word_embeddings", json_boolean(qd_gguf_set_find(m->set, "output.weight") == NULL), err);
    return code;
}

/* The float type that most elements are stored in; float32 holds the values of every block. */
static const char *torch_dtype(const qd_gguf_set *set)
{
    uint64_t half = 0, brain = 0, all = 0;
    for (size_t i = 0; i < set->count; i++)
        for (size_t k = 0; k < qd_gguf_count(set->files[i]); k++) {
            const qd_tensor *t = qd_gguf_at(set->files[i], k);
            all += t->elements;
            half += strcmp(t->dtype->name, "F16") == 0 ? t->elements : 0;
            brain += strcmp(t->dtype->name, "BF16") == 0 ? t->elements : 0;
        }
    return half > all / 2 ? "float16" : brain > all / 2 ? "bfloat16" : "float32";
}

static qd_code put_window(const making *m, qd_error *err)
{
    char full[KEY_BYTES];
    size_t window = 0;
    qd_code code = qd_gguf_size(m->file, key_of(m, "attention.sliding_window", full), 0, &window, err);
    if (code != QD_OK || window == 0)
        return code;
    if (m->arch->windowed_class == NULL)
        return qd_fail(err, QD_EUNSUPPORTED, "'%s': key '%s' is not supported here", m->set->names[0], full);
    code = put(m, "sliding_window", json_integer((json_int_t)window), err);
    if (code == QD_OK)
        code = put(m, "architectures", json_pack("[s]", m->arch->windowed_class), err);
    return code == QD_OK ? put(m, "model_type", json_string(m->arch->windowed_type), err) : code;
}

static qd_code put_biases(const making *m, qd_error *err)
{
    bool attention = qd_gguf_set_find(m->set, "blk.0.attn_q.bias") != NULL;
    bool mlp = qd_gguf_set_find(m->set, "blk.0.ffn_down.bias") != NULL;
    qd_code code = put(m, "attention_bias", json_boolean(attention), err);
    return code == QD_OK ? put(m, "mlp_bias", json_boolean(mlp), err) : code;
}

static qd_code fill(const making *m, qd_error *err)
{
    size_t head_dim = 0;
    qd_code code = refuse_unread(m, err);
    if (code == QD_OK)
        code = put(m, "architectures", json_pack("[s]", m->arch->class_name), err);
    if (code == QD_OK)
        code = put(m, "model_type", json_string(m->arch->model_type), err);
    if (code == QD_OK)
        code = put(m, "hidden_act", json_string("silu"), err);
    if (code == QD_OK)
        code = put_sizes(m, &head_dim, err);
    if (code == QD_OK)
        code = put_norm(m, err);
    if (code == QD_OK)
        code = qd_gguf_rope(m->set, m->arch->id, head_dim, m->config, err);
    if (code == QD_OK)
        code = put_vocabulary(m, err);
    if (code == QD_OK)
        code = put_biases(m, err);
    if (code == QD_OK)
        code = put_window(m, err);
    return code == QD_OK ? put(m, "torch_dtype", json_string(torch_dtype(m->set)), err) : code;
}

qd_code qd_gguf_set_config(const qd_gguf_set *set, json_t **out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *config = json_object();
    making m = { .set = set, .file = set->files[0], .config = config };
    qd_code code = config == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_gguf_set_arch(set, &m.arch, err);
    if (code == QD_OK)
        code = fill(&m, err);
    if (code != QD_OK)
        return code;
    *out = json_incref(config);
    return QD_OK;
}

qd_code qd_gguf_config(const qd_gguf *file, json_t **out, qd_error *err)
{
    qd_gguf *files[] = { (qd_gguf *)(uintptr_t)file };
    char *names[] = { (char *)(uintptr_t)qd_gguf_borrow_name(file) };
    const qd_gguf_set set = { NULL, files, names, 1 };
    return qd_gguf_set_config(&set, out, err);
}

qd_code qd_gguf_config_beside(const char *path, json_t **out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *file = NULL;
    QD_AUTO(qd_json_fini) json_t *beside = NULL;
    *out = NULL;
    if (qd_gguf_is_path(path))
        return QD_OK;
    qd_code code = qd_folder_file(path, "config.json", &file, err);
    if (code == QD_ENOTFOUND)
        return QD_OK;
    if (code == QD_OK)
        code = qd_json_read_object(file, QD_CONFIG_LIMIT, QD_CONFIG_DEPTH, &beside, err);
    if (code == QD_OK && json_array_size(json_object_get(beside, "architectures")) > 0)
        *out = json_incref(beside);
    return code;
}
