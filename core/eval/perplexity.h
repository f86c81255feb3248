/* perplexity.h: perplexity of a model, stored or overlaid with quantized weights, on windows of tokens.
 * Room: core/eval. May use: base, linalg, text, model.
 * Threads: called from one thread; work is spread over the pool, same numbers for any number of threads. */
#ifndef QD_EVAL_PERPLEXITY_H
#define QD_EVAL_PERPLEXITY_H

#include "base/cancel.h"
#include "base/pool.h"
#include "base/progress.h"
#include "model/arch.h"
#include "text/corpus.h"

typedef struct qd_perplexity {
    double perplexity;     /* exp of mean_nll */
    double mean_nll;       /* nats a prediction: mean over windows of the mean over a window's length - 1 predictions */
    double standard_error; /* of mean_nll, over windows */
    size_t windows, predictions;
} qd_perplexity;

/* Block by block over batches of windows: never more than one block of weights and a batch of hidden states in memory.
 * overlay NULL = the stored weights. The BOS/first token of each window is context, not a prediction. */
qd_code qd_perplexity_measure(const qd_model *model, const qd_overlay *overlay, const qd_windows *windows,
                              qd_pool *pool, const qd_progress *progress, const qd_cancel *cancel, qd_perplexity *out,
                              qd_error *err);

/* nll: of each window, summed over its predictions. QD_ENUMERIC names the first window whose loss is not finite. */
qd_code qd_perplexity_summarize(const double *nll, size_t windows, size_t predictions, qd_perplexity *out,
                                qd_error *err);

/* Logits of a batch of sequences: ids B x T, out (B * T) x V; for `quantd logits` and reference tests. */
qd_code qd_logits_compute(const qd_model *model, const qd_overlay *overlay, const uint32_t *ids, size_t batch,
                          size_t length, qd_pool *pool, qd_matf out, qd_error *err);

#endif
