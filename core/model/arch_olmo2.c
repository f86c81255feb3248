/* arch_olmo2.c: OLMo 2: norms on the outputs of attention and MLP, which read the residual as it is; queries and keys
 * normed whole (fixtures.md). */
#include "model/arch_llama.h"

static const qd_bias_key biases[] = { { "attention_bias", QD_UNBIASED, QD_ATTENTION_ALL }, { NULL, QD_UNBIASED, 0 } };
static const char *const types[] = { "olmo2", NULL };
static const qd_arch_ops olmo2_ops = {
    .model_types = types,
    .eps_key = "rms_norm_eps",
    .eps = 1e-5,
    .head_norm = QD_HEAD_NORM_WHOLE,
    .bias_keys = biases,
    .names = { QD_LLAMA_NAMES, .norms = { QD_LLAMA_HEAD_NORMS, [QD_NORM_ON_ATTENTION] = "post_attention_layernorm",
                                          [QD_NORM_ON_MLP] = "post_feedforward_layernorm" } },
    .ignored_suffixes = qd_rotary_buffers,
};
static const char *const olmo2_classes[] = { "Olmo2ForCausalLM", NULL };
const qd_arch qd_arch_olmo2 = {
    .name = "olmo2",
    .classes = olmo2_classes,
    .summary = "OLMo 2: as llama, with norms behind attention and MLP, and on whole queries and keys",
    .ops = &olmo2_ops,
};
