/* block_private.h: a loaded block and a thread's working memory, as the files of the walk share them.
 * Room: core/model, private to it. May use: base, linalg.
 * Threads: see arch.h. */
#ifndef QD_MODEL_BLOCK_PRIVATE_H
#define QD_MODEL_BLOCK_PRIVATE_H

#include "model/attention.h"
#include "model/experts.h"

/* What is used is reached by pointers, to the block's own parts or to those of the block that it shares with. */
struct qd_block {
    const qd_decoder *decoder;
    const qd_layer *layer;
    const qd_dense **linears; /* as the model lists them */
    size_t count;
    const qd_linear *list;                  /* the model's, `count` of them */
    const qd_dense *const *slots[QD_SLOTS]; /* into linears: those of every token; NULL = there is none */
    qd_arithmetic arithmetic;               /* of its products, those of attention too */
    const qd_norm *norms;                   /* QD_NORM_PLACES of them; weight NULL = there is none */
    qd_mixture mixture;                     /* linears NULL = a dense MLP */
    struct {
        qd_dense *linears; /* count; zeros where another block's is used */
        qd_norm norms[QD_NORM_PLACES];
        qd_dense router;
    } own;
};

typedef struct qd_rope_table {
    qd_matf_buf cosine, sine; /* max_tokens x r/2 */
    size_t form;              /* of the sequence they were made for: qd_rope_form */
} qd_rope_table;

/* Row b of every matrix is the token at `position` of sequence b. */
typedef struct qd_step {
    qd_cache *cache;
    size_t position;
} qd_step;

struct qd_scratch {
    size_t max_tokens;
    const qd_step *step; /* NULL: rows are the tokens of one sequence */
    qd_matf_buf q, k, v;
    qd_matf_buf room;   /* of a tile of attention */
    qd_matf_buf fused;  /* T x what a fused linear makes */
    qd_matf_buf up;     /* T x F */
    qd_matf_buf branch; /* T x D: a branch's output that is not added as it is */
    qd_rope_table ropes[QD_ROPES];
    qd_expert_room experts;
    qd_matf_buf inputs[2];      /* of two neighbouring groups, for whole-block calls */
    const qd_fork *fork;        /* what the rows are, while they are a fork; NULL = one sequence */
    qd_matf_buf path_k, path_v; /* keys and values of a path through it; no rows before the first fork */
};

/* The first `rows` rows. */
static inline qd_matf qd_rows_of(qd_matf_buf *buf, size_t rows)
{
    return qd_matf_block(buf->view, 0, 0, rows, buf->view.cols);
}

/* Queries, keys and values of every row of `input`, normed but not rotated: views into the scratch, rows x H hd and
 * twice rows x KV hd. */
typedef struct qd_heads {
    qd_matf q, k, v;
} qd_heads;
qd_heads qd_block_heads(const qd_block *block, qd_operand input, qd_scratch *scratch);
/* Attention of a fork's rows: heads are rotated in place. */
void qd_block_attend_fork(const qd_block *block, const qd_attention *attention, const qd_heads *heads,
                          qd_scratch *scratch, qd_matf out);
/* What the queries of a step see, each of its own sequence: rotates queries and keys to the step's position and keeps keys
 * and values. out: B x H hd. */
void qd_step_attend(const qd_step *step, const qd_attention *attention, const qd_heads *heads, qd_matf out);
/* Tables of this block's rotation for a sequence of `length`; NULL where its layer rotates nothing. */
const qd_rope_table *qd_block_rope(const qd_block *block, size_t length, qd_scratch *scratch);
/* What is added to the residual, by linear O or DOWN, with the norms and the factor that the family has around it. */
void qd_block_add_branch(const qd_block *block, qd_slot slot, qd_operand input, qd_scratch *scratch, qd_matf residual);
/* The MLP's input, of the residual behind the attention or before it. */
void qd_block_mlp_input(const qd_block *block, qd_cmatf residual, qd_matf out);
/* Between the MLP's first linears and its last: T x F. */
void qd_block_run_mlp(const qd_block *block, qd_operand input, qd_scratch *scratch, qd_matf out);
/* Of a block with experts: their router, once the linears are loaded. */
qd_code qd_block_load_mixture(const qd_model *model, size_t block, qd_block *b, qd_error *err);
/* Where experts stand in place of an MLP: what they make of its input (T x D), added to the residual. */
void qd_block_add_experts(const qd_block *block, qd_cmatf input, qd_scratch *scratch, qd_matf residual);
/* out = norm(x), or a copy where the block has none there. */
void qd_block_norm(const qd_block *block, qd_norm_place place, qd_cmatf x, qd_matf out);

/* Widens a tensor; only where a value is not finite is it read again, to name the element. */
qd_code qd_load_finite(const qd_tensor *tensor, float *out, qd_error *err);
/* A 1 x n row from a tensor. */
qd_code qd_load_row(const qd_tensor *tensor, qd_matf_buf *out, qd_error *err);
/* weight: W x n, filled; the 1 of one-plus norms is added, and a bias loaded where there is one. */
qd_code qd_norm_finish(const qd_decoder *decoder, const qd_tensor *bias, qd_norm *norm, qd_error *err);

#endif
