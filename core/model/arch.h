/* arch.h: what an architecture is: how its linear layers are found, in order, and how a block runs.
 * Room: core/model. May use: base, linalg. One file an architecture (arch_llama.c), one row in arch_table.c.
 * Threads: rows are constant; a qd_block is read by many threads once loaded, each with its own scratch.
 *
 * A block is walked group by group, so that statistics of a group's input can be taken between rounding one group and
 * running the next (design.md §4). For one sequence of T tokens:
 *
 *     enter(residual)                     -> input of group 0
 *     advance(g, residual, input of g)    -> input of group g + 1      (may add to the residual)
 *     advance(last, residual, input)      -> the residual is the block's output; no next input
 */
#ifndef QD_MODEL_ARCH_H
#define QD_MODEL_ARCH_H

#include <stdbool.h>

#include "linalg/mat.h"
#include "model/model.h"

typedef struct qd_block qd_block;     /* float32 weights of one block; the only place that holds them */
typedef struct qd_scratch qd_scratch; /* one thread's working memory for sequences up to a length */

/* The weight of linear `index` (counted over the model) instead of the stored one: fills w (O x I). NULL callback =
 * stored. */
typedef struct qd_overlay {
    qd_code (*weight)(void *ctx, size_t linear_index, const qd_linear *linear, qd_matf w, qd_error *err);
    void *ctx;
} qd_overlay;

/* Reads and widens a block's weights (checked finite: QD_ENUMERIC names the tensor). overlay may be NULL. */
qd_code qd_block_load(const qd_model *model, size_t block, const qd_overlay *overlay, qd_block **out, qd_error *err);
void qd_block_destroy(qd_block *block); /* NULL is fine */
/* The O x I weight of the block's k-th linear, writable: put the quantized weight here. */
qd_matf qd_block_weight(qd_block *block, size_t k);

/* Number of groups of linears that share an input, and the width I of a group's input. */
size_t qd_block_groups(const qd_block *block);
size_t qd_block_group_width(const qd_block *block, size_t group);
/* true when advance(group) adds to the residual; when false it may be repeated (recompute wide inputs instead of
 * storing). */
bool qd_block_group_writes_residual(const qd_block *block, size_t group);

qd_code qd_scratch_create(const qd_model *model, size_t max_tokens, qd_scratch **out, qd_error *err);
void qd_scratch_destroy(qd_scratch *scratch);

/* residual: T x D in place. input: T x width(0), written. Positions start at 0; attention is causal within the
 * sequence. */
qd_code qd_block_enter(const qd_block *block, qd_matf residual, qd_scratch *scratch, qd_matf out_input, qd_error *err);
/* input: T x width(group). out_input: T x width(group + 1), or an empty view at the last group. out_input may not
 * alias input. */
qd_code qd_block_advance(const qd_block *block, size_t group, qd_matf residual, qd_cmatf input, qd_scratch *scratch,
                         qd_matf out_input, qd_error *err);
/* Whole block in one call: residual in, residual out. */
qd_code qd_block_forward(const qd_block *block, qd_matf residual, qd_scratch *scratch, qd_error *err);

/* Token ids -> T x D. QD_EINVAL for an id >= V. */
qd_code qd_model_embed(const qd_model *model, const uint32_t *ids, qd_matf out, qd_error *err);
/* The final norm in place, then logits of all V words for each row; hidden: T x D, out: T x V. The head is widened in
 * slices of rows, never whole. */
qd_code qd_model_final_norm(const qd_model *model, qd_matf hidden, qd_error *err);
qd_code qd_model_logits(const qd_model *model, qd_cmatf normed, qd_matf out, qd_error *err);
/* Sum over rows t of -log p(targets[t]) in float64, logits in float32, without holding T x V: normed: T x D. per_row
 * may be NULL. */
qd_code qd_model_nll(const qd_model *model, qd_cmatf normed, const uint32_t *targets, double *per_row, double *out_sum,
                     qd_error *err);

/* ---- the registry ---- */
struct qd_arch {
    const char *name;           /* catalogue key: "llama" */
    const char *const *classes; /* values of config.json architectures[0]: { "LlamaForCausalLM", NULL } */
    const char *summary;
    const struct qd_arch_ops *ops; /* private to core/model: arch_private.h */
};
const qd_arch *qd_arch_at(size_t index);             /* NULL past the end */
const qd_arch *qd_arch_find_class(const char *name); /* NULL for unknown */

#endif
