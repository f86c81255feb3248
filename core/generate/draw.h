/* draw.h: one token of a model's prediction, drawn.
 * Room: core/generate. May use: base, linalg.
 * Threads: pure functions on what they are given. */
#ifndef QD_GENERATE_DRAW_H
#define QD_GENERATE_DRAW_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Which tokens may come, and how the others share: softmax(logits / temperature), of that the top_k likeliest (0 = all),
 * of these as many of the likeliest as together have top_p of the probability. Temperature 0: the likeliest. */
typedef struct qd_draw_rule {
    double temperature, top_p; /* >= 0; (0, 1] */
    size_t top_k;
} qd_draw_rule;

/* The token at which the distribution function passes u, in [0, 1): by id where all tokens may come, else from the
 * likeliest on (of equals, the lower id first). logits: V, left as weights. order: V of scratch. QD_ENUMERIC: a logit
 * that is no number. */
qd_code qd_draw(const qd_draw_rule *rule, float *logits, size_t words, double u, uint32_t *order, uint32_t *out,
                qd_error *err);

#endif
