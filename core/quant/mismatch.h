/* mismatch.h: second moments of a layer's input in two streams: X of the float model, X~ with everything before it quantized.
 * Room: core/quant. May use: base, linalg.
 * Threads: one thread adds; a finished one is read-only. Same bytes for any number of threads.
 * Source: algorithms.md §1, §3 (H, G), §13.2 (split-sample shrinkage). Kept as differences, D = X - X~, so that equal streams give exact
 * zeros: G = X^T X~ / m = H + K with K = D^T X~ / m, and X^T X / m = H + K + K^T + M with M = D^T D / m.
 * Where the layer's output is added to a residual stream that already differs, by E = R - R~ just before the addition, the error to repair is
 * E + D W^T (algorithms.md §13.7): also A = E^T X~ / m, B = E^T D / m, c = mean of E squared. Memory: two times O x I float64 for the parts'
 * A, one each for A and B. */
#ifndef QD_QUANT_MISMATCH_H
#define QD_QUANT_MISMATCH_H

#include "quant/factor.h"
#include "quant/gram.h"

/* Where the float stream starts: at the model's first block, or at every block's input as the quantized stream left it. */
typedef enum qd_scope { QD_SCOPE_MODEL, QD_SCOPE_BLOCK } qd_scope;
const char *qd_scope_name(size_t index); /* "model", "block"; NULL past the end */
int qd_scope_find(const char *name);

/* What Qronos gives the quantizer first: the least-squares target, or the best first weight beside the unchanged others. */
typedef enum qd_start { QD_START_PROJECTED, QD_START_ORIGINAL } qd_start;
const char *qd_start_name(size_t index); /* "projected", "original" */
int qd_start_find(const char *name);

/* How much of the mismatch is corrected: X is replaced by X~ + share (X - X~). */
typedef enum qd_shrink { QD_SHRINK_AUTO, QD_SHRINK_FIXED } qd_shrink;

/* The part of a job that says what to do about the mismatch. */
typedef struct qd_mismatch_use {
    qd_shrink shrink;
    double share; /* QD_SHRINK_FIXED: 0 = none (as if X were X~), 1 = all */
    qd_start start;
} qd_mismatch_use;

/* Sequences are dealt to two parts for the split-sample rule: the target is fitted on one and judged on the other. */
typedef enum qd_part { QD_PART_FIT, QD_PART_JUDGE, QD_PART_COUNT } qd_part;
/* Every fifth sequence judges, as in holdout.h; of fewer than five the last. */
qd_part qd_part_of(size_t sequence, size_t sequences);

typedef struct qd_moments {
    qd_gram hessian, cross, own; /* X~^T X~, D^T X~, D^T D */
    qd_gram residual;            /* E^T X~, O x I; empty without a residual */
} qd_moments;

/* What the residual stream brings along. Means over all tokens, original column order. */
typedef struct qd_residual {
    size_t outputs;     /* O; 0 = the layer writes to none, or that is left alone */
    qd_matd_buf input;  /* A, O x I */
    qd_gram difference; /* B, O x I */
    double *square;     /* c, O */
} qd_residual;

typedef struct qd_mismatch {
    qd_matd_buf hessian, cross, own; /* H, K, M: means over all tokens, I x I in original column order */
    size_t tokens;
    qd_moments part[QD_PART_COUNT];
    qd_factor *fit; /* of H of QD_PART_FIT; NULL = no split */
    qd_residual residual;
} qd_mismatch;
/* outputs: O of the layer that writes to the residual stream, or 0. */
qd_code qd_mismatch_init(qd_mismatch *mismatch, size_t features, size_t outputs, qd_error *err);
/* The same with every matrix on disk, in a folder (NULL = in memory): what adds and finishes leaves nothing of them resident. */
qd_code qd_mismatch_init_in(qd_mismatch *mismatch, size_t features, size_t outputs, const char *folder, qd_error *err);
/* Between uses. */
void qd_mismatch_release(const qd_mismatch *mismatch);
void qd_mismatch_fini(qd_mismatch *mismatch);
/* Of all its products: float32 unless the caller says so here, after init. */
void qd_mismatch_compute_in(qd_mismatch *mismatch, qd_arithmetic arithmetic);

/* Rows of the same tokens: D and X~ (T x I), E (T x O; not read without a residual). In bf16 D and X~ may be without data, for `read` to give
 * (qd_gram_inputs): rows[QD_PAIRS_X] and rows[QD_PAIRS_DIFFERENCE]. */
typedef struct qd_pairs {
    qd_cmatf difference, x, residual;
    qd_code (*read)(void *ctx, size_t first, qd_gram_rows *rows, qd_error *err);
    void *ctx;
    qd_gram_room *room; /* as in qd_gram_inputs */
} qd_pairs;
enum { QD_PAIRS_X, QD_PAIRS_DIFFERENCE, QD_PAIRS_RESIDUAL };
/* Of sequences of one part. */
qd_code qd_mismatch_add(qd_mismatch *mismatch, qd_part part, const qd_pairs *pairs, qd_pool *pool, qd_error *err);
/* Means; once, when everything was added. QD_ENUMERIC when an entry is not finite. */
qd_code qd_mismatch_finish(qd_mismatch *mismatch, qd_error *err);
/* After finish: makes `fit`, for QD_SHRINK_AUTO. QD_EINVAL when a part has no tokens. */
qd_code qd_mismatch_split(qd_mismatch *mismatch, const qd_order *order, const qd_regularizer *regularizer, double value,
                          qd_pool *pool, qd_error *err);

#endif
