/* arch_moe.c: decoders with experts: Mixtral, Qwen3-MoE (formats.md §2, fixtures.md). */
#include "base/json.h"
#include "model/arch_llama.h"

enum { MOST_EXPERTS = 4096, MOST_IN_ALL = 1 << 18 };

static qd_code read_count(const json_t *config, const char *key, size_t most, size_t *out, qd_error *err)
{
    qd_code code = qd_json_size(config, key, 0, out, err);
    if (code == QD_OK && (*out == 0 || *out > most))
        code = qd_fail(err, QD_EFORMAT, "'%s' is %zu; 1 to %zu is wanted", key, *out, most);
    return code;
}

static qd_code read_experts(const json_t *config, qd_decoder *d, qd_error *err)
{
    qd_code code = read_count(config, "num_local_experts", MOST_EXPERTS, &d->experts, err);
    if (code == QD_OK)
        code = read_count(config, "num_experts_per_tok", d->experts, &d->experts_used, err);
    if (code == QD_OK && d->experts > MOST_IN_ALL / d->blocks)
        code = qd_fail(err, QD_EFORMAT, "%zu experts in each of %zu layers: that is beyond %d", d->experts, d->blocks,
                       (int)MOST_IN_ALL);
    for (size_t i = 0; code == QD_OK && i < d->blocks; i++)
        d->layers[i].experts = d->experts;
    return code;
}

/* ---- mixtral ---- */

static qd_code configure_mixtral(const json_t *config, qd_decoder *d, qd_error *err)
{
    d->expert_intermediate = d->intermediate;
    d->routing = QD_ROUTING_RENORMALIZED;
    return read_experts(config, d, err);
}

static const char *const mixtral_types[] = { "mixtral", NULL };
static const qd_arch_ops mixtral_ops = {
    .model_types = mixtral_types,
    .defaults = "{\"rope_theta\":1000000.0,\"num_local_experts\":8,\"num_experts_per_tok\":2}",
    .eps_key = "rms_norm_eps",
    .eps = 1e-5,
    .windows = QD_WINDOW_ALWAYS,
    .configure = configure_mixtral,
    .names = { QD_LLAMA_ENDS, .linears = { QD_LLAMA_ATTENTION }, .norms = { QD_LLAMA_NORMS },
               .router = "block_sparse_moe.gate", .expert = "block_sparse_moe.experts.%zu.",
               .expert_linears = { [QD_SLOT_GATE] = "w1", [QD_SLOT_UP] = "w3", [QD_SLOT_DOWN] = "w2" } },
    .ignored_suffixes = qd_rotary_buffers,
};
static const char *const mixtral_classes[] = { "MixtralForCausalLM", NULL };
const qd_arch qd_arch_mixtral = {
    .name = "mixtral",
    .classes = mixtral_classes,
    .summary = "Mixtral: as mistral, with experts: soft-max over all, the best k renormalized",
    .ops = &mixtral_ops,
};

/* ---- qwen3_moe ---- */

/* "mlp_only_layers": integers, or nothing at all. */
static qd_code check_listed(const json_t *list, qd_error *err)
{
    static const char key[] = "mlp_only_layers";
    if (list != NULL && !json_is_null(list) && !json_is_array(list))
        return qd_fail(err, QD_EFORMAT, "'%s': an array is wanted, found %s", key, qd_json_type_name(list));
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!json_is_integer(json_array_get(list, i)))
            return qd_fail(err, QD_EFORMAT, "'%s': item %zu: an integer is wanted, found %s", key, i,
                           qd_json_type_name(json_array_get(list, i)));
    return QD_OK;
}

static bool is_listed(const json_t *list, size_t value)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_integer_value(json_array_get(list, i)) == (json_int_t)value)
            return true;
    return false;
}

/* Layers that are listed, or that the step passes over, have a dense MLP. */
static qd_code configure_qwen3_moe(const json_t *config, qd_decoder *d, qd_error *err)
{
    enum { LARGEST = 1 << 24 };
    size_t step = 1;
    bool renormalized = false;
    const json_t *dense = json_object_get(config, "mlp_only_layers");
    qd_code code = read_experts(config, d, err);
    if (code == QD_OK)
        code = read_count(config, "moe_intermediate_size", LARGEST, &d->expert_intermediate, err);
    if (code == QD_OK)
        code = read_count(config, "decoder_sparse_step", SIZE_MAX, &step, err);
    if (code == QD_OK)
        code = qd_json_bool(config, "norm_topk_prob", false, &renormalized, err);
    if (code == QD_OK)
        code = check_listed(dense, err);
    for (size_t i = 0; code == QD_OK && i < d->blocks; i++)
        if ((i + 1) % step != 0 || is_listed(dense, i))
            d->layers[i].experts = 0;
    d->routing = renormalized ? QD_ROUTING_RENORMALIZED : QD_ROUTING_KEPT;
    return code;
}

static const qd_key_name qwen3_moe_keys[] = { { "num_experts", "num_local_experts" }, { NULL, NULL } };
static const qd_bias_key qwen3_moe_biases[] = { { "attention_bias", QD_UNBIASED, QD_ATTENTION_ALL },
                                                { NULL, QD_UNBIASED, 0 } };
static const char *const qwen3_moe_types[] = { "qwen3_moe", NULL };
static const qd_arch_ops qwen3_moe_ops = {
    .model_types = qwen3_moe_types,
    .keys = qwen3_moe_keys,
    .defaults = "{\"num_local_experts\":128,\"num_experts_per_tok\":8,\"moe_intermediate_size\":768,"
                "\"decoder_sparse_step\":1}",
    .eps_key = "rms_norm_eps",
    .eps = 1e-6,
    .windows = QD_WINDOW_ALWAYS,
    .window_switch = "use_sliding_window",
    .bias_keys = qwen3_moe_biases,
    .configure = configure_qwen3_moe,
    .names = { QD_LLAMA_NAMES, .norms = { QD_LLAMA_NORMS, QD_LLAMA_HEAD_NORMS }, .router = "mlp.gate",
               .expert = "mlp.experts.%zu.",
               .expert_linears = { [QD_SLOT_GATE] = "gate_proj",
                                   [QD_SLOT_UP] = "up_proj",
                                   [QD_SLOT_DOWN] = "down_proj" } },
    .ignored_suffixes = qd_rotary_buffers,
};
static const char *const qwen3_moe_classes[] = { "Qwen3MoeForCausalLM", NULL };
const qd_arch qd_arch_qwen3_moe = {
    .name = "qwen3_moe",
    .classes = qwen3_moe_classes,
    .summary = "Qwen3-MoE: as qwen3, with experts in all layers or some; renormalized or not",
    .ops = &qwen3_moe_ops,
};
