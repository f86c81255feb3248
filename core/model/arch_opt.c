/* arch_opt.c: OPT: learned positions, layer norms before each branch, or behind each addition and embeddings of another
 * width (OPT-350m) (formats.md §2, fixtures.md). */
#include "base/json.h"
#include "model/arch_private.h"

/* Norms on the residual, behind the addition; none at the end. */
static void move_norms(qd_decoder *d)
{
    d->norms[QD_NORM_AFTER_ATTENTION] = d->norms[QD_NORM_BEFORE_ATTENTION];
    d->norms[QD_NORM_AFTER_MLP] = d->norms[QD_NORM_BEFORE_MLP];
    d->norms[QD_NORM_BEFORE_ATTENTION] = d->norms[QD_NORM_BEFORE_MLP] = NULL;
    d->final_norm = NULL;
}

static qd_code configure(const json_t *config, qd_decoder *d, qd_error *err)
{
    enum { LARGEST = 1 << 24 };
    bool before = true, removed = false, affine = true;
    qd_code code = qd_json_bool(config, "do_layer_norm_before", true, &before, err);
    if (code == QD_OK)
        code = qd_json_bool(config, "_remove_final_layer_norm", false, &removed, err);
    if (code == QD_OK)
        code = qd_json_bool(config, "layer_norm_elementwise_affine", true, &affine, err);
    if (code == QD_OK)
        code = qd_json_size(config, "word_embed_proj_dim", d->hidden, &d->embedding, err);
    if (code != QD_OK)
        return code;
    if (!affine)
        return qd_fail(err, QD_EUNSUPPORTED, "layer_norm_elementwise_affine: norms without weights are not supported");
    if (d->embedding == 0 || d->embedding > LARGEST)
        return qd_fail(err, QD_EFORMAT, "word_embed_proj_dim %zu is not in 1..%d", d->embedding, LARGEST);
    if (removed)
        d->final_norm = NULL;
    if (!before)
        move_norms(d);
    return QD_OK;
}

static const qd_key_name keys[] = { { "ffn_dim", "intermediate_size" },
                                    { "activation_function", "hidden_act" },
                                    { NULL, NULL } };
static const qd_bias_key biases[] = { { "enable_bias", QD_BIASED, QD_ATTENTION_ALL | QD_MLP_ALL },
                                      { NULL, QD_UNBIASED, 0 } };
static const char *const types[] = { "opt", NULL };
static const char *const buffers[] = { NULL };
static const qd_arch_ops opt_ops = {
    .model_types = types,
    .keys = keys,
    .defaults = "{\"tie_word_embeddings\":true,\"hidden_act\":\"relu\",\"max_position_embeddings\":2048}",
    .norm = QD_NORM_LAYER,
    .eps = 1e-5,
    .rotation = QD_ROTATION_NONE,
    .bias_keys = biases,
    .position_offset = 2,
    .configure = configure,
    .names = { .prefix = "model.decoder.",
               .block = "layers.%zu.",
               .embedding = "embed_tokens",
               .positions = "embed_positions",
               .project_in = "project_in",
               .project_out = "project_out",
               .final_norm = "final_layer_norm",
               .head = "lm_head",
               .linears = { [QD_SLOT_Q] = "self_attn.q_proj",
                            [QD_SLOT_K] = "self_attn.k_proj",
                            [QD_SLOT_V] = "self_attn.v_proj",
                            [QD_SLOT_O] = "self_attn.out_proj",
                            [QD_SLOT_UP] = "fc1",
                            [QD_SLOT_DOWN] = "fc2" },
               .norms = { [QD_NORM_BEFORE_ATTENTION] = "self_attn_layer_norm",
                          [QD_NORM_BEFORE_MLP] = "final_layer_norm" } },
    .ignored_suffixes = buffers,
};
static const char *const opt_classes[] = { "OPTForCausalLM", NULL };
const qd_arch qd_arch_opt = {
    .name = "opt",
    .classes = opt_classes,
    .summary = "OPT: learned positions, layer norms, relu; also the layout of OPT-350m",
    .ops = &opt_ops,
};
