/* arch_gemma.c: Gemma 1 to 3: norms by 1 + w, scaled embeddings, tanh gelu; from the second on norms before and behind
 * each branch, and windows (formats.md §2, fixtures.md). */
#include <math.h>

#include "base/json.h"
#include "model/arch_llama.h"

#define SECOND_NORMS \
    [QD_NORM_BEFORE_ATTENTION] = "input_layernorm", [QD_NORM_ON_ATTENTION] = "post_attention_layernorm", \
    [QD_NORM_BEFORE_MLP] = "pre_feedforward_layernorm", [QD_NORM_ON_MLP] = "post_feedforward_layernorm"

static const qd_key_name keys[] = { { "hidden_activation", "hidden_act" }, { NULL, NULL } };
static const qd_bias_key biases[] = { { "attention_bias", QD_UNBIASED, QD_ATTENTION_ALL }, { NULL, QD_UNBIASED, 0 } };

static qd_code configure_any(const json_t *config, qd_decoder *d, qd_error *err)
{
    bool both_ways = false;
    qd_code code = qd_json_bool(config, "use_bidirectional_attention", false, &both_ways, err);
    if (code == QD_OK && both_ways)
        code =
            qd_fail(err, QD_EUNSUPPORTED, "use_bidirectional_attention: this attends to later tokens, a decoder not");
    d->embedding_scale = sqrtf((float)d->hidden);
    return code;
}

/* ---- gemma: the name "gelu" of its first files always meant the tanh form ---- */

static qd_code configure_gemma(const json_t *config, qd_decoder *d, qd_error *err)
{
    const qd_activation *erf = NULL;
    qd_code code = qd_activation_find("hidden_act", "gelu", &erf, err);
    if (code == QD_OK && d->activation == erf)
        code = qd_activation_find("hidden_act", "gelu_pytorch_tanh", &d->activation, err);
    return code == QD_OK ? configure_any(config, d, err) : code;
}

static const char *const gemma_types[] = { "gemma", NULL };
static const qd_arch_ops gemma_ops = {
    .model_types = gemma_types,
    .keys = keys,
    .defaults = "{\"tie_word_embeddings\":true,\"hidden_act\":\"gelu_pytorch_tanh\",\"head_dim\":256}",
    .nested_defaults = "{\"vocab_size\":256000,\"hidden_size\":3072,\"intermediate_size\":24576,"
                       "\"num_hidden_layers\":28,\"num_attention_heads\":16,\"num_key_value_heads\":16,"
                       "\"max_position_embeddings\":8192}",
    .norm = QD_NORM_RMS_ONE_PLUS,
    .eps_key = "rms_norm_eps",
    .eps = 1e-6,
    .bias_keys = biases,
    .configure = configure_gemma,
    .names = { QD_LLAMA_NAMES, .norms = { QD_LLAMA_NORMS } },
    .ignored_suffixes = qd_rotary_buffers,
};
static const char *const gemma_classes[] = { "GemmaForCausalLM", NULL };
const qd_arch qd_arch_gemma = {
    .name = "gemma",
    .classes = gemma_classes,
    .summary = "Gemma 1: as llama, with scaled embeddings, tanh gelu and norms by 1 + w",
    .ops = &gemma_ops,
};

/* ---- gemma2 and gemma3 ---- */

static qd_code configure_capped(const json_t *config, qd_decoder *d, qd_error *err)
{
    double scalar = 0, score_cap = 0, logit_cap = 0;
    qd_code code = qd_json_real(config, "query_pre_attn_scalar", (double)d->head_dim, &scalar, err);
    if (code == QD_OK)
        code = qd_json_real(config, "attn_logit_softcapping", 0, &score_cap, err);
    if (code == QD_OK)
        code = qd_json_real(config, "final_logit_softcapping", 0, &logit_cap, err);
    if (code == QD_OK && !(scalar > 0))
        code = qd_fail(err, QD_EFORMAT, "query_pre_attn_scalar %g is not above 0", scalar);
    if (code != QD_OK)
        return code;
    d->score_cap = (float)score_cap;
    d->logit_cap = (float)logit_cap;
    for (size_t i = 0; i < d->blocks; i++)
        d->layers[i].score_scale = (float)(1 / sqrt(scalar));
    return configure_any(config, d, err);
}

static const char *const gemma2_types[] = { "gemma2", NULL };
static const qd_arch_ops gemma2_ops = {
    .model_types = gemma2_types,
    .keys = keys,
    .defaults = "{\"tie_word_embeddings\":true,\"hidden_act\":\"gelu_pytorch_tanh\",\"head_dim\":256,"
                "\"query_pre_attn_scalar\":256,\"attn_logit_softcapping\":50.0,\"final_logit_softcapping\":30.0,"
                "\"sliding_window\":4096}",
    .nested_defaults = "{\"vocab_size\":256000,\"hidden_size\":2304,\"intermediate_size\":9216,"
                       "\"num_hidden_layers\":26,\"num_attention_heads\":8,\"num_key_value_heads\":4,"
                       "\"max_position_embeddings\":8192}",
    .norm = QD_NORM_RMS_ONE_PLUS,
    .eps_key = "rms_norm_eps",
    .eps = 1e-6,
    .windows = QD_WINDOW_PATTERN,
    .window_pattern = 2,
    .bias_keys = biases,
    .configure = configure_capped,
    .names = { QD_LLAMA_NAMES, .norms = { SECOND_NORMS } },
    .ignored_suffixes = qd_rotary_buffers,
};
static const char *const gemma2_classes[] = { "Gemma2ForCausalLM", NULL };
const qd_arch qd_arch_gemma2 = {
    .name = "gemma2",
    .classes = gemma2_classes,
    .summary = "Gemma 2: norms around both branches, every other layer slides, soft caps",
    .ops = &gemma2_ops,
};

static const char *const gemma3_types[] = { "gemma3_text", "gemma3", NULL };
static const qd_arch_ops gemma3_ops = {
    .model_types = gemma3_types,
    .keys = keys,
    .defaults = "{\"tie_word_embeddings\":true,\"hidden_act\":\"gelu_pytorch_tanh\",\"head_dim\":256,"
                "\"query_pre_attn_scalar\":256,\"sliding_window\":4096,\"rope_theta\":1000000.0,"
                "\"rope_local_base_freq\":10000.0,\"max_position_embeddings\":131072}",
    .nested_defaults = "{\"vocab_size\":262208,\"hidden_size\":2304,\"intermediate_size\":9216,"
                       "\"num_hidden_layers\":26,\"num_attention_heads\":8,\"num_key_value_heads\":4}",
    .norm = QD_NORM_RMS_ONE_PLUS,
    .eps_key = "rms_norm_eps",
    .eps = 1e-6,
    .rotation = QD_ROTATION_BY_TYPE,
    .windows = QD_WINDOW_PATTERN,
    .window_pattern = 6,
    .bias_keys = biases,
    .configure = configure_capped,
    .names = { QD_LLAMA_NAMES, .norms = { SECOND_NORMS, QD_LLAMA_HEAD_NORMS } },
    .ignored_suffixes = qd_rotary_buffers,
};
static const char *const gemma3_classes[] = { "Gemma3ForCausalLM", NULL };
const qd_arch qd_arch_gemma3 = {
    .name = "gemma3",
    .classes = gemma3_classes,
    .summary = "Gemma 3: as gemma2, with head norms, and rotations of their own in layers that slide",
    .ops = &gemma3_ops,
};
