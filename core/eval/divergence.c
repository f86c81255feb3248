/* divergence.c: see divergence.h. */
#include "eval/divergence.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "eval/walk.h"

enum { SLICE_BYTES = 8 << 20, SLICE_MOST = 256, SLICE_LEAST = 8 }; /* rows of logits at a time */

/* One measurement: a source (stream 0), its rivals (the others), and a number for each token of each. */
typedef struct measurement {
    qd_stream streams[QD_RIVALS_MAX + 1];
    size_t stream_count;
    const qd_windows *windows;
    size_t slice;        /* rows of a task */
    qd_matf_buf *logits; /* two a thread: slice x V */
    size_t thread_count; /* of `logits` */
    double *nll, *kl;    /* streams x predictions of all windows; kl of the source is not used */
    unsigned char *same; /* as kl */
    size_t first;        /* window of the batch */
    const qd_cancel *cancel;
} measurement;

static void measurement_fini(measurement *m)
{
    for (size_t i = 0; i < m->stream_count; i++)
        qd_stream_fini(&m->streams[i]);
    for (size_t i = 0; m->logits != NULL && i < 2 * m->thread_count; i++)
        qd_matf_buf_fini(&m->logits[i]);
    free(m->logits);
    free(m->nll);
    free(m->kl);
    free(m->same);
}

static size_t all_predictions(const measurement *m)
{
    return qd_windows_before(m->windows, m->windows->count);
}

/* Where the numbers of a stream's window begin. */
static size_t offset_of(const measurement *m, size_t stream, size_t window)
{
    return stream * all_predictions(m) + qd_windows_before(m->windows, window);
}

/* log of the sum of exponentials, and the index of the largest (the first of equals). */
static double log_sum(const float *x, size_t count, size_t *out_top)
{
    size_t top = 0;
    double sum = 0;
    for (size_t v = 1; v < count; v++)
        if (x[v] > x[top])
            top = v;
    for (size_t v = 0; v < count; v++)
        sum += exp((double)x[v] - (double)x[top]);
    *out_top = top;
    return (double)x[top] + log(sum);
}

/* KL of two rows of logits with their log-sums: E_p[x - y] - (lx - ly). Exactly 0 for equal rows. */
static double divergence(const float *x, double lx, const float *y, double ly, size_t count)
{
    double mean = 0;
    for (size_t v = 0; v < count; v++)
        mean += exp((double)x[v] - lx) * ((double)x[v] - (double)y[v]);
    double kl = mean - (lx - ly);
    return kl < 0 ? 0 : kl; /* rounding of equal distributions; NaN stays */
}

/* ---- one task: a slice of rows of one window ---- */

/* Of the first window, which has at least as many predictions as any other. */
static size_t slices_of(const measurement *m)
{
    return (qd_windows_predictions(m->windows, 0) + m->slice - 1) / m->slice;
}

typedef struct rows {
    size_t window, first, count; /* in the batch; predictions [first, first + count) of it */
    size_t at;                   /* row of hidden states that the first of them is made from */
} rows;

static rows rows_of(const measurement *m, size_t task)
{
    size_t slices = slices_of(m), index = task / slices, first = task % slices * m->slice;
    size_t there = qd_windows_predictions(m->windows, m->first + index);
    return (rows){ .window = index,
                   .first = first,
                   .count = first < there ? qd_min_size(m->slice, there - first) : 0,
                   .at = qd_windows_from(m->windows, m->first + index) - 1 + first };
}

static qd_code logits_of(const measurement *m, size_t stream, const rows *r, qd_matf out, qd_error *err)
{
    const qd_stream *s = &m->streams[stream];
    qd_cmatf hidden = qd_matf_const(qd_stream_sequence(s, r->window, m->windows->length));
    return qd_model_logits(s->model, qd_cmatf_block(hidden, r->at, 0, r->count, hidden.cols), out, err);
}

/* Fills nll (and top, if wanted) of the rows; `sums` gets log-sums. */
static void take_rows(const measurement *m, size_t stream, const rows *r, qd_cmatf logits, double *sums, size_t *tops)
{
    size_t window = m->first + r->window, at = offset_of(m, stream, window) + r->first;
    const uint32_t *targets = m->windows->ids + window * m->windows->length + r->at + 1;
    for (size_t t = 0; t < r->count; t++) {
        const float *row = qd_cmatf_row(logits, t);
        sums[t] = log_sum(row, logits.cols, &tops[t]);
        m->nll[at + t] = sums[t] - (double)row[targets[t]];
    }
}

