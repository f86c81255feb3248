/* walk.h: a batch of equally long sequences through one or several models, block by block: what perplexity, divergence and logits share.
 * Room: core/eval, private to it. May use: base, linalg, model.
 * Threads: called from one thread; sequences are tasks of the pool, cut alike for any number of threads. */
#ifndef QD_EVAL_WALK_H
#define QD_EVAL_WALK_H

#include "base/cancel.h"
#include "base/pool.h"
#include "base/progress.h"
#include "model/arch.h"

/* The hidden states of one model. */
typedef struct qd_stream {
    const qd_model *model;
    const qd_overlay *overlay; /* NULL = the stored weights */
    qd_matf_buf buffer;
    qd_matf hidden;       /* sequences * length x D */
    qd_scratch **scratch; /* one a thread */
    size_t threads;
} qd_stream;
qd_code qd_stream_init(const qd_model *model, const qd_overlay *overlay, size_t sequences, size_t length,
                       size_t threads, qd_stream *out, qd_error *err);
/* The same with room for `rows` tokens in all, of sequences of at most `longest`. */
qd_code qd_stream_init_rows(const qd_model *model, const qd_overlay *overlay, size_t rows, size_t longest,
                            size_t threads, qd_stream *out, qd_error *err);
void qd_stream_fini(qd_stream *stream); /* fine on a zeroed one */
/* T x D of one sequence. */
qd_matf qd_stream_sequence(const qd_stream *stream, size_t index, size_t length);

/* Sequences of a batch and the models they walk through side by side. */
typedef struct qd_walk {
    qd_stream *streams;
    size_t stream_count;
    const uint32_t *ids; /* count x length */
    size_t count, length;
    qd_pool *pool;
    const qd_cancel *cancel;
    /* Windows as far as the batch has come, block by block, behind `before` of `total`; the head is the caller's to report. NULL = silent. */
    const qd_progress *progress;
    size_t before, total;
} qd_walk;
/* All streams advance together, a block at a time: never more than one block of weights in memory. Hidden states end up before the final norm. */
qd_code qd_walk_run(const qd_walk *walk, qd_error *err);

/* QD_EINVAL: no sequence, fewer tokens than `least`, or more than the model has positions. */
qd_code qd_walk_check(const qd_model *model, size_t count, size_t length, size_t least, qd_error *err);
/* How many sequences go together: fixed by sizes alone, so that nothing depends on threads. */
size_t qd_walk_sequences(const qd_model *model, size_t length, size_t streams);

#endif
