/* arch_qwen.c: Qwen2 and Qwen3: Llama with biases on q, k and v, or with norms on the heads of q and k (formats.md §2,
 * fixtures.md). */
#include "model/arch_llama.h"

/* ---- qwen2: no key says that there are biases ---- */

static const char *const qwen2_types[] = { "qwen2", NULL };
static const qd_arch_ops qwen2_ops = {
    .model_types = qwen2_types,
    .nested_defaults = "{\"vocab_size\":151936,\"hidden_size\":4096,\"intermediate_size\":22016,"
                       "\"num_hidden_layers\":32,\"num_attention_heads\":32,\"num_key_value_heads\":32,"
                       "\"max_position_embeddings\":32768}",
    .eps_key = "rms_norm_eps",
    .eps = 1e-6,
    .windows = QD_WINDOW_FROM_LAYER,
    .window_switch = "use_sliding_window",
    .biases = QD_ATTENTION_INPUTS,
    .names = { QD_LLAMA_NAMES, .norms = { QD_LLAMA_NORMS } },
    .ignored_suffixes = qd_rotary_buffers,
};
static const char *const qwen2_classes[] = { "Qwen2ForCausalLM", NULL };
const qd_arch qd_arch_qwen2 = {
    .name = "qwen2",
    .classes = qwen2_classes,
    .summary = "Qwen2, Qwen2.5: as llama, with biases on queries, keys and values",
    .ops = &qwen2_ops,
};

/* ---- qwen3 ---- */

static const qd_bias_key qwen3_biases[] = { { "attention_bias", QD_UNBIASED, QD_ATTENTION_ALL },
                                            { NULL, QD_UNBIASED, 0 } };
static const char *const qwen3_types[] = { "qwen3", NULL };
static const qd_arch_ops qwen3_ops = {
    .model_types = qwen3_types,
    .defaults = "{\"head_dim\":128}",
    .nested_defaults = "{\"vocab_size\":151936,\"hidden_size\":4096,\"intermediate_size\":22016,"
                       "\"num_hidden_layers\":32,\"num_attention_heads\":32,\"num_key_value_heads\":32,"
                       "\"max_position_embeddings\":32768}",
    .eps_key = "rms_norm_eps",
    .eps = 1e-6,
    .windows = QD_WINDOW_FROM_LAYER,
    .window_switch = "use_sliding_window",
    .bias_keys = qwen3_biases,
    .names = { QD_LLAMA_NAMES, .norms = { QD_LLAMA_NORMS, QD_LLAMA_HEAD_NORMS } },
    .ignored_suffixes = qd_rotary_buffers,
};
static const char *const qwen3_classes[] = { "Qwen3ForCausalLM", NULL };
const qd_arch qd_arch_qwen3 = {
    .name = "qwen3",
    .classes = qwen3_classes,
    .summary = "Qwen3: as llama, with norms on the heads of queries and keys",
    .ops = &qwen3_ops,
};
