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
#include "linalg/product.h"
#include "model/model.h"

typedef struct qd_block qd_block;     /* float32 weights of one block; the only place that holds them */
typedef struct qd_scratch qd_scratch; /* one thread's working memory for sequences up to a length */

/* The weight of linear `index` (counted over the model) instead of the stored one: fills w (O x I). NULL callback =
 * stored. */
typedef struct qd_overlay {
    qd_code (*weight)(void *ctx, size_t linear_index, const qd_linear *linear, qd_matf w, qd_error *err);
    void *ctx;
} qd_overlay;

/* Reads and widens a block's weights (checked finite: QD_ENUMERIC names the tensor). overlay may be NULL. In
 * QD_ARITHMETIC_BFLOAT16 its linears (not the router of experts) hold packed bf16 weights only, and round their inputs to bf16. */
qd_code qd_block_load(const qd_model *model, size_t block, const qd_overlay *overlay, qd_arithmetic arithmetic,
                      qd_block **out, qd_error *err);
/* A second block with the same weights, norms and router: it reads those of `of`, which outlives it, and holds no copy. A linear
 * becomes its own when it is given a weight; what `of` is given shows here until then. */
qd_code qd_block_share(const qd_block *of, qd_block **out, qd_error *err);
void qd_block_destroy(qd_block *block); /* NULL is fine */
/* The block's k-th linear has these weights from here on (O x I), in the arithmetic of the block. */
qd_code qd_block_set_weight(qd_block *block, size_t k, qd_cmatf weight, qd_error *err);
/* Its O x I weight, writable; of blocks in float32 only, and not of a linear that is another block's. */
qd_matf qd_block_weight(qd_block *block, size_t k);
/* The weight of linear `index` (counted over the model) without its block: widened and checked as by qd_block_load. */
qd_code qd_linear_read(const qd_model *model, size_t index, const qd_overlay *overlay, qd_matf out, qd_error *err);

/* Number of groups of linears that share an input, and the width I of a group's input. */
size_t qd_block_groups(const qd_block *block);
size_t qd_block_group_width(const qd_block *block, size_t group);
/* true when advance(group) adds to the residual; when false it may be repeated (recompute wide inputs instead of
 * storing). */
bool qd_block_group_writes_residual(const qd_block *block, size_t group);

/* true when advance(group) makes every row of its own row alone, so that a sequence may go through it in pieces; not of blocks with experts. */
bool qd_block_group_is_rowwise(const qd_block *block, size_t group);

/* true when what advance(group) adds to the residual is the layer's output itself: no norm behind it, no factor. (The
 * residual's error can only be repaired by such a layer.) */
bool qd_block_group_adds_output(const qd_block *block, size_t group);

/* ---- experts ----
 * A routed group belongs to one expert and sees only the tokens that the router sends there. Its input comes from the
 * input of the group it stands at: the first routed group of the block, whose input (T x D) stays where it is while the
 * walk goes through all routed groups; advance() does nothing but at the last of them, where it takes that T x D input
 * and adds what all experts make of it. A group of every token stands at itself. */
size_t qd_block_group_place(const qd_block *block, size_t group);
size_t qd_block_group_expert(const qd_block *block, size_t group); /* QD_NO_EXPERT: every token's */
/* The experts that the router of this block sends each row of `input` (T x D, of the place) to: out_experts is T x
 * experts_used, ascending in each row. `group`: one that has an expert. */
qd_code qd_block_route(const qd_block *block, size_t group, qd_cmatf input, qd_scratch *scratch, uint32_t *out_experts,
                       qd_error *err);
/* The group's own input for rows that were picked from the place's: picked n x D, out n x width(group). Any rows will
 * do, routed there or not. */
qd_code qd_block_derive(const qd_block *block, size_t group, qd_cmatf picked, qd_scratch *scratch, qd_matf out,
                        qd_error *err);

/* ---- one token at a time ----
 * Keys and values of B sequences of one block. */
typedef struct qd_cache qd_cache;
qd_code qd_cache_create(const qd_model *model, size_t block, size_t sequences, size_t max_tokens, qd_cache **out,
                        qd_error *err);
