/* arch_private.h: what architecture rows, the model folder and the block walker share inside core/model: the data of a
 * family (qd_arch_ops), and the numbers of one model of it (qd_decoder).
 * Room: core/model, private to it. May use: base, linalg, jansson.
 * Threads: rows are constant; a qd_decoder is read-only after the model was opened.
 * Source: formats.md §2, fixtures.md. */
#ifndef QD_MODEL_ARCH_PRIVATE_H
#define QD_MODEL_ARCH_PRIVATE_H

#include <jansson.h>

#include "model/activation.h"
#include "model/arch.h"
#include "model/layers.h"
#include "model/rope.h"

/* What a linear layer of a block does; the order is that of execution. Fused matrices are one linear. */
typedef enum qd_slot {
    QD_SLOT_Q,
    QD_SLOT_K,
    QD_SLOT_V,
    QD_SLOT_QKV,
    QD_SLOT_O,
    QD_SLOT_GATE,
    QD_SLOT_UP, /* of a plain MLP its first linear */
    QD_SLOT_GATE_UP,
    QD_SLOT_DOWN,
    QD_SLOTS
} qd_slot;
#define QD_BIT(slot) (1u << (slot))
enum {
    QD_ATTENTION_INPUTS = QD_BIT(QD_SLOT_Q) | QD_BIT(QD_SLOT_K) | QD_BIT(QD_SLOT_V) | QD_BIT(QD_SLOT_QKV),
    QD_ATTENTION_ALL = QD_ATTENTION_INPUTS | QD_BIT(QD_SLOT_O),
    QD_MLP_ALL = QD_BIT(QD_SLOT_GATE) | QD_BIT(QD_SLOT_UP) | QD_BIT(QD_SLOT_GATE_UP) | QD_BIT(QD_SLOT_DOWN),
};

/* Groups of linears that share an input. Where a layer has experts, expert e has groups 2 + 2e (gate, up) and 3 + 2e
 * (down). */
enum { QD_GROUP_QKV, QD_GROUP_O, QD_GROUP_MLP, QD_GROUP_DOWN };

/* Where a block may have norms. */
typedef enum qd_norm_place {
    QD_NORM_BEFORE_ATTENTION,
    QD_NORM_Q, /* on queries and keys, before the rotation */
    QD_NORM_K,
    QD_NORM_ON_ATTENTION,    /* on the branch's output, before it is added */
    QD_NORM_AFTER_ATTENTION, /* on the residual, behind the addition */
    QD_NORM_BEFORE_MLP,
    QD_NORM_ON_MLP,
    QD_NORM_AFTER_MLP,
    QD_NORM_PLACES
} qd_norm_place;

/* Which values share a norm of queries or keys. */
typedef enum qd_head_norm {
    QD_HEAD_NORM_SHARED, /* each head by itself, one weight [hd] for all */
    QD_HEAD_NORM_OWN,    /* each head by itself, a tensor a head: the name has %zu */
    QD_HEAD_NORM_WHOLE,  /* the whole vector, weight [H hd] */
} qd_head_norm;

/* How rows of a fused QKV linear are ordered. */
typedef enum qd_fused_rows {
    QD_FUSED_BY_KIND, /* all of q, all of k, all of v */
    QD_FUSED_BY_HEAD, /* (q, k, v) of the first head, of the second, ... */
} qd_fused_rows;

/* Where the MLP's input comes from. */
typedef enum qd_residual {
    QD_RESIDUAL_SEQUENTIAL, /* from the residual behind the attention */
    QD_RESIDUAL_PARALLEL,   /* from the residual before it, by a norm of its own */
    QD_RESIDUAL_SHARED,     /* it is the attention's input */
} qd_residual;

/* Which layers slide where the config has no layer_types. */
typedef enum qd_window_rule {
    QD_WINDOW_NEVER,
    QD_WINDOW_ALWAYS,     /* every layer, where there is a window */
    QD_WINDOW_FROM_LAYER, /* those from max_window_layers on */
    QD_WINDOW_PATTERN,    /* all but every n-th: sliding_window_pattern */
} qd_window_rule;

typedef enum qd_rotation {
    QD_ROTATION_ALL,     /* one for every layer */
    QD_ROTATION_BY_TYPE, /* layers that slide have their own */
    QD_ROTATION_NONE,
} qd_rotation;

typedef enum qd_routing {
    QD_ROUTING_KEPT,         /* soft-max over all experts, the largest k as they are */
    QD_ROUTING_RENORMALIZED, /* ... divided by their sum */
} qd_routing;

/* Tensor names. Those of a block stand below its prefix; none has its ".weight" or ".bias". NULL = there is none. */
typedef struct qd_arch_names {
    const char *prefix; /* "model.": of all but the head; may be missing in the file, or stand in a wrapper's */
    const char *block;  /* "layers.%zu.", below the prefix */
    const char *embedding, *positions, *project_in, *project_out, *final_norm; /* below the prefix */
    const char *head;
    const char *linears[QD_SLOTS];
    const char *norms[QD_NORM_PLACES];
    const char *router;                   /* below the block */
    const char *expert;                   /* "mlp.experts.%zu.", below the block */
    const char *expert_linears[QD_SLOTS]; /* below the expert */
} qd_arch_names;

/* A boolean of config.json that gives biases to some linears. */
typedef struct qd_bias_key {
    const char *key;
    enum { QD_UNBIASED, QD_BIASED } otherwise; /* when the key is missing */
    unsigned slots;
} qd_bias_key;

