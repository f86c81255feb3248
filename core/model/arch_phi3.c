/* arch_phi3.c: Phi-3 and Phi-4: q, k and v in one matrix, gate and up in one, longrope (formats.md §2, fixtures.md). */
#include <string.h>

#include "model/arch_llama.h"

/* Its early files called longrope "yarn", of which the divisors were a part; those are not written any more. */
static qd_code configure(const json_t *config, qd_decoder *d, qd_error *err)
{
    (void)config;
    const char *name = qd_rope_scaling_name(&d->ropes[QD_ROPE_GLOBAL]);
    if (strcmp(name, "default") == 0 || strcmp(name, "longrope") == 0)
        return QD_OK;
    return qd_fail(err, QD_EUNSUPPORTED, "rope type '%s' is not supported for phi3; default and longrope are", name);
}

static const char *const types[] = { "phi3", NULL };
static const qd_arch_ops phi3_ops = {
    .model_types = types,
    .defaults = "{\"max_position_embeddings\":4096,\"original_max_position_embeddings\":4096}",
    .nested_defaults = "{\"vocab_size\":32064,\"hidden_size\":3072,\"intermediate_size\":8192,"
                       "\"num_hidden_layers\":32,\"num_attention_heads\":32}",
    .eps_key = "rms_norm_eps",
    .eps = 1e-5,
    .windows = QD_WINDOW_ALWAYS,
    .configure = configure,
    .names = { QD_LLAMA_ENDS,
               .linears = { [QD_SLOT_QKV] = "self_attn.qkv_proj",
                            [QD_SLOT_O] = "self_attn.o_proj",
                            [QD_SLOT_GATE_UP] = "mlp.gate_up_proj",
                            [QD_SLOT_DOWN] = "mlp.down_proj" },
               .norms = { QD_LLAMA_NORMS } },
    .ignored_suffixes = qd_rotary_buffers,
};
static const char *const phi3_classes[] = { "Phi3ForCausalLM", NULL };
const qd_arch qd_arch_phi3 = {
    .name = "phi3",
    .classes = phi3_classes,
    .summary = "Phi-3, Phi-4: as mistral, with fused matrices; partial rotation and longrope",
    .ops = &phi3_ops,
};
