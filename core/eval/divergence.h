/* divergence.h: how far the predictions of other models are from a source's: KL(source || other) a token.
 * Room: core/eval. May use: base, linalg, text, model.
 * Threads: called from one thread; work is spread over the pool, same numbers for any number of threads.
 *
 * For each token that is scored (text/evaluation_windows.h), the prediction of it from all before it in its window:
 *   KL = sum over words v of p_v (log p_v - log q_v) >= 0 nats, p the source's soft-max, q the other's,
 * in float64 from float32 logits. */
#ifndef QD_EVAL_DIVERGENCE_H
#define QD_EVAL_DIVERGENCE_H

#include "eval/perplexity.h"

enum { QD_RIVALS_MAX = 8 };

/* One model that is measured. */
typedef struct qd_rival {
    const qd_model *model;
    const qd_overlay *overlay; /* NULL = the stored weights */
} qd_rival;

/* Standard errors are over windows, as in perplexity.h. */
typedef struct qd_divergence {
    qd_perplexity perplexity; /* of the rival */
    double mean;              /* KL a token, over all predictions */
    double standard_error;    /* of the mean */
    double median;            /* the smallest KL that half of all tokens do not exceed */
    double percentile_99;     /* the same for 99 of 100 */
    double max;
    double same_top; /* share of tokens whose likeliest word is the source's */
    double same_top_error;
} qd_divergence;

/* One walk of the source and all rivals together (at most QD_RIVALS_MAX; none = perplexity alone): a block of weights of one model, hidden
 * states of a batch of each, and two slices of rows of logits a thread. out: one a rival. out_nll: what each window loses of the source, then of
 * each rival: (count + 1) x windows; NULL = not wanted. QD_ESHAPE: another vocabulary. */
qd_code qd_divergence_measure(const qd_rival *source, const qd_rival *rivals, size_t count, const qd_windows *windows,
                              qd_pool *pool, const qd_progress *progress, const qd_cancel *cancel, double *out_nll,
                              qd_perplexity *out_source, qd_divergence *out, qd_error *err);

#endif
