/* choice.h: how likely models find given continuations of given texts: what multiple choice is decided by.
 * Room: core/eval. May use: base, linalg, text, model.
 * Threads: called from one thread; work is spread over the pool, same numbers for any number of threads. */
#ifndef QD_EVAL_CHOICE_H
#define QD_EVAL_CHOICE_H

#include "eval/divergence.h"

/* `count` ids, the last `asked` of them being the continuation: 1 <= asked < count. */
typedef struct qd_continuation {
    const uint32_t *ids;
    size_t count, asked;
} qd_continuation;

typedef struct qd_likelihood {
    double log_p; /* nats: sum over the continuation's ids of log p(id | all before it), float64 over float32 logits */
    bool greedy;  /* each of them is the likeliest word (the first of equals) where it stands */
} qd_likelihood;

/* All models side by side (1 to QD_RIVALS_MAX), block by block over batches of continuations: one block of weights of one model in memory,
 * hidden states of a batch of each. What continuations have in common at their beginning is computed once: the choices of a question are branches of
 * its text (qd_fork), and choices of one word cost one walk together. Progress is in "requests".
 * out: models x count, model by model. QD_ESHAPE: another vocabulary or depth; QD_EINVAL: more ids than the model has positions. */
qd_code qd_choice_measure(const qd_rival *models, size_t model_count, const qd_continuation *asked, size_t count,
                          qd_pool *pool, const qd_progress *progress, const qd_cancel *cancel, qd_likelihood *out,
                          qd_error *err);

#endif
