/* arch_llama.h: the tensor names that most decoders took over from Llama.
 * Room: core/model, private to its rows. May use: base, linalg, jansson.
 * Threads: constants. */
#ifndef QD_MODEL_ARCH_LLAMA_H
#define QD_MODEL_ARCH_LLAMA_H

#include "model/arch_private.h"

#define QD_LLAMA_ENDS \
    .prefix = "model.", .block = "layers.%zu.", .embedding = "embed_tokens", .final_norm = "norm", .head = "lm_head"
#define QD_LLAMA_ATTENTION \
    [QD_SLOT_Q] = "self_attn.q_proj", [QD_SLOT_K] = "self_attn.k_proj", [QD_SLOT_V] = "self_attn.v_proj", \
    [QD_SLOT_O] = "self_attn.o_proj"
#define QD_LLAMA_MLP [QD_SLOT_GATE] = "mlp.gate_proj", [QD_SLOT_UP] = "mlp.up_proj", [QD_SLOT_DOWN] = "mlp.down_proj"
#define QD_LLAMA_NAMES QD_LLAMA_ENDS, .linears = { QD_LLAMA_ATTENTION, QD_LLAMA_MLP }
#define QD_LLAMA_NORMS [QD_NORM_BEFORE_ATTENTION] = "input_layernorm", [QD_NORM_BEFORE_MLP] = "post_attention_layernorm"
#define QD_LLAMA_HEAD_NORMS [QD_NORM_Q] = "self_attn.q_norm", [QD_NORM_K] = "self_attn.k_norm"

extern const char *const qd_rotary_buffers[]; /* stored by old files */

#endif
