/* arch_gpt2.c: GPT-2: learned positions, layer norms, weights stored [in, out] (formats.md §2, fixtures.md). */
#include <math.h>

#include "base/json.h"
#include "model/arch_private.h"

static qd_code configure(const json_t *config, qd_decoder *d, qd_error *err)
{
    bool scaled = true, by_layer = false, crossed = false;
    qd_code code = qd_json_bool(config, "scale_attn_weights", true, &scaled, err);
    if (code == QD_OK)
        code = qd_json_bool(config, "scale_attn_by_inverse_layer_idx", false, &by_layer, err);
    if (code == QD_OK)
        code = qd_json_bool(config, "add_cross_attention", false, &crossed, err);
    if (code == QD_OK && crossed)
        code = qd_fail(err, QD_EUNSUPPORTED, "add_cross_attention: this model reads an encoder's output");
    for (size_t i = 0; i < d->blocks; i++)
        d->layers[i].score_scale = (scaled ? d->layers[i].score_scale : 1.0f) / (by_layer ? (float)(i + 1) : 1.0f);
    return code;
}

static const qd_key_name keys[] = {
    { "n_embd", "hidden_size" },
    { "n_layer", "num_hidden_layers" },
    { "n_head", "num_attention_heads" },
    { "n_inner", "intermediate_size" },
    { "n_positions", "max_position_embeddings" },
    { "activation_function", "hidden_act" },
    { "layer_norm_epsilon", "layer_norm_eps" },
    { NULL, NULL },
};
static const char *const types[] = { "gpt2", NULL };
static const char *const buffers[] = { ".attn.bias", ".attn.masked_bias", NULL };
static const qd_arch_ops gpt2_ops = {
    .model_types = types,
    .keys = keys,
    .defaults = "{\"tie_word_embeddings\":true,\"hidden_act\":\"gelu_new\",\"max_position_embeddings\":1024}",
    .norm = QD_NORM_LAYER,
    .eps_key = "layer_norm_eps",
    .eps = 1e-5,
    .rotation = QD_ROTATION_NONE,
    .inner_factor = 4,
    .biases = QD_ATTENTION_ALL | QD_MLP_ALL,
    .order = QD_WEIGHTS_IN_OUT,
    .configure = configure,
    .names = { .prefix = "transformer.",
               .block = "h.%zu.",
               .embedding = "wte",
               .positions = "wpe",
               .final_norm = "ln_f",
               .head = "lm_head",
               .linears = { [QD_SLOT_QKV] = "attn.c_attn",
                            [QD_SLOT_O] = "attn.c_proj",
                            [QD_SLOT_UP] = "mlp.c_fc",
                            [QD_SLOT_DOWN] = "mlp.c_proj" },
               .norms = { [QD_NORM_BEFORE_ATTENTION] = "ln_1", [QD_NORM_BEFORE_MLP] = "ln_2" } },
    .ignored_suffixes = buffers,
};
static const char *const gpt2_classes[] = { "GPT2LMHeadModel", NULL };
const qd_arch qd_arch_gpt2 = {
    .name = "gpt2",
    .classes = gpt2_classes,
    .summary = "GPT-2: learned positions, fused attention matrix, tanh gelu, weights stored [in, out]",
    .ops = &gpt2_ops,
};
