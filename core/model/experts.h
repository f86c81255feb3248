/* experts.h: a mixture of experts: where its router sends a token, and what the experts make of it.
 * Room: core/model, private to it. May use: base, linalg.
 * Threads: a router and its experts are read by many threads, each with a room of its own.
 * Source: fixtures.md (mixtral, qwen3_moe); formats.md §2.
 *
 * p = softmax(router x) over all E experts, in float32; the k experts with the largest p are chosen, of equal ones those
 * with the lower numbers; their shares are p, or p over the sum of the chosen ones' p. The output is the sum of
 * share * down(f(gate x) * up x), in the order of the experts' numbers. */
#ifndef QD_MODEL_EXPERTS_H
#define QD_MODEL_EXPERTS_H

#include <stdint.h>

#include "model/arch_private.h"

/* Layers of each expert, one after the other: linears[QD_EXPERT_LAYERS * e + QD_EXPERT_GATE]. */
enum { QD_EXPERT_GATE, QD_EXPERT_UP, QD_EXPERT_DOWN, QD_EXPERT_LAYERS };

/* Owns nothing. */
typedef struct qd_mixture {
    const qd_dense *router;         /* E x D, no bias; never quantized */
    size_t used;                    /* k */
    qd_routing routing;             /* whether the shares of the chosen are brought to a sum of 1 */
    const qd_dense *const *linears; /* of all experts */
    const qd_activation *activation;
} qd_mixture;

/* One thread's working memory for up to T rows. Zero-initialize; fini is fine on a zeroed one. */
typedef struct qd_expert_room {
    qd_matf_buf probabilities; /* T x E */
    qd_matf_buf picked, sum;   /* T x D */
    qd_matf_buf gate, up;      /* T x F */
    uint32_t *experts;         /* T x k, ascending in each row */
    float *shares;             /* T x k, of these */
    uint32_t *rows, *order,
        *first; /* T x k: rows by expert; their places in `shares`; E + 1: where each expert's begin */
} qd_expert_room;
qd_code qd_expert_room_init(size_t tokens, size_t hidden, size_t features, size_t experts, size_t used,
                            qd_expert_room *out, qd_error *err);
void qd_expert_room_fini(qd_expert_room *room);

/* input: T x D. Fills out_experts (T x k, ascending) and out_shares (T x k). */
void qd_mixture_choose(const qd_mixture *mixture, qd_cmatf input, qd_matf probabilities, uint32_t *out_experts,
                       float *out_shares);
/* out = f(gate x) * up x: n x F; up: n x F of scratch. */
void qd_mixture_gate(const qd_mixture *mixture, size_t expert, qd_cmatf x, qd_matf up, qd_matf out);
/* Adds what the chosen experts make of each row of `input` (T x D) to `out` (T x D). */
void qd_mixture_add(const qd_mixture *mixture, qd_cmatf input, qd_expert_room *room, qd_matf out);

#endif