/* A key of this family for what the others call by another name. */
typedef struct qd_key_name {
    const char *theirs, *common;
} qd_key_name;

typedef struct qd_decoder qd_decoder;

struct qd_arch_ops {
    const char *const *model_types; /* of config.json, also inside a wrapper's text_config */
    const qd_key_name *keys;        /* ends with theirs = NULL; NULL = the common names */
    const char *defaults;           /* a JSON object: what keys mean that are missing */
    const char *nested_defaults;    /* the same for a text_config, where sizes may be missing as well */
    qd_norm_kind norm;
    const char *eps_key; /* NULL: always `eps` */
    double eps;          /* when the key is missing */
    qd_head_norm head_norm;
    qd_fused_rows fused_rows;
    qd_residual residual;
    qd_rotation rotation;
    qd_window_rule windows;
    const char *window_switch;    /* a boolean without which there is no window; NULL = none needed */
    size_t window_pattern;        /* when the key is missing */
    size_t inner_factor;          /* intermediate size over hidden when the key is missing; 0 = the key must be there */
    unsigned biases;              /* QD_BIT of slots that always have one */
    const qd_bias_key *bias_keys; /* ends with key = NULL; NULL = none */
    enum { QD_WEIGHTS_OUT_IN, QD_WEIGHTS_IN_OUT } order; /* of the stored weights of linears; IN_OUT: Conv1D */
    size_t position_offset;                              /* row of the first position in the table of positions */
    /* What the config says and no field here does; runs last, `config` has the defaults. NULL = nothing. */
    qd_code (*configure)(const json_t *config, qd_decoder *decoder, qd_error *err);
    qd_arch_names names;
    const char *const *ignored_suffixes; /* stored buffers without weights: no warning about them */
};

/* What layers of a model may differ in. */
typedef struct qd_layer {
    size_t window;  /* positions seen, itself included; 0 = all before it */
    size_t rope;    /* of the decoder's ropes; QD_NO_ROPE = none */
    size_t experts; /* 0 = a dense MLP */
    float score_scale;
} qd_layer;
#define QD_NO_ROPE SIZE_MAX
enum { QD_ROPE_GLOBAL, QD_ROPE_LOCAL, QD_ROPES };

/* Numbers of a model, from config.json by the rules of its row. */
struct qd_decoder {
    const qd_arch_ops *ops;
    size_t hidden, blocks, heads, kv_heads, head_dim, intermediate, vocabulary;
    size_t max_positions;                              /* 0 = the config does not say */
    size_t embedding;                                  /* width of the embedding's rows: hidden but for projections */
    size_t experts, experts_used, expert_intermediate; /* 0, 0, 0 = none */
    qd_routing routing;
    float eps;
    const char *norms[QD_NORM_PLACES]; /* the row's names, less those that this model has not */
    const char *final_norm;            /* NULL = none */
    qd_residual residual;
    unsigned biases; /* QD_BIT of slots */
    const qd_activation *activation;
    float embedding_scale, branch_scale, logit_scale; /* factors; 1 = none */
    float score_cap, logit_cap;                       /* c tanh(x / c); 0 = none */
    bool tied;
    qd_rope ropes[QD_ROPES];
    qd_layer *layers; /* `blocks` of them */
};

/* The object of config.json that the decoder is read from: itself, or its text_config where the row was found by that.
 */
qd_code qd_arch_of_config(const json_t *config, const qd_arch **out, const json_t **out_text, qd_error *err);
const qd_arch *qd_arch_find_type(const char *model_type); /* NULL for unknown */
/* config.json -> numbers; `text` as above, `config` around it. QD_EFORMAT names a missing key, QD_EUNSUPPORTED a value
 * we cannot run. */
qd_code qd_decoder_read(const qd_arch *arch, const json_t *config, const json_t *text, qd_decoder *out, qd_error *err);
void qd_decoder_fini(qd_decoder *decoder);

/* Sizes of a slot; of an expert's where `expert` says so. */
size_t qd_slot_out(const qd_decoder *decoder, qd_slot slot, size_t expert);
size_t qd_slot_in(const qd_decoder *decoder, qd_slot slot, size_t expert);
size_t qd_slot_group(qd_slot slot, size_t expert);

/* QD_EUNSUPPORTED for a model that nothing runs: qd_model_is_known. */
qd_code qd_model_need_forward(const qd_model *model, qd_error *err);
const qd_decoder *qd_model_decoder(const qd_model *model);
qd_slot qd_model_slot(const qd_model *model, size_t linear);
/* Tensors outside blocks: checked present when the model was opened. NULL where the architecture has none. `head` is
 * the embedding when tied. */
typedef struct qd_model_ends {
    const qd_tensor *embedding, *positions, *project_in, *project_out, *final_norm, *final_norm_bias, *head;
} qd_model_ends;
const qd_model_ends *qd_model_ends_of(const qd_model *model);
/* A tensor of a block by its name below the prefix, and its ending (".weight"); NULL when absent. */
const qd_tensor *qd_model_block_tensor(const qd_model *model, size_t block, const char *name, const char *ending);
/* The weight of one head's norm, by the pattern of its name. */
const qd_tensor *qd_model_head_tensor(const qd_model *model, size_t block, const char *pattern, size_t head);

#endif
