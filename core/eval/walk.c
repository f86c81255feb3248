/* walk.c: see walk.h. */
#include "eval/walk.h"

#include <stdlib.h>

#include "base/mem.h"

enum { BATCH_BYTES = 64 << 20 }; /* hidden states of a batch, all streams together */

void qd_stream_fini(qd_stream *s)
{
    for (size_t i = 0; s->scratch != NULL && i < s->threads; i++)
        qd_scratch_destroy(s->scratch[i]);
    free(s->scratch);
    qd_matf_buf_fini(&s->buffer);
    *s = (qd_stream){ 0 };
}

qd_code qd_stream_init(const qd_model *model, const qd_overlay *overlay, size_t sequences, size_t length,
                       size_t threads, qd_stream *out, qd_error *err)
{
    return qd_stream_init_rows(model, overlay, sequences * length, length, threads, out, err);
}

qd_code qd_stream_init_rows(const qd_model *model, const qd_overlay *overlay, size_t rows, size_t longest,
                            size_t threads, qd_stream *out, qd_error *err)
{
    qd_stream s = { .model = model, .overlay = overlay, .threads = threads };
    qd_code code = qd_matf_buf_init(&s.buffer, rows, qd_model_borrow_config(model)->hidden, err);
    if (code == QD_OK)
        code = qd_alloc(threads, sizeof *s.scratch, (void **)&s.scratch, err);
    for (size_t i = 0; code == QD_OK && i < threads; i++)
        code = qd_scratch_create(model, longest, &s.scratch[i], err);
    if (code != QD_OK) {
        qd_stream_fini(&s);
        return code;
    }
    s.hidden = s.buffer.view;
    *out = s;
    return QD_OK;
}

qd_matf qd_stream_sequence(const qd_stream *s, size_t index, size_t length)
{
    return qd_matf_block(s->hidden, index * length, 0, length, s->hidden.cols);
}

/* One stream's part of a walk. */
typedef struct part {
    const qd_walk *walk;
    const qd_stream *stream;
    const qd_block *block;
} part;

static qd_code embed_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const part *p = ctx;
    const qd_walk *w = p->walk;
    (void)worker;
    return qd_model_embed(p->stream->model, w->ids + index * w->length, qd_stream_sequence(p->stream, index, w->length),
                          err);
}

static qd_code block_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const part *p = ctx;
    const qd_walk *w = p->walk;
    qd_code code = qd_cancel_check(w->cancel, err);
    return code == QD_OK ? qd_block_forward(p->block, qd_stream_sequence(p->stream, index, w->length),
                                            p->stream->scratch[worker], err)
                         : code;
}

static qd_code run_block(const qd_walk *w, const qd_stream *stream, size_t index, qd_error *err)
{
    qd_block *block = NULL;
    qd_code code = qd_block_load(stream->model, index, stream->overlay, QD_ARITHMETIC_FLOAT32, &block, err);
    part p = { w, stream, block };
    if (code == QD_OK)
        code = qd_pool_for(w->pool, w->count, block_task, &p, err);
    qd_block_destroy(block);
    return code;
}

/* The head in blocks that take as long: its products, and the exponentials of a row, which cost as much as some hundred more columns. */
static size_t blocks_of_head(const qd_model *model)
{
    static const size_t exponential = 400;
    const qd_model_config *config = qd_model_borrow_config(model);
    size_t weights = 1;
    for (size_t i = 0; config->blocks > 0 && i < qd_model_block_size(model, 0); i++)
        weights += qd_model_linear_at(model, i)->out * qd_model_linear_at(model, i)->in;
    return 1 + config->vocabulary * (config->hidden + exponential) / weights;
}

/* Windows that are done in effect: the share of the way of all that are under way. */
static void report(const qd_walk *w, size_t blocks, size_t done)
{
    size_t way = blocks + blocks_of_head(w->streams[0].model);
    size_t last = w->count * (done - 1) / way, now = w->count * done / way;
    if (now > last)
        qd_progress_step(w->progress, w->before + now, w->total, "windows");
}

qd_code qd_walk_run(const qd_walk *w, qd_error *err)
{
    qd_code code = QD_OK;
    size_t blocks = qd_model_borrow_config(w->streams[0].model)->blocks;
    for (size_t s = 0; code == QD_OK && s < w->stream_count; s++) {
        part p = { w, &w->streams[s], NULL };
        code = qd_pool_for(w->pool, w->count, embed_task, &p, err);
    }
    for (size_t i = 0; code == QD_OK && i < blocks; i++) {
        for (size_t s = 0; code == QD_OK && s < w->stream_count; s++)
            code = run_block(w, &w->streams[s], i, err);
        if (code == QD_OK)
            report(w, blocks, i + 1);
    }
    return code;
}

qd_code qd_walk_check(const qd_model *model, size_t count, size_t length, size_t least, qd_error *err)
{
    size_t most = qd_model_borrow_config(model)->max_positions;
    if (count == 0 || length < least)
        return qd_fail(err, QD_EINVAL, "%zu windows of %zu tokens: at least 1 of %zu is wanted", count, length, least);
    if (most > 0 && length > most)
        return qd_fail(err, QD_EINVAL, "length %zu is beyond the model's max_position_embeddings of %zu", length, most);
    return QD_OK;
}

size_t qd_walk_sequences(const qd_model *model, size_t length, size_t streams)
{
    size_t bytes = streams * length * qd_model_borrow_config(model)->hidden * sizeof(float);
    return qd_max_size(1, BATCH_BYTES / qd_max_size(1, bytes));
}
