/* perplexity.h: perplexity of a model, stored or overlaid with quantized weights, on windows of tokens.
 * Room: core/eval. May use: base, linalg, text, model.
 * Threads: called from one thread; work is spread over the pool, same numbers for any number of threads. */
#ifndef QD_EVAL_PERPLEXITY_H
#define QD_EVAL_PERPLEXITY_H

#include "base/cancel.h"
#include "base/pool.h"
#include "base/progress.h"
#include "model/arch.h"
#include "text/evaluation_windows.h"

/* Standard errors are over windows: windows are what is drawn, and their losses independent of each other. With windows that have n_w predictions
 * and lose s_w on them the mean is m = sum s_w / sum n_w, and its error sqrt(W / (W - 1) sum (s_w - m n_w)^2) / sum n_w: the usual one where all
 * windows are alike. Windows that overlap share context, not predictions: what is scored is another part of the text in each, but neighbours are
 * more alike than windows side by side are, so that the error is a little too small. 0 for a single window. */
typedef struct qd_perplexity {
    double perplexity; /* exp of mean_nll */
    double mean_nll;   /* nats a prediction, over all of them; where windows are alike, also the mean of their means */
    double standard_error; /* of mean_nll */
    size_t windows, predictions;
} qd_perplexity;

/* Block by block over batches of windows: never more than one block of weights and a batch of hidden states in memory.
 * overlay NULL = the stored weights. out_nll: what each window loses, summed over its predictions; NULL = not wanted. */
qd_code qd_perplexity_measure(const qd_model *model, const qd_overlay *overlay, const qd_windows *windows,
                              qd_pool *pool, const qd_progress *progress, const qd_cancel *cancel, double *out_nll,
                              qd_perplexity *out, qd_error *err);

/* nll: of each window, summed over its predictions. QD_ENUMERIC names the first window whose loss is not finite. */
qd_code qd_perplexity_summarize(const double *nll, const qd_windows *windows, qd_perplexity *out, qd_error *err);

/* A mean over predictions with its standard error over windows, from sums of windows. */
typedef struct qd_window_mean {
    double mean, standard_error;
} qd_window_mean;
qd_window_mean qd_window_mean_of(const double *sums, const qd_windows *windows);
/* How much more one model loses than another, nats a prediction. Paired by window, so that what makes a text hard is in neither: the error
 * tells whether a difference is there, as those of the two perplexities do not. */
qd_window_mean qd_perplexity_gap(const double *nll, const double *other, const qd_windows *windows);

/* Logits of a batch of sequences: ids B x T, out (B * T) x V; for `quantd logits` and reference tests. */
qd_code qd_logits_compute(const qd_model *model, const qd_overlay *overlay, const uint32_t *ids, size_t batch,
                          size_t length, qd_pool *pool, qd_matf out, qd_error *err);

#endif
