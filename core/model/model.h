/* model.h: a folder of config.json and safetensors, or a GGUF file, as an architecture with named linear layers.
 * Room: core/model. May use: base, linalg, jansson. Knows no tokenizer, no quantizer.
 * Threads: a qd_model is immutable after open.
 * Source: formats.md §1.4, §2, §6; fixtures.md. */
#ifndef QD_MODEL_MODEL_H
#define QD_MODEL_MODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "model/safetensors.h"

enum { QD_CONFIG_LIMIT = 4 << 20, QD_CONFIG_DEPTH = 32 }; /* of config.json: bytes, levels */

#define QD_NO_EXPERT SIZE_MAX

typedef struct qd_model qd_model;
typedef struct qd_arch qd_arch; /* model/arch.h: a row of the architecture registry */
typedef struct qd_arch_ops qd_arch_ops;

/* What every architecture has; the rest is the architecture's own. */
typedef struct qd_model_config {
    const char *architecture; /* "LlamaForCausalLM" */
    size_t hidden;            /* D */
    size_t blocks;
    size_t vocabulary;            /* V, rows of the embedding */
    size_t max_positions;         /* 0 when the config does not say */
    size_t experts, experts_used; /* a block with experts has so many, and sends a token to so many; 0 = none */
    int64_t bos, eos;             /* -1 when absent, null or >= V; of several eos the first */
    const char *dtype; /* "BF16", "F16" or "F32": the type most linear weights are stored in; F32 for the blocks of GGUF
                             files, BF16 for 8-bit floats */
} qd_model_config;

/* One linear layer of a block, in execution order. Strings live as long as the model. */
typedef struct qd_linear {
    const char *name; /* "model.layers.0.self_attn.q_proj" */
    size_t out, in;   /* O, I */
    size_t expert;    /* which of its block's experts it belongs to; QD_NO_EXPERT = it sees every token */
    size_t group;     /* layers of a block with the same group share their input: 0, 1, 2, ... in execution order */
    bool in_out;      /* model files have plain weights of it as [I, O] (Conv1D), seen as [O, I] here */
    const qd_tensor *weight; /* [O, I] */
    const qd_tensor *bias;   /* [O], or NULL */
} qd_linear;

/* Opens DIR/config.json, model.safetensors or model.safetensors.index.json with its shards; or, where there are none,
 * the one GGUF file or set of the folder; or a .gguf file by its path. QD_EUNSUPPORTED for an unknown architecture
 * lists the supported ones; a missing key or tensor is named. A folder whose config.json has a quantization_config is
 * refused here (open it with export/artifact.h), but for 8-bit floats with scales, which are numbers all the same.
 *
 * A GGUF model has the names, shapes and order of rows of safetensors; its config.json is made from its metadata,
 * unless one lies in the folder that names its architectures. */
qd_code qd_model_open(const char *path, qd_model **out, qd_error *err);
/* true for a quantization_config that qd_model_open reads through, as numbers: 8-bit floats with scales. */
bool qd_model_reads_quantization(const json_t *quantization);
/* As qd_model_open for a folder whose linear weights are absent (a packed artifact): qd_linear.weight is NULL there and
 * shapes come from the config. */
qd_code qd_model_open_packed(const char *dir, qd_model **out, qd_error *err);
/* ---- architectures without a row ----
 * Which tensor stands for the weight of a linear layer, where no architecture tells: out and in are set, and how much of
 * the tensor's name is the layer's. vocabulary: of the config, 0 = it does not say. */
typedef struct qd_layer_finder {
    bool (*find)(void *ctx, const qd_tensor *tensor, uint64_t vocabulary, qd_linear *out, size_t *out_length);
    void *ctx;
} qd_layer_finder;
/* By the rules of model/unknown.h; ctx is not used. */
bool qd_unknown_find_stored(void *ctx, const qd_tensor *tensor, uint64_t vocabulary, qd_linear *out,
                            size_t *out_length);
/* As qd_model_open, or qd_model_open_packed where a finder looks for packed layers, but a folder whose architecture has
 * no row opens too, with the layers that are found. Nothing runs it: see qd_model_is_known. */
qd_code qd_model_open_any(const char *path, const qd_layer_finder *finder, qd_model **out, qd_error *err);
qd_code qd_model_open_packed_any(const char *dir, const qd_layer_finder *finder, qd_model **out, qd_error *err);
/* false: its architecture has no row. Sizes that only an architecture tells are 0 then, but for the vocabulary of the
 * config; whatever needs a forward pass is QD_EUNSUPPORTED; its blocks are only for loading weights. */
bool qd_model_is_known(const qd_model *model);
void qd_model_destroy(qd_model *model); /* NULL is fine */

const qd_model_config *qd_model_borrow_config(const qd_model *model);
/* As it was opened, for model/folder.h: a folder, or a .gguf file whose siblings are none of ours. */
const char *qd_model_borrow_path(const qd_model *model);
/* The folder of the weight files; of a .gguf path, the one the file lies in. */
const char *qd_model_borrow_dir(const qd_model *model);
/* config.json as it was read or made, and the part of it that is about the text model: itself, or a wrapper's
 * text_config. */
const json_t *qd_model_borrow_config_json(const qd_model *model);
const json_t *qd_model_borrow_text_config(const qd_model *model);
/* What the stored weights were quantized to before they came here: "GGUF Q4_K, Q6_K", "fp8, blocks of 128 x 128"; NULL
 * when they were not. */
const char *qd_model_quantized_source(const qd_model *model);
const qd_arch *qd_model_arch(const qd_model *model);

/* All tensors of all shards, by name; scales that are part of another tensor's numbers are not among them. */
size_t qd_model_tensor_count(const qd_model *model);
const qd_tensor *qd_model_tensor_at(const qd_model *model, size_t index);
const qd_tensor *qd_model_tensor(const qd_model *model, const char *name); /* NULL when absent */
/* The weight files, bare names in order ("model-00001-of-00003.safetensors", ...), for digests. */
size_t qd_model_file_count(const qd_model *model);
const char *qd_model_file_at(const qd_model *model, size_t index);
/* The index of the file that a tensor of the model lies in. */
size_t qd_model_file_of(const qd_model *model, const qd_tensor *tensor);
/* Non-fatal findings (a total_size that is wrong, a tensor missing from the index); NULL past the end. */
const char *qd_model_warning_at(const qd_model *model, size_t index);

/* Linear layers that a quantizer may touch (not embedding, not lm_head): counted over all blocks in execution order. */
size_t qd_model_linear_count(const qd_model *model);
const qd_linear *qd_model_linear_at(const qd_model *model, size_t index);
/* The linear with this name, the first `length` bytes of `name`; NULL when there is none. */
const qd_linear *qd_model_linear_named(const qd_model *model, const char *name, size_t length, size_t *out_index);
/* First index of a block's linears, and how many it has. */
size_t qd_model_block_first(const qd_model *model, size_t block);
size_t qd_model_block_size(const qd_model *model, size_t block);

#endif
