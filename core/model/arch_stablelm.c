/* arch_stablelm.c: StableLM 2: layer norms, partial rotation, parallel residual by one norm or sequential
 * (fixtures.md). */
#include "base/json.h"
#include "model/arch_llama.h"

static qd_code configure(const json_t *config, qd_decoder *d, qd_error *err)
{
    bool parallel = false, head_norms = false;
    qd_code code = qd_json_bool(config, "use_parallel_residual", false, &parallel, err);
    if (code == QD_OK)
        code = qd_json_bool(config, "qk_layernorm", false, &head_norms, err);
    if (parallel) {
        d->residual = QD_RESIDUAL_SHARED;
        d->norms[QD_NORM_BEFORE_MLP] = NULL;
    }
    if (!head_norms)
        d->norms[QD_NORM_Q] = d->norms[QD_NORM_K] = NULL;
    return code;
}

static const qd_bias_key biases[] = { { "use_qkv_bias", QD_UNBIASED, QD_ATTENTION_INPUTS }, { NULL, QD_UNBIASED, 0 } };
static const char *const types[] = { "stablelm", NULL };
static const qd_arch_ops stablelm_ops = {
    .model_types = types,
    .defaults = "{\"partial_rotary_factor\":0.25}",
    .norm = QD_NORM_LAYER,
    .eps_key = "layer_norm_eps",
    .eps = 1e-5,
    .head_norm = QD_HEAD_NORM_OWN,
    .bias_keys = biases,
    .configure = configure,
    .names = { QD_LLAMA_NAMES, .norms = { QD_LLAMA_NORMS, [QD_NORM_Q] = "self_attn.q_layernorm.norms.%zu",
                                          [QD_NORM_K] = "self_attn.k_layernorm.norms.%zu" } },
    .ignored_suffixes = qd_rotary_buffers,
};
static const char *const stablelm_classes[] = { "StableLmForCausalLM", NULL };
const qd_arch qd_arch_stablelm = {
    .name = "stablelm",
    .classes = stablelm_classes,
    .summary = "StableLM 2: as llama, with layer norms and partial rotation; parallel residual or not",
    .ops = &stablelm_ops,
};
