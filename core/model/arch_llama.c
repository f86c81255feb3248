/* arch_llama.c: Llama and Mistral decoders: pre-norm, rotary grouped attention, SiLU-gated MLP (formats.md §2,
 * fixtures.md). */
#include <string.h>

#include "base/json.h"
#include "model/arch_private.h"

static const char *const slot_names[QD_SLOTS] = {
    [QD_SLOT_Q] = "self_attn.q_proj", [QD_SLOT_K] = "self_attn.k_proj", [QD_SLOT_V] = "self_attn.v_proj",
    [QD_SLOT_O] = "self_attn.o_proj", [QD_SLOT_GATE] = "mlp.gate_proj", [QD_SLOT_UP] = "mlp.up_proj",
    [QD_SLOT_DOWN] = "mlp.down_proj",
};
static const char *const ignored_suffixes[] = { "rotary_emb.inv_freq", NULL };

/* A size that must be there and not zero. */
static qd_code need_size(const json_t *config, const char *key, size_t *out, qd_error *err)
{
    qd_code code = qd_json_size(config, key, 0, out, err);
    if (code != QD_OK)
        return code;
    return *out > 0 ? QD_OK : qd_fail(err, QD_EFORMAT, "'%s' is missing or 0", key);
}

static qd_code check_activation(const json_t *config, qd_error *err)
{
    const char *activation = NULL;
    qd_code code = qd_json_text(config, "hidden_act", "silu", &activation, err);
    if (code != QD_OK)
        return code;
    if (strcmp(activation, "silu") != 0 && strcmp(activation, "swish") != 0)
        return qd_fail(err, QD_EUNSUPPORTED, "hidden_act '%.60s' is not supported here; silu is", activation);
    return QD_OK;
}

static qd_code read_sizes(const json_t *config, qd_decoder *d, qd_error *err)
{
    qd_code code = need_size(config, "hidden_size", &d->hidden, err);
    if (code == QD_OK)
        code = need_size(config, "intermediate_size", &d->intermediate, err);
    if (code == QD_OK)
        code = need_size(config, "num_attention_heads", &d->heads, err);
    if (code == QD_OK)
        code = qd_json_size(config, "num_key_value_heads", d->heads, &d->kv_heads, err);
    if (code == QD_OK)
        code = qd_json_size(config, "head_dim", 0, &d->head_dim, err);
    if (code != QD_OK)
        return code;
    if (d->head_dim == 0 && d->hidden % d->heads != 0)
        return qd_fail(err, QD_EFORMAT, "hidden_size %zu does not divide into %zu heads, and 'head_dim' is missing",
                       d->hidden, d->heads);
    if (d->head_dim == 0)
        d->head_dim = d->hidden / d->heads;
    enum { LARGEST = 1 << 24 };
    if (d->hidden > LARGEST || d->intermediate > LARGEST || d->heads > LARGEST || d->head_dim > LARGEST)
        return qd_fail(err, QD_EFORMAT, "hidden %zu, intermediate %zu, heads %zu or head_dim %zu is beyond %d",
                       d->hidden, d->intermediate, d->heads, d->head_dim, LARGEST);
    if (d->kv_heads == 0 || d->kv_heads > d->heads || d->heads % d->kv_heads != 0)
        return qd_fail(err, QD_EFORMAT, "%zu heads of %zu cannot share %zu key/value heads", d->heads, d->head_dim,
                       d->kv_heads);
    return QD_OK;
}

/* layer_types, where there, says which layers see only `window` positions (fixtures.md). All alike is what runs
 * here. */
