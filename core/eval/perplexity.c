/* perplexity.c: see perplexity.h. */
#include "eval/perplexity.h"

#include <math.h>

#include "base/mem.h"
#include "eval/walk.h"

/* What is made of a sequence after the last block. */
typedef struct ends {
    const qd_walk *walk;
    double *nll; /* per window, sum over its predictions */
    qd_matf logits;
} ends;

static qd_code nll_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const ends *e = ctx;
    const qd_walk *w = e->walk;
    (void)worker;
    qd_matf hidden = qd_stream_sequence(&w->streams[0], index, w->length);
    qd_code code = qd_cancel_check(w->cancel, err);
    if (code == QD_OK)
        code = qd_model_final_norm(w->streams[0].model, hidden, err);
    if (code != QD_OK)
        return code;
    qd_cmatf context = qd_cmatf_block(qd_matf_const(hidden), 0, 0, w->length - 1, hidden.cols);
    return qd_model_nll(w->streams[0].model, context, w->ids + index * w->length + 1, NULL, &e->nll[index], err);
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

qd_code qd_perplexity_summarize(const double *nll, size_t windows, size_t predictions, qd_perplexity *out,
                                qd_error *err)
{
    double sum = 0, square = 0;
    for (size_t i = 0; i < windows; i++)
        if (!isfinite(nll[i]))
            return qd_fail(err, QD_ENUMERIC, "perplexity: the loss of window %zu of %zu is not finite", i, windows);
    for (size_t i = 0; i < windows; i++)
        sum += nll[i] / (double)predictions;
    double mean = sum / (double)windows;
    for (size_t i = 0; i < windows; i++)
        square += (nll[i] / (double)predictions - mean) * (nll[i] / (double)predictions - mean);
    *out = (qd_perplexity){
        .perplexity = exp(mean),
        .mean_nll = mean,
        .standard_error = windows > 1 ? sqrt(square / (double)(windows - 1) / (double)windows) : 0,
        .windows = windows,
        .predictions = windows * predictions,
    };
    return QD_OK;
}

qd_code qd_perplexity_measure(const qd_model *model, const qd_overlay *overlay, const qd_windows *windows,
                              qd_pool *pool, const qd_progress *progress, const qd_cancel *cancel, qd_perplexity *out,
                              qd_error *err)
{
    size_t length = windows->length;
    QD_AUTO(qd_stream_fini) qd_stream stream = { 0 };
    QD_AUTO(qd_free_pointer) double *nll = NULL;
    qd_code code = qd_walk_check(model, windows->count, length, 2, err);
    if (code != QD_OK)
        return code;
    size_t at_once = qd_min_size(qd_walk_sequences(model, length, 1), windows->count);
    code = qd_stream_init(model, overlay, at_once, length, qd_pool_threads(pool), &stream, err);
    if (code == QD_OK)
        code = qd_alloc(windows->count, sizeof *nll, (void **)&nll, err);
    for (size_t first = 0; code == QD_OK && first < windows->count; first += at_once) {
        const qd_walk walk = { .streams = &stream,
                               .stream_count = 1,
                               .ids = windows->ids + first * length,
                               .count = qd_min_size(at_once, windows->count - first),
                               .length = length,
                               .pool = pool,
                               .cancel = cancel };
        ends e = { .walk = &walk, .nll = nll + first };
        code = qd_walk_run(&walk, err);
        if (code == QD_OK)
            code = qd_pool_for(pool, walk.count, nll_task, &e, err);
        if (code == QD_OK)
            qd_progress_step(progress, first + walk.count, windows->count, "windows");
    }
    return code == QD_OK ? qd_perplexity_summarize(nll, windows->count, length - 1, out, err) : code;
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
