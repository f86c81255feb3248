/* perplexity.c: see perplexity.h. */
#include "eval/perplexity.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

enum { BATCH_BYTES = 64 << 20 }; /* hidden states of a batch of windows; fixed, so that nothing depends on threads */

/* One batch of equally long sequences walking through the blocks together. */
typedef struct batch {
    const qd_model *model;
    const qd_cancel *cancel;
    const uint32_t *ids; /* count x length */
    size_t length;
    qd_matf hidden;       /* count * length x D */
    qd_scratch **scratch; /* one a thread */
    const qd_block *block;
    double *nll; /* per window, sum over its predictions; NULL for logits */
    qd_matf logits;
} batch;

static qd_matf sequence_of(const batch *b, size_t index)
{
    return qd_matf_block(b->hidden, index * b->length, 0, b->length, b->hidden.cols);
}

static qd_code embed_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const batch *b = ctx;
    (void)worker;
    return qd_model_embed(b->model, b->ids + index * b->length, sequence_of(b, index), err);
}

static qd_code block_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const batch *b = ctx;
    qd_code code = qd_cancel_check(b->cancel, err);
    return code == QD_OK ? qd_block_forward(b->block, sequence_of(b, index), b->scratch[worker], err) : code;
}

static qd_code nll_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const batch *b = ctx;
    (void)worker;
    qd_matf hidden = sequence_of(b, index);
    qd_code code = qd_cancel_check(b->cancel, err);
    if (code == QD_OK)
        code = qd_model_final_norm(b->model, hidden, err);
    if (code != QD_OK)
        return code;
    qd_cmatf context = qd_cmatf_block(qd_matf_const(hidden), 0, 0, b->length - 1, hidden.cols);
    return qd_model_nll(b->model, context, b->ids + index * b->length + 1, NULL, &b->nll[index], err);
}

static qd_code logits_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const batch *b = ctx;
    (void)worker;
    qd_matf hidden = sequence_of(b, index);
    qd_code code = qd_model_final_norm(b->model, hidden, err);
    qd_matf out = qd_matf_block(b->logits, index * b->length, 0, b->length, b->logits.cols);
    return code == QD_OK ? qd_model_logits(b->model, qd_matf_const(hidden), out, err) : code;
}

static qd_code run_batch(batch *b, size_t count, const qd_overlay *overlay, qd_pool *pool, qd_task last, qd_error *err)
{
    qd_code code = qd_pool_for(pool, count, embed_task, b, err);
    size_t blocks = qd_model_borrow_config(b->model)->blocks;
    for (size_t i = 0; code == QD_OK && i < blocks; i++) {
        qd_block *block = NULL;
        code = qd_block_load(b->model, i, overlay, &block, err);
        b->block = block;
        if (code == QD_OK)
            code = qd_pool_for(pool, count, block_task, b, err);
        qd_block_destroy(block);
    }
    return code == QD_OK ? qd_pool_for(pool, count, last, b, err) : code;
}

static void destroy_scratches(qd_scratch **scratch, size_t threads)
{
    for (size_t i = 0; scratch != NULL && i < threads; i++)
        qd_scratch_destroy(scratch[i]);
    free(scratch);
}

static qd_code create_scratches(const qd_model *model, size_t length, size_t threads, qd_scratch ***out, qd_error *err)
{
    qd_scratch **scratch = NULL;
    qd_code code = qd_alloc(threads, sizeof *scratch, (void **)&scratch, err);
    for (size_t i = 0; code == QD_OK && i < threads; i++)
        code = qd_scratch_create(model, length, &scratch[i], err);
    if (code != QD_OK) {
        destroy_scratches(scratch, threads);
        return code;
    }
    *out = scratch;
    return QD_OK;
}

static size_t batch_windows(const qd_model *model, size_t length)
{
    size_t bytes = length * qd_model_borrow_config(model)->hidden * sizeof(float);
    return qd_max_size(1, BATCH_BYTES / qd_max_size(1, bytes));
}

static qd_code summarize(const double *nll, size_t windows, size_t predictions, qd_perplexity *out, qd_error *err)
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

static qd_code check_windows(const qd_model *model, size_t count, size_t length, size_t least, qd_error *err)
{
    size_t most = qd_model_borrow_config(model)->max_positions;
    if (count == 0 || length < least)
        return qd_fail(err, QD_EINVAL, "%zu windows of %zu tokens: at least 1 of %zu is wanted", count, length, least);
    if (most > 0 && length > most)
        return qd_fail(err, QD_EINVAL, "length %zu is beyond the model's max_position_embeddings of %zu", length, most);
    return QD_OK;
}

qd_code qd_perplexity_measure(const qd_model *model, const qd_overlay *overlay, const qd_windows *windows,
                              qd_pool *pool, const qd_progress *progress, const qd_cancel *cancel, qd_perplexity *out,
                              qd_error *err)
{
    size_t length = windows->length, threads = qd_pool_threads(pool);
    qd_code code = check_windows(model, windows->count, length, 2, err);
    if (code != QD_OK)
        return code;
    size_t at_once = qd_min_size(batch_windows(model, length), windows->count);
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf hidden = { 0 };
    QD_AUTO(qd_free_pointer) double *nll = NULL;
    qd_scratch **scratch = NULL;
    code = qd_matf_buf_init(&hidden, at_once * length, qd_model_borrow_config(model)->hidden, err);
    if (code == QD_OK)
        code = qd_alloc(windows->count, sizeof *nll, (void **)&nll, err);
    if (code == QD_OK)
        code = create_scratches(model, length, threads, &scratch, err);
    for (size_t first = 0; code == QD_OK && first < windows->count; first += at_once) {
        size_t count = qd_min_size(at_once, windows->count - first);
        batch b = { .model = model,
                    .cancel = cancel,
                    .ids = windows->ids + first * length,
                    .length = length,
                    .hidden = hidden.view,
                    .scratch = scratch,
                    .nll = nll + first };
        code = run_batch(&b, count, overlay, pool, nll_task, err);
        if (code == QD_OK)
            qd_progress_step(progress, first + count, windows->count, "windows");
    }
    destroy_scratches(scratch, threads);
    return code == QD_OK ? summarize(nll, windows->count, length - 1, out, err) : code;
}

qd_code qd_logits_compute(const qd_model *model, const qd_overlay *overlay, const uint32_t *ids, size_t sequences,
                          size_t length, qd_pool *pool, qd_matf out, qd_error *err)
{
    size_t threads = qd_pool_threads(pool);
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf hidden = { 0 };
    qd_scratch **scratch = NULL;
    qd_code code = check_windows(model, sequences, length, 1, err);
    if (code == QD_OK)
        code = qd_matf_buf_init(&hidden, sequences * length, qd_model_borrow_config(model)->hidden, err);
    if (code == QD_OK)
        code = create_scratches(model, length, threads, &scratch, err);
    if (code == QD_OK) {
        batch b = {
            .model = model, .ids = ids, .length = length, .hidden = hidden.view, .scratch = scratch, .logits = out
        };
        code = run_batch(&b, sequences, overlay, pool, logits_task, err);
    }
    destroy_scratches(scratch, threads);
    return code;
}
