/* arch_granite.c: Granite: Llama with four factors (fixtures.md). */
#include <math.h>

#include "base/json.h"
#include "model/arch_llama.h"

/* Scores have attention_multiplier instead of 1/sqrt(hd); logits are divided. */
static qd_code configure(const json_t *config, qd_decoder *d, qd_error *err)
{
    enum { EMBEDDING, ATTENTION, RESIDUAL, LOGITS };
    static const char *const keys[] = { "embedding_multiplier", "attention_multiplier", "residual_multiplier",
                                        "logits_scaling" };
    double factors[QD_LENGTH(keys)];
    for (size_t i = 0; i < QD_LENGTH(keys); i++) {
        qd_code code = qd_json_real(config, keys[i], 1, &factors[i], err);
        if (code != QD_OK)
            return code;
    }
    if (factors[LOGITS] == 0 || !isfinite(factors[LOGITS]))
        return qd_fail(err, QD_EFORMAT, "logits_scaling %g is no divisor", factors[LOGITS]);
    d->embedding_scale = (float)factors[EMBEDDING];
    d->branch_scale = (float)factors[RESIDUAL];
    d->logit_scale = (float)(1 / factors[LOGITS]);
    for (size_t i = 0; i < d->blocks; i++)
        d->layers[i].score_scale = (float)factors[ATTENTION];
    return QD_OK;
}

static const qd_bias_key biases[] = { { "attention_bias", QD_UNBIASED, QD_ATTENTION_ALL },
                                      { "mlp_bias", QD_UNBIASED, QD_MLP_ALL },
                                      { NULL, QD_UNBIASED, 0 } };
static const char *const types[] = { "granite", NULL };
static const qd_arch_ops granite_ops = {
    .model_types = types,
    .eps_key = "rms_norm_eps",
    .eps = 1e-6,
    .bias_keys = biases,
    .configure = configure,
    .names = { QD_LLAMA_NAMES, .norms = { QD_LLAMA_NORMS } },
    .ignored_suffixes = qd_rotary_buffers,
};
static const char *const granite_classes[] = { "GraniteForCausalLM", NULL };
const qd_arch qd_arch_granite = {
    .name = "granite",
    .classes = granite_classes,
    .summary = "Granite 3: as llama, with factors on embeddings, scores, branches and logits",
    .ops = &granite_ops,
};
