/* attention.h: causal attention with grouped heads, in tiles: no matrix of scores exists.
 * Room: core/model. May use: base, linalg.
 * Threads: pure functions on what they are given. Instruction set chosen at run time.
 * Source: online soft-max: Milakov and Gimelshein 2018; tiles of queries and keys: Dao et al. 2022 (FlashAttention).
 *
 * The queries of all heads that share a key/value head are lanes of a tile: lane l of a tile that begins at pair f is pair f + l, and pair p
 * is head p % (H / KV) at position p / (H / KV). A tile goes through its keys block by block, and keeps for each lane the largest score so
 * far, the sum of weights and the weighted values relative to it. Keys that no lane sees are not read, and what a lane gives depends on
 * no other lane: parts of a sequence and the whole of it give the same bits for a position.
 *
 * In QD_ARITHMETIC_BFLOAT16 queries, keys, values and weights are rounded to bf16 (sums of weights are of the unrounded ones), all else is float32:
 * as models in bf16 are run. Where panels of products are as wide as vectors of lanes (AMX) both products of a tile are made of them; elsewhere the
 * rounded values are multiplied in float32: the same numbers but for the order of sums. */
#ifndef QD_MODEL_ATTENTION_H
#define QD_MODEL_ATTENTION_H

#include <stdbool.h>

#include "linalg/product_kernels.h"

/* q is T x H hd, k and v are T x KV hd; head h reads key/value head h KV / H (KV divides H); scores are scaled by `scale`, then soft-capped
 * when `cap` > 0; position t sees s when 0 <= t - s (< window, when window > 0). */
typedef struct qd_attention {
    size_t heads, kv_heads, head_dim, window;
    float scale, cap;
    qd_arithmetic arithmetic;
} qd_attention;

enum { QD_ATTENTION_LANES = 64, QD_ATTENTION_KEYS = 64 };
/* Rows of QD_ATTENTION_LANES floats of scratch, aligned to 64 bytes, for so many keys; in bf16 they hold a head's keys and values too. */
size_t qd_attention_room(size_t head_dim, size_t tokens);
/* For the last q.rows of k.rows positions; out: as q. */
void qd_attention_apply(const qd_attention *attention, qd_cmatf q, qd_cmatf k, qd_cmatf v, qd_matf room, qd_matf out);
/* The last position alone: q and out are 1 x H hd; scores: H / KV x T of scratch. Reading the keys is all of its time, and a product of few rows
 * reads them in the order in which they lie; a tile would not. In float32 only. */
void qd_attention_last(const qd_attention *attention, qd_cmatf q, qd_cmatf k, qd_cmatf v, qd_matf scores, qd_matf out);

/* ---- kernels ---- */
/* One key/value head: q, out: rows x (heads / kv_heads) hd; k and v: T x hd. */
typedef struct qd_attention_part {
    const qd_attention *attention;
    qd_cmatf q, k, v;
    qd_matf out;
    float *room;
    const qd_product_kernel *
        products; /* of bf16, with left_rows; QD_ATTENTION_LANES are whole panels, of QD_PANEL_STEP or less; NULL: none */
} qd_attention_part;
typedef struct qd_attention_kernel {
    const char *name;
    bool (*supported)(void); /* by this processor */
    void (*attend)(const qd_attention_part *part);
} qd_attention_kernel;
const qd_attention_kernel *qd_attention_kernel_at(size_t index); /* fastest first; NULL past the end */
/* The same with one of them, and with products by panels or without (NULL). */
void qd_attention_apply_with(const qd_attention_kernel *kernel, const qd_product_kernel *products,
                             const qd_attention *attention, qd_cmatf q, qd_cmatf k, qd_cmatf v, qd_matf room,
                             qd_matf out);

#endif