static qd_code read_window(const json_t *config, size_t window, size_t *out, qd_error *err)
{
    const json_t *types = json_object_get(config, "layer_types");
    size_t count = json_array_size(types), sliding = 0, layers = 0;
    qd_code code = qd_json_size(config, "num_hidden_layers", 0, &layers, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; i < count; i++) {
        const char *type = json_string_value(json_array_get(types, i));
        if (type == NULL || (strcmp(type, "full_attention") != 0 && strcmp(type, "sliding_attention") != 0))
            return qd_fail(
                err, QD_EUNSUPPORTED,
                "layer_types: '%.60s' of layer %zu is not supported; full_attention and sliding_attention are",
                type == NULL ? "" : type, i);
        sliding += type[0] == 's';
    }
    if (types != NULL && !json_is_null(types) && (!json_is_array(types) || count != layers))
        return qd_fail(err, QD_EFORMAT, "layer_types: an array of %zu, one a layer, is wanted, found %s of %zu", layers,
                       qd_json_type_name(types), count);
    if (sliding != 0 && (sliding != count || window == 0))
        return qd_fail(err, QD_EUNSUPPORTED,
                       "layer_types: %zu of %zu layers slide, over a window of %zu; all or none is supported", sliding,
                       count, window);
    *out = count > 0 && sliding == 0 ? 0 : window;
    return QD_OK;
}

static qd_code configure_plain(const json_t *config, qd_decoder *out, qd_error *err)
{
    qd_decoder d = { 0 };
    size_t positions = 0;
    double eps = 0;
    qd_code code = read_sizes(config, &d, err);
    if (code == QD_OK)
        code = check_activation(config, err);
    if (code == QD_OK)
        code = qd_json_real(config, "rms_norm_eps", 1e-6, &eps, err);
    if (code == QD_OK)
        code = qd_json_size(config, "max_position_embeddings", 0, &positions, err);
    if (code == QD_OK)
        code = qd_rope_read(config, d.head_dim, positions, &d.rope, err);
    if (code != QD_OK)
        return code;
    if (!(eps >= 0 && eps <= 1))
        return qd_fail(err, QD_EFORMAT, "rms_norm_eps %g is not in [0, 1]", eps);
    d.eps = (float)eps;
    *out = d;
    return QD_OK;
}

/* Llama: biases by two keys; no window. */
static qd_code configure_llama(const json_t *config, qd_decoder *out, qd_error *err)
{
    qd_code code = configure_plain(config, out, err);
    if (code == QD_OK)
        code = qd_json_bool(config, "attention_bias", false, &out->attention_bias, err);
    if (code == QD_OK)
        code = qd_json_bool(config, "mlp_bias", false, &out->mlp_bias, err);
    return code == QD_OK ? read_window(config, 0, &out->window, err) : code;
}

/* Mistral: no biases; a sliding window over every layer when the config has one. */
static qd_code configure_mistral(const json_t *config, qd_decoder *out, qd_error *err)
{
    size_t window = 0;
    qd_code code = qd_json_size(config, "sliding_window", 0, &window, err);
    if (code == QD_OK)
        code = configure_plain(config, out, err);
    return code == QD_OK ? read_window(config, window, &out->window, err) : code;
}

#define LLAMA_NAMES \
    .slot_names = slot_names, .block_prefix = "model.layers.%zu.", .norm_before_attention = "input_layernorm.weight", \
    .norm_before_mlp = "post_attention_layernorm.weight", .embedding = "model.embed_tokens.weight", \
    .final_norm = "model.norm.weight", .head = "lm_head.weight", .ignored_suffixes = ignored_suffixes

static const qd_arch_ops llama_ops = { .configure = configure_llama, LLAMA_NAMES };
static const qd_arch_ops mistral_ops = { .configure = configure_mistral, LLAMA_NAMES };
static const char *const llama_classes[] = { "LlamaForCausalLM", NULL };
static const char *const mistral_classes[] = { "MistralForCausalLM", NULL };

const qd_arch qd_arch_llama = {
    .name = "llama",
    .classes = llama_classes,
    .summary = "Llama 1-3, SmolLM2, TinyLlama: rotary grouped attention, SiLU-gated MLP, RMS norms",
    .ops = &llama_ops,
};
const qd_arch qd_arch_mistral = {
    .name = "mistral",
    .classes = mistral_classes,
    .summary = "Mistral: as llama, with a sliding attention window when the config has one",
    .ops = &mistral_ops,
};
