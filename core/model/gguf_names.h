/* gguf_names.h: what tensors are called in GGUF files, and which rows lie in another order there.
 * Room: core/model. May use: base.
 * Threads: constant tables; pure functions.
 * Source: formats.md §6.2, §6.3. An architecture is one row: GGUF's id, the config.json class, and its name pairs. */
#ifndef QD_MODEL_GGUF_NAMES_H
#define QD_MODEL_GGUF_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/* Rows of a head: pairs (i, i + hd/2) stand apart in config.json's world ("half-split") and side by side in GGUF files
 * of some architectures: new row (h, 2i + j) = old row (h, j hd/2 + i). */
typedef enum qd_gguf_rows {
    QD_GGUF_ROWS_SAME,
    QD_GGUF_ROWS_BY_HEAD,    /* interleaved, over the attention heads */
    QD_GGUF_ROWS_BY_KV_HEAD, /* interleaved, over the key/value heads */
} qd_gguf_rows;

/* "%zu" in both or in neither stands for the block. Names end before ".weight" or ".bias", which both worlds share. */
typedef struct qd_gguf_name {
    const char *ours, *theirs; /* "model.layers.%zu.self_attn.q_proj", "blk.%zu.attn_q" */
    qd_gguf_rows rows;
} qd_gguf_name;

typedef struct qd_gguf_arch {
    const char *id;             /* general.architecture: "llama" */
    const char *class_name;     /* architectures[0] of the config.json made for it: "LlamaForCausalLM" */
    const char *const *classes; /* classes written under this id; NULL-terminated */
    const char *model_type;     /* of that config.json */
    const char *windowed_class, *windowed_type; /* both where attention.sliding_window is set; NULL = cannot be */
    const qd_gguf_name *names;                  /* ends with ours = NULL */
} qd_gguf_arch;

const qd_gguf_arch *qd_gguf_arch_at(size_t index);                 /* NULL past the end */
const qd_gguf_arch *qd_gguf_arch_find(const char *id);             /* by general.architecture; NULL for unknown */
const qd_gguf_arch *qd_gguf_arch_of_class(const char *class_name); /* by architectures[0]; NULL for unknown */

enum { QD_GGUF_NAME_BYTES = 512 };
/* A whole tensor name in the other world ("....weight" or "....bias"); out has QD_GGUF_NAME_BYTES. Returns the row that
 * fitted, NULL when none does. */
const qd_gguf_name *qd_gguf_name_to_theirs(const qd_gguf_arch *arch, const char *ours, char *out);
const qd_gguf_name *qd_gguf_name_to_ours(const qd_gguf_arch *arch, const char *theirs, char *out);
/* File row that holds row `row` of the half-split order, heads of `head_dim` rows each. */
size_t qd_gguf_row_place(size_t row, size_t head_dim);

#endif
