/* arch_smollm3.c: SmolLM3: Llama where some layers do not rotate (fixtures.md). */
#include "base/json.h"
#include "model/arch_llama.h"

/* 1 in the list: the layer rotates (the key says the opposite). */
static qd_code rotates(const json_t *list, size_t interval, size_t layer, bool *out, qd_error *err)
{
    const json_t *value = json_array_get(list, layer);
    *out = value == NULL ? (layer + 1) % interval != 0 : json_integer_value(value) != 0;
    if (value != NULL && !json_is_integer(value))
        return qd_fail(err, QD_EFORMAT, "no_rope_layers: 0 or 1 is wanted for layer %zu, found %s", layer,
                       qd_json_type_name(value));
    return QD_OK;
}

/* Where layer_types do not say it, the window is that of layers that do not rotate. */
static qd_code configure(const json_t *config, qd_decoder *d, qd_error *err)
{
    size_t interval = 4, window = 0;
    bool slides = false;
    const json_t *list = json_object_get(config, "no_rope_layers"), *types = json_object_get(config, "layer_types");
    qd_code code = qd_json_size(config, "no_rope_layer_interval", 4, &interval, err);
    if (code == QD_OK)
        code = qd_json_size(config, "sliding_window", 0, &window, err);
    if (code == QD_OK)
        code = qd_json_bool(config, "use_sliding_window", false, &slides, err);
    bool listed = list != NULL && !json_is_null(list);
    if (code == QD_OK && listed && (!json_is_array(list) || json_array_size(list) != d->blocks))
        code = qd_fail(err, QD_EFORMAT, "no_rope_layers: an array of %zu, one a layer, is wanted, found %s of %zu",
                       d->blocks, qd_json_type_name(list), json_array_size(list));
    if (code == QD_OK && !listed && interval == 0)
        code = qd_fail(err, QD_EFORMAT, "'no_rope_layer_interval' is 0");
    for (size_t i = 0; code == QD_OK && i < d->blocks; i++) {
        bool turned = false;
        code = rotates(list, interval, i, &turned, err);
        if (!turned)
            d->layers[i].rope = QD_NO_ROPE;
        if (!turned && slides && (types == NULL || json_is_null(types)))
            d->layers[i].window = window;
    }
    return code;
}

static const qd_bias_key biases[] = { { "attention_bias", QD_UNBIASED, QD_ATTENTION_ALL },
                                      { "mlp_bias", QD_UNBIASED, QD_MLP_ALL },
                                      { NULL, QD_UNBIASED, 0 } };
static const char *const model_types[] = { "smollm3", NULL };
static const qd_arch_ops smollm3_ops = {
    .model_types = model_types,
    .defaults = "{\"tie_word_embeddings\":true,\"rope_theta\":2000000.0}",
    .eps_key = "rms_norm_eps",
    .eps = 1e-6,
    .window_switch = "use_sliding_window",
    .bias_keys = biases,
    .configure = configure,
    .names = { QD_LLAMA_NAMES, .norms = { QD_LLAMA_NORMS } },
    .ignored_suffixes = qd_rotary_buffers,
};
static const char *const smollm3_classes[] = { "SmolLM3ForCausalLM", NULL };
const qd_arch qd_arch_smollm3 = {
    .name = "smollm3",
    .classes = smollm3_classes,
    .summary = "SmolLM3: as llama, with layers that do not rotate",
    .ops = &smollm3_ops,
};
