/* arch_gpt_neox.c: GPT-NeoX and Pythia: q, k and v fused head by head, partial rotation, parallel residual (formats.md §2,
 * fixtures.md). */
#include "base/json.h"
#include "model/arch_private.h"

static qd_code configure(const json_t *config, qd_decoder *d, qd_error *err)
{
    bool parallel = true;
    qd_code code = qd_json_bool(config, "use_parallel_residual", true, &parallel, err);
    d->residual = parallel ? QD_RESIDUAL_PARALLEL : QD_RESIDUAL_SEQUENTIAL;
    if (code == QD_OK && d->kv_heads != d->heads)
        code = qd_fail(err, QD_EUNSUPPORTED, "num_key_value_heads %zu of %zu heads: gpt_neox shares none", d->kv_heads,
                       d->heads);
    return code;
}

static const qd_key_name keys[] = { { "rotary_pct", "partial_rotary_factor" },
                                    { "rotary_emb_base", "rope_theta" },
                                    { NULL, NULL } };
static const qd_bias_key biases[] = { { "attention_bias", QD_BIASED, QD_ATTENTION_ALL }, { NULL, QD_UNBIASED, 0 } };
static const char *const types[] = { "gpt_neox", NULL };
static const char *const buffers[] = { "rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias", NULL };
static const qd_arch_ops gpt_neox_ops = {
    .model_types = types,
    .keys = keys,
    .defaults = "{\"hidden_act\":\"gelu\",\"partial_rotary_factor\":0.25}",
    .norm = QD_NORM_LAYER,
    .eps_key = "layer_norm_eps",
    .eps = 1e-5,
    .fused_rows = QD_FUSED_BY_HEAD,
    .biases = QD_MLP_ALL,
    .bias_keys = biases,
    .configure = configure,
    .names = { .prefix = "gpt_neox.",
               .block = "layers.%zu.",
               .embedding = "embed_in",
               .final_norm = "final_layer_norm",
               .head = "embed_out",
               .linears = { [QD_SLOT_QKV] = "attention.query_key_value",
                            [QD_SLOT_O] = "attention.dense",
                            [QD_SLOT_UP] = "mlp.dense_h_to_4h",
                            [QD_SLOT_DOWN] = "mlp.dense_4h_to_h" },
               .norms = { [QD_NORM_BEFORE_ATTENTION] = "input_layernorm",
                          [QD_NORM_BEFORE_MLP] = "post_attention_layernorm" } },
    .ignored_suffixes = buffers,
};
static const char *const gpt_neox_classes[] = { "GPTNeoXForCausalLM", NULL };
const qd_arch qd_arch_gpt_neox = {
    .name = "gpt_neox",
    .classes = gpt_neox_classes,
    .summary = "GPT-NeoX, Pythia: fused attention matrix by head, partial rotation, parallel residual",
    .ops = &gpt_neox_ops,
};
