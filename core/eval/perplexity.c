/* perplexity.c: see perplexity.h. */
#include "eval/perplexity.h"

#include <math.h>

#include "base/mem.h"
#include "eval/walk.h"

/* What is made of a sequence after the last block. */
typedef struct ends {
    const qd_walk *walk;
    const qd_windows *windows; /* those of the walk are the ones from `first` */
    size_t first;
    double *nll; /* of all windows, sum over its predictions */
    qd_matf logits;
} ends;

static qd_code nll_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const ends *e = ctx;
    const qd_walk *w = e->walk;
    size_t window = e->first + index, from = qd_windows_from(e->windows, window);
    (void)worker;
    qd_matf all = qd_stream_sequence(&w->streams[0], index, w->length);
    qd_matf scored = qd_matf_block(all, from - 1, 0, w->length - from, all.cols);
    qd_code code = qd_cancel_check(w->cancel, err);
    if (code == QD_OK)
        code = qd_model_final_norm(w->streams[0].model, scored, err);
    if (code != QD_OK)
        return code;
    return qd_model_nll(w->streams[0].model, qd_matf_const(scored), w->ids + index * w->length + from, NULL,
                        &e->nll[window], err);
}

static qd_code logits_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const ends *e = ctx;
    const qd_walk *w = e->walk;
    (void)worker;
    qd_matf hidden = qd_stream_sequence(&w->streams[0], index, w->length);
    qd_code code = qd_model_final_norm(w->streams[0].model, hidden, err);
    qd_matf out = qd_matf_block(e->logits, index * w->length, 0, w->length, e->logits.cols);
    return code == QD_OK ? qd_model_logits(w->streams[0].model, qd_matf_const(hidden), out, err) : code;
}

/* Of sums, or of what they are more than `others`. */
static qd_window_mean mean_of(const double *sums, const double *others, const qd_windows *windows)
{
    size_t count = windows->count;
    double sum = 0, square = 0, all = (double)qd_windows_before(windows, count);
    for (size_t i = 0; i < count; i++)
        sum += others == NULL ? sums[i] : sums[i] - others[i];
    qd_window_mean out = { .mean = sum / all };
    for (size_t i = 0; i < count; i++) {
        double expected = out.mean * (double)qd_windows_predictions(windows, i);
        double off = (others == NULL ? sums[i] : sums[i] - others[i]) - expected;
        square += off * off;
    }
    out.standard_error = count > 1 ? sqrt(square * (double)count / (double)(count - 1)) / all : 0;
    return out;
}

qd_window_mean qd_window_mean_of(const double *sums, const qd_windows *windows)
{
    return mean_of(sums, NULL, windows);
}

qd_window_mean qd_perplexity_gap(const double *nll, const double *other, const qd_windows *windows)
{
    return mean_of(nll, other, windows);
}

qd_code qd_perplexity_summarize(const double *nll, const qd_windows *windows, qd_perplexity *out, qd_error *err)
{
    for (size_t i = 0; i < windows->count; i++)
        if (!isfinite(nll[i]))
            return qd_fail(err, QD_ENUMERIC, "perplexity: the loss of window %zu of %zu is not finite", i,
                           windows->count);
    const qd_window_mean loss = qd_window_mean_of(nll, windows);
    *out = (qd_perplexity){
        .perplexity = exp(loss.mean),
        .mean_nll = loss.mean,
        .standard_error = loss.standard_error,
        .windows = windows->count,
        .predictions = qd_windows_before(windows, windows->count),
    };
    return QD_OK;
}

qd_code qd_perplexity_measure(const qd_model *model, const qd_overlay *overlay, const qd_windows *windows,
                              qd_pool *pool, const qd_progress *progress, const qd_cancel *cancel, double *out_nll,
                              qd_perplexity *out, qd_error *err)
{
    size_t length = windows->length;
    QD_AUTO(qd_stream_fini) qd_stream stream = { 0 };
    QD_AUTO(qd_free_pointer) double *own = NULL;
    qd_code code = qd_walk_check(model, windows->count, length, 2, err);
    if (code != QD_OK)
        return code;
    size_t at_once = qd_min_size(qd_walk_sequences(model, length, 1), windows->count);
    code = qd_stream_init(model, overlay, at_once, length, qd_pool_threads(pool), &stream, err);
    if (code == QD_OK && out_nll == NULL)
        code = qd_alloc(windows->count, sizeof *own, (void **)&own, err);
    double *nll = out_nll == NULL ? own : out_nll;
    for (size_t first = 0; code == QD_OK && first < windows->count; first += at_once) {
        const qd_walk walk = { .streams = &stream,
                               .stream_count = 1,
                               .ids = windows->ids + first * length,
                               .count = qd_min_size(at_once, windows->count - first),
                               .length = length,
                               .pool = pool,
                               .cancel = cancel,
                               .progress = progress,
                               .before = first,
                               .total = windows->count };
        ends e = { .walk = &walk, .windows = windows, .first = first, .nll = nll };
        code = qd_walk_run(&walk, err);
        if (code == QD_OK)
            code = qd_pool_for(pool, walk.count, nll_task, &e, err);
        if (code == QD_OK)
            qd_progress_step(progress, first + walk.count, windows->count, "windows");
    }
    return code == QD_OK ? qd_perplexity_summarize(nll, windows, out, err) : code;
}

qd_code qd_logits_compute(const qd_model *model, const qd_overlay *overlay, const uint32_t *ids, size_t sequences,
                          size_t length, qd_pool *pool, qd_matf out, qd_error *err)
{
    QD_AUTO(qd_stream_fini) qd_stream stream = { 0 };
    qd_code code = qd_walk_check(model, sequences, length, 1, err);
    if (code == QD_OK)
        code = qd_stream_init(model, overlay, sequences, length, qd_pool_threads(pool), &stream, err);
    if (code != QD_OK)
        return code;
    const qd_walk walk = {
        .streams = &stream, .stream_count = 1, .ids = ids, .count = sequences, .length = length, .pool = pool
    };
    ends e = { .walk = &walk, .logits = out };
    code = qd_walk_run(&walk, err);
    return code == QD_OK ? qd_pool_for(pool, sequences, logits_task, &e, err) : code;
}
