/* arch_private.h: what arch rows, the model folder and the block walker share inside core/model.
 * Room: core/model, private to it. May use: base, linalg, jansson.
 * Threads: a qd_decoder is read-only after the model was opened. */
#ifndef QD_MODEL_ARCH_PRIVATE_H
#define QD_MODEL_ARCH_PRIVATE_H

#include <jansson.h>

#include "model/arch.h"
#include "model/layers.h"
#include "model/rope.h"

/* A linear layer of a block by its place: which tensor, which sizes, which shared input. */
typedef enum qd_slot {
    QD_SLOT_Q,
    QD_SLOT_K,
    QD_SLOT_V,
    QD_SLOT_O,
    QD_SLOT_GATE,
    QD_SLOT_UP,
    QD_SLOT_DOWN,
    QD_SLOTS
} qd_slot;
enum { QD_GROUP_QKV, QD_GROUP_O, QD_GROUP_MLP, QD_GROUP_DOWN, QD_GROUPS };

/* Numbers of a decoder, read from config.json by the architecture's row. */
typedef struct qd_decoder {
    size_t hidden, heads, kv_heads, head_dim, intermediate;
    size_t window;                 /* 0 = full attention */
    bool attention_bias, mlp_bias; /* on q, k, v, o; on gate, up, down */
    float eps;
    qd_rope rope;
} qd_decoder;

struct qd_arch_ops {
    /* config.json -> numbers; QD_EFORMAT names a missing key, QD_EUNSUPPORTED a value we cannot run. */
    qd_code (*configure)(const json_t *config, qd_decoder *out, qd_error *err);
    const char *const *slot_names;                       /* QD_SLOTS of them, below the block: "self_attn.q_proj" */
    const char *block_prefix;                            /* "model.layers.%zu." */
    const char *norm_before_attention, *norm_before_mlp; /* below the block */
    const char *embedding, *final_norm, *head;           /* whole tensor names */
    const char *const *ignored_suffixes;                 /* stored buffers without weights: no warning about them */
};

/* Sizes of a slot. */
size_t qd_slot_out(const qd_decoder *decoder, qd_slot slot);
size_t qd_slot_in(const qd_decoder *decoder, qd_slot slot);
size_t qd_slot_group(qd_slot slot);

const qd_decoder *qd_model_decoder(const qd_model *model);
/* Tensors outside blocks: checked present when the model was opened. `head` is the embedding when tied. */
const qd_tensor *qd_model_embedding(const qd_model *model);
const qd_tensor *qd_model_final_norm_tensor(const qd_model *model);
const qd_tensor *qd_model_head(const qd_model *model);
/* A tensor of a block by its name below the prefix; NULL when absent. */
const qd_tensor *qd_model_block_tensor(const qd_model *model, size_t block, const char *name);

#endif