static qd_code compare_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const measurement *m = ctx;
    const rows r = rows_of(m, index);
    double x_sums[SLICE_MOST], y_sums[SLICE_MOST];
    size_t x_tops[SLICE_MOST], y_tops[SLICE_MOST];
    qd_matf x = m->logits[2 * worker].view, y = m->logits[2 * worker + 1].view;
    x.rows = y.rows = r.count;
    qd_code code = qd_cancel_check(m->cancel, err);
    if (code != QD_OK || r.count == 0)
        return code;
    code = logits_of(m, 0, &r, x, err);
    if (code == QD_OK)
        take_rows(m, 0, &r, qd_matf_const(x), x_sums, x_tops);
    for (size_t s = 1; code == QD_OK && s < m->stream_count; s++) {
        size_t at = offset_of(m, s, m->first + r.window) + r.first;
        code = logits_of(m, s, &r, y, err);
        if (code != QD_OK)
            return code;
        take_rows(m, s, &r, qd_matf_const(y), y_sums, y_tops);
        for (size_t t = 0; t < r.count; t++) {
            m->kl[at + t] = divergence(qd_matf_row(x, t), x_sums[t], qd_matf_row(y, t), y_sums[t], x.cols);
            m->same[at + t] = x_tops[t] == y_tops[t];
        }
    }
    return code;
}

static qd_code norm_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const measurement *m = ctx;
    const qd_stream *s = &m->streams[index % m->stream_count];
    (void)worker;
    return qd_model_final_norm(s->model, qd_stream_sequence(s, index / m->stream_count, m->windows->length), err);
}

/* ---- all of it ---- */

static qd_code check_rivals(const qd_rival *source, const qd_rival *rivals, size_t count, const qd_windows *windows,
                            qd_error *err)
{
    const qd_model_config *config = qd_model_borrow_config(source->model);
    qd_code code = qd_walk_check(source->model, windows->count, windows->length, 2, err);
    for (size_t i = 0; code == QD_OK && i < count; i++) {
        const qd_model_config *other = qd_model_borrow_config(rivals[i].model);
        if (other->vocabulary != config->vocabulary || other->blocks != config->blocks)
            code = qd_fail(err, QD_ESHAPE, "%zu words and %zu blocks beside the source's %zu and %zu",
                           other->vocabulary, other->blocks, config->vocabulary, config->blocks);
    }
    for (size_t i = 0; code == QD_OK && i < windows->count * windows->length; i++)
        if (windows->ids[i] >= config->vocabulary)
            code = qd_fail(err, QD_EINVAL, "token id %u is not below the vocabulary of %zu", windows->ids[i],
                           config->vocabulary);
    return code;
}

