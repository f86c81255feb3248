/* arch_llama.c: Llama and its nearest kin: pre-norm, rotary grouped attention, gated MLP, separate q, k and v
 * (formats.md §2, fixtures.md). */
#include "model/arch_llama.h"

const char *const qd_rotary_buffers[] = { "rotary_emb.inv_freq", NULL };

/* ---- llama ---- */

static const qd_bias_key llama_biases[] = { { "attention_bias", QD_UNBIASED, QD_ATTENTION_ALL },
                                            { "mlp_bias", QD_UNBIASED, QD_MLP_ALL },
                                            { NULL, QD_UNBIASED, 0 } };
static const char *const llama_types[] = { "llama", NULL };
static const qd_arch_ops llama_ops = {
    .model_types = llama_types,
    .nested_defaults = "{\"vocab_size\":32000,\"hidden_size\":4096,\"intermediate_size\":11008,"
                       "\"num_hidden_layers\":32,\"num_attention_heads\":32,\"max_position_embeddings\":2048}",
    .eps_key = "rms_norm_eps",
    .eps = 1e-6,
    .bias_keys = llama_biases,
    .names = { QD_LLAMA_NAMES, .norms = { QD_LLAMA_NORMS } },
    .ignored_suffixes = qd_rotary_buffers,
};
static const char *const llama_classes[] = { "LlamaForCausalLM", NULL };
const qd_arch qd_arch_llama = {
    .name = "llama",
    .classes = llama_classes,
    .summary = "Llama 1-3, SmolLM2, TinyLlama: rotary grouped attention, SiLU-gated MLP, RMS norms",
    .ops = &llama_ops,
};

/* ---- mistral: no biases; a sliding window over every layer when the config has one ---- */

static const char *const mistral_types[] = { "mistral", NULL };
static const qd_arch_ops mistral_ops = {
    .model_types = mistral_types,
    .nested_defaults = "{\"vocab_size\":32000,\"hidden_size\":4096,\"intermediate_size\":14336,"
                       "\"num_hidden_layers\":32,\"num_attention_heads\":32,\"num_key_value_heads\":8,"
                       "\"max_position_embeddings\":131072,\"sliding_window\":4096}",
    .eps_key = "rms_norm_eps",
    .eps = 1e-6,
    .windows = QD_WINDOW_ALWAYS,
    .names = { QD_LLAMA_NAMES, .norms = { QD_LLAMA_NORMS } },
    .ignored_suffixes = qd_rotary_buffers,
};
static const char *const mistral_classes[] = { "MistralForCausalLM", NULL };
const qd_arch qd_arch_mistral = {
    .name = "mistral",
    .classes = mistral_classes,
    .summary = "Mistral: as llama, with a sliding attention window when the config has one",
    .ops = &mistral_ops,
};
