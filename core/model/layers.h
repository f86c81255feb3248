/* layers.h: the building blocks of a decoder: linear, norms.
 * Room: core/model. May use: base, linalg.
 * Threads: pure functions on what they are given. */
#ifndef QD_MODEL_LAYERS_H
#define QD_MODEL_LAYERS_H

#include "linalg/product.h"

/* A linear layer's weights while its block is loaded: in one of two forms. */
typedef struct qd_dense {
    qd_matf_buf weight; /* O x I; data NULL = they are packed */
    qd_packed *packed;  /* inputs are rounded to bf16; NULL = float32 */
    qd_matf_buf bias;   /* 1 x O; data NULL = none */
} qd_dense;
void qd_dense_fini(qd_dense *dense);

/* out = x W^T + b: T x O; QD_ADD adds to what is there. Of bf16 only where the weights are packed. */
typedef enum qd_accumulate { QD_SET, QD_ADD } qd_accumulate;
void qd_dense_apply(const qd_dense *dense, qd_operand x, qd_accumulate mode, qd_matf out);
/* QD_SET for layers with one input, at most QD_DENSE_TOGETHER: in bf16 it is rounded once for all of them. */
enum { QD_DENSE_TOGETHER = 3 };
void qd_dense_apply_all(const qd_dense *const *dense, size_t count, qd_operand x, const qd_matf *out);

/* out = f(x G^T, x U^T), where both are packed and without a bias; false, and nothing is done, elsewhere. */
bool qd_dense_apply_gated(const qd_dense *gate, const qd_dense *up, qd_operand x, qd_gating *f, qd_matf out);

typedef enum qd_norm_kind {
    QD_NORM_RMS,          /* weight * x / sqrt(mean(x^2) + eps) */
    QD_NORM_RMS_ONE_PLUS, /* (1 + weight) * x / sqrt(mean(x^2) + eps) */
    QD_NORM_LAYER,        /* weight * (x - mean(x)) / sqrt(var(x) + eps) + bias */
} qd_norm_kind;

/* A row of x is cut into pieces as wide as the weight; piece p is normed by itself with row p % W of the weight. One
 * piece: the usual norm. */
typedef struct qd_norm {
    qd_norm_kind kind;
    float eps;
    qd_matf_buf weight; /* W x n, the 1 of one-plus added; data NULL = there is no norm */
    qd_matf_buf bias;   /* 1 x n; data NULL = none */
} qd_norm;
void qd_norm_fini(qd_norm *norm);
/* Statistics in double. out may be x. */
void qd_norm_apply(const qd_norm *norm, qd_cmatf x, qd_matf out);
/* x = c tanh(x / c) */
void qd_soft_cap(float cap, float *x, size_t count);

#endif