static qd_code prepare(measurement *m, const qd_rival *source, const qd_rival *rivals, size_t count, size_t at_once,
                       size_t threads, qd_error *err)
{
    size_t vocabulary = qd_model_borrow_config(source->model)->vocabulary;
    size_t numbers = (count + 1) * all_predictions(m);
    m->slice = qd_max_size(SLICE_LEAST, qd_min_size(SLICE_MOST, SLICE_BYTES / (vocabulary * sizeof(float))));
    qd_code code = qd_alloc(2 * threads, sizeof *m->logits, (void **)&m->logits, err);
    m->thread_count = threads;
    for (size_t i = 0; code == QD_OK && i < 2 * threads; i++)
        code = qd_matf_buf_init(&m->logits[i], m->slice, vocabulary, err);
    if (code == QD_OK)
        code = qd_alloc(numbers, sizeof *m->nll, (void **)&m->nll, err);
    if (code == QD_OK)
        code = qd_alloc(numbers, sizeof *m->kl, (void **)&m->kl, err);
    if (code == QD_OK)
        code = qd_alloc(numbers, 1, (void **)&m->same, err);
    for (; code == QD_OK && m->stream_count <= count; m->stream_count++) {
        const qd_rival *who = m->stream_count == 0 ? source : &rivals[m->stream_count - 1];
        code = qd_stream_init(who->model, who->overlay, at_once, m->windows->length, threads,
                              &m->streams[m->stream_count], err);
    }
    return code;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Losses of one stream, window by window, into nll. */
static qd_code summarize_nll(const measurement *m, size_t stream, double *nll, qd_perplexity *out, qd_error *err)
{
    const qd_windows *windows = m->windows;
    for (size_t w = 0; w < windows->count; w++) {
        const double *tokens = m->nll + offset_of(m, stream, w);
        nll[w] = 0;
        for (size_t t = 0; t < qd_windows_predictions(windows, w); t++)
            nll[w] += tokens[t];
    }
    return qd_perplexity_summarize(nll, windows, out, err);
}

/* The smallest of ascending values that `share` of them do not exceed. */
static double percentile(const double *sorted, size_t count, double share)
{
    return sorted[(size_t)ceil(share * (double)count) - 1];
}

/* Sorts the stream's KL. sums: room for a number a window. */
static void summarize_kl(const measurement *m, size_t stream, double *sums, qd_divergence *out)
{
    const qd_windows *windows = m->windows;
    size_t tokens = all_predictions(m), first = offset_of(m, stream, 0);
    for (size_t w = 0; w < windows->count; w++) {
        sums[w] = 0;
        for (size_t t = 0; t < qd_windows_predictions(windows, w); t++)
            sums[w] += m->kl[offset_of(m, stream, w) + t];
    }
    const qd_window_mean kl = qd_window_mean_of(sums, windows);
    for (size_t w = 0; w < windows->count; w++) {
        sums[w] = 0;
        for (size_t t = 0; t < qd_windows_predictions(windows, w); t++)
            sums[w] += m->same[offset_of(m, stream, w) + t];
    }
    const qd_window_mean same = qd_window_mean_of(sums, windows);
    double *all = m->kl + first;
    qsort(all, tokens, sizeof *all, compare_doubles);
    out->mean = kl.mean;
    out->standard_error = kl.standard_error;
    out->median = percentile(all, tokens, 0.5);
    out->percentile_99 = percentile(all, tokens, 0.99);
    out->max = all[tokens - 1];
    out->same_top = same.mean;
    out->same_top_error = same.standard_error;
}

/* nll: of the source, then of the rivals. */
static qd_code summarize(const measurement *m, size_t rivals, double *nll, qd_perplexity *out_source,
                         qd_divergence *out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) double *sums = NULL;
    size_t windows = m->windows->count;
    qd_code code = qd_alloc(windows, sizeof *sums, (void **)&sums, err);
    if (code == QD_OK)
        code = summarize_nll(m, 0, nll, out_source, err);
    for (size_t i = 0; code == QD_OK && i < rivals; i++) {
        code = summarize_nll(m, i + 1, nll + (i + 1) * windows, &out[i].perplexity, err);
        if (code == QD_OK)
            summarize_kl(m, i + 1, sums, &out[i]);
    }
    return code;
}

static qd_code walk_batch(measurement *m, size_t count, qd_pool *pool, const qd_progress *progress, qd_error *err)
{
    const qd_walk walk = { .streams = m->streams,
                           .stream_count = m->stream_count,
                           .ids = m->windows->ids + m->first * m->windows->length,
                           .count = count,
                           .length = m->windows->length,
                           .pool = pool,
                           .cancel = m->cancel,
                           .progress = progress,
                           .before = m->first,
                           .total = m->windows->count };
    qd_code code = qd_walk_run(&walk, err);
    if (code == QD_OK)
        code = qd_pool_for(pool, count * m->stream_count, norm_task, m, err);
    return code == QD_OK ? qd_pool_for(pool, count * slices_of(m), compare_task, m, err) : code;
}

qd_code qd_divergence_measure(const qd_rival *source, const qd_rival *rivals, size_t count, const qd_windows *windows,
                              qd_pool *pool, const qd_progress *progress, const qd_cancel *cancel, double *out_nll,
                              qd_perplexity *out_source, qd_divergence *out, qd_error *err)
{
    QD_AUTO(measurement_fini) measurement m = { .windows = windows, .cancel = cancel };
    QD_AUTO(qd_free_pointer) double *own = NULL;
    assert(count <= QD_RIVALS_MAX);
    qd_code code = check_rivals(source, rivals, count, windows, err);
    if (code != QD_OK)
        return code;
    size_t at_once = qd_min_size(qd_walk_sequences(source->model, windows->length, count + 1), windows->count);
    code = prepare(&m, source, rivals, count, at_once, qd_pool_threads(pool), err);
    if (code == QD_OK && out_nll == NULL)
        code = qd_alloc((count + 1) * windows->count, sizeof *own, (void **)&own, err);
    for (m.first = 0; code == QD_OK && m.first < windows->count; m.first += at_once) {
        size_t batch = qd_min_size(at_once, windows->count - m.first);
        code = walk_batch(&m, batch, pool, progress, err);
        if (code == QD_OK)
            qd_progress_step(progress, m.first + batch, windows->count, "windows");
    }
    return code == QD_OK ? summarize(&m, count, out_nll == NULL ? own : out_nll, out_source, out, err) : code;
}
