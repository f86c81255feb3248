/* layers.h: the building blocks of a decoder: linear, norm, causal attention.
 * Room: core/model. May use: base, linalg.
 * Threads: pure functions on what they are given. */
#ifndef QD_MODEL_LAYERS_H
#define QD_MODEL_LAYERS_H

#include "linalg/mat.h"

/* A linear layer's float32 weights while its block is loaded. */
typedef struct qd_dense {
    qd_matf_buf weight; /* O x I */
    qd_matf_buf bias;   /* 1 x O; data NULL = none */
} qd_dense;
void qd_dense_fini(qd_dense *dense);

/* out = x W^T + b: T x O; QD_ADD adds to what is there. */
typedef enum qd_accumulate { QD_SET, QD_ADD } qd_accumulate;
void qd_dense_apply(const qd_dense *dense, qd_cmatf x, qd_accumulate mode, qd_matf out);

/* out = weight * x / sqrt(mean(x^2) + eps), row by row; statistics in double. out may be x. */
void qd_rms_norm(qd_cmatf x, const float *weight, float eps, qd_matf out);

/* Causal attention with grouped heads: q is T x H hd, k and v are T x KV hd; head h reads key/value head h KV / H;
 * scores are scaled by `scale`; position t sees s when 0 <= t - s (< window, when window > 0). scores: at least
 * QD_ATTENTION_ROWS x T of scratch. out: T x H hd. */
typedef struct qd_attention {
    size_t heads, kv_heads, head_dim, window;
    float scale;
} qd_attention;
enum { QD_ATTENTION_ROWS = 64 };
void qd_attention_apply(const qd_attention *attention, qd_cmatf q, qd_cmatf k, qd_cmatf v, qd_matf scores, qd_matf out);

#endif