void qd_cache_destroy(qd_cache *cache); /* NULL is fine */
/* Bytes of such a cache. */
uint64_t qd_cache_bytes(const qd_model *model, size_t block, size_t sequences, size_t max_tokens);
/* The token at `position` of every sequence: residual B x D in, B x D out; positions come in order, 0 first. The same
 * numbers as qd_block_forward's for sequences of max_tokens, but for the order of sums. scratch: of B tokens. */
qd_code qd_block_step(const qd_block *block, qd_cache *cache, size_t position, qd_matf residual, qd_scratch *scratch,
                      qd_error *err);

qd_code qd_scratch_create(const qd_model *model, size_t max_tokens, qd_scratch **out, qd_error *err);
void qd_scratch_destroy(qd_scratch *scratch);

/* residual: T x D in place. input: T x width(0), written. Positions start at 0; attention is causal within the
 * sequence. */
qd_code qd_block_enter(const qd_block *block, qd_matf residual, qd_scratch *scratch, qd_matf out_input, qd_error *err);
/* input: T x width(group), of bf16 only in a block of that arithmetic, and not where the group has an expert. out_input: T x width(group + 1), or
 * an empty view at the last group. out_input may not alias input. */
qd_code qd_block_advance(const qd_block *block, size_t group, qd_matf residual, qd_operand input, qd_scratch *scratch,
                         qd_matf out_input, qd_error *err);
/* Whole block in one call: residual in, residual out. */
qd_code qd_block_forward(const qd_block *block, qd_matf residual, qd_scratch *scratch, qd_error *err);

/* ---- several continuations of one text ----
 * Rows: the trunk, then the branches one after the other. A branch goes on from the trunk: it is at positions trunk, trunk + 1, ..., and sees the
 * trunk and itself alone. */
typedef struct qd_fork {
    size_t trunk;
    const size_t *branches; /* rows of each */
    size_t count;           /* 0: the trunk alone */
} qd_fork;
size_t qd_fork_rows(const qd_fork *fork);
/* Tells lengths apart for which positions are rotated differently (scalings that depend on a sequence's length); equal: alike. */
size_t qd_model_length_form(const qd_model *model, size_t length);
/* qd_block_forward of every path through it, but for the order of sums; all paths are of one qd_model_length_form. residual: qd_fork_rows x D, at most the scratch's tokens. */
qd_code qd_block_forward_fork(const qd_block *block, const qd_fork *fork, qd_matf residual, qd_scratch *scratch,
                              qd_error *err);
/* ids: one a row. */
qd_code qd_model_embed_fork(const qd_model *model, const qd_fork *fork, const uint32_t *ids, qd_matf out,
                            qd_error *err);

/* Token ids -> T x D, at positions 0, 1, ... QD_EINVAL for an id >= V, or where positions are learned, and too few. */
qd_code qd_model_embed(const qd_model *model, const uint32_t *ids, qd_matf out, qd_error *err);
/* The same at positions `first`, first + 1, ... */
qd_code qd_model_embed_from(const qd_model *model, const uint32_t *ids, size_t first, qd_matf out, qd_error *err);
/* The same with every token at one position: B sequences, a step each. */
qd_code qd_model_embed_at(const qd_model *model, const uint32_t *ids, size_t position, qd_matf out, qd_error *err);
/* The final norm (none in some architectures) in place, then logits of all V words for each row; hidden: T x D, out: T x V. The head is widened in
 * slices of rows, never whole. */
qd_code qd_model_final_norm(const qd_model *model, qd_matf hidden, qd_error *err);
qd_code qd_model_logits(const qd_model *model, qd_cmatf normed, qd_matf out, qd_error *err);
/* The same with the head widened once and kept: for whoever asks again and again. */
typedef struct qd_head qd_head;
qd_code qd_head_load(const qd_model *model, qd_head **out, qd_error *err);
void qd_head_destroy(qd_head *head); /* NULL is fine */
qd_code qd_head_logits(const qd_head *head, qd_cmatf normed, qd_matf out, qd_error *err);
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
