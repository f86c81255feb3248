/* streams.h: the two activation streams of a calibration run, float and quantized, in a scratch file mapped into
 * memory.
 * Room: core/engine, private to it. May use: core.
 * Threads: one thread calls; sequences are spread over the pool, each owned by one task.
 * Source: design.md §4; arch.h (the walk through a block). */
#ifndef QD_ENGINE_STREAMS_H
#define QD_ENGINE_STREAMS_H

#include "base/cancel.h"
#include "base/pool.h"
#include "model/arch.h"
#include "quant/gram.h"
#include "quant/holdout.h"
#include "quant/mismatch.h"
#include "text/corpus.h"

typedef enum qd_stream { QD_STREAM_FLOAT, QD_STREAM_QUANTIZED, QD_STREAM_COUNT } qd_stream;

/* How a job wants them. */
typedef struct qd_streams_way {
    qd_scope scope;          /* QD_SCOPE_BLOCK: the float stream takes the quantized one's place at every block */
    qd_first_position first; /* QD_FIRST_LEFT_OUT: of every sequence, from all statistics */
} qd_streams_way;

/* sequences * length tokens a stream. `input` holds the input of group `stored`; inputs wider than their
 * predecessor's, of groups that leave the residual alone, are never stored but recomputed by sequence. */
typedef struct qd_streams {
    const qd_model *model;
    qd_pool *pool;
    const qd_cancel *cancel;
    size_t sequences, length;
    void *map;
    size_t map_bytes;
    qd_matf residual[QD_STREAM_COUNT]; /* m x D */
    qd_matf input[QD_STREAM_COUNT];    /* m x (width of the stored group); storage of the widest that is stored */
    float *input_memory[QD_STREAM_COUNT];
    size_t input_stride; /* floats between rows of `input`, whatever its width */
    const qd_block *block[QD_STREAM_COUNT];
    size_t stored;
    qd_scratch **scratch;   /* one a thread */
    qd_matf_buf *temporary; /* two a thread: T x widest */
    size_t threads;
    qd_streams_way way;
} qd_streams;

/* Embeds the windows into both streams. The scratch file is made in work_dir, reserved (QD_ENOSPC before any work) and unlinked. QD_EINVAL
 * when `way` leaves no token. */
qd_code qd_streams_init(const qd_model *model, const qd_windows *windows, const char *work_dir, qd_pool *pool,
                        const qd_cancel *cancel, qd_streams_way way, qd_streams *out, qd_error *err);
void qd_streams_fini(qd_streams *streams);

/* Starts a block: its two sets of weights (the quantized one changes as layers are rounded), inputs of group 0. */
qd_code qd_streams_enter(qd_streams *streams, const qd_block *float_block, const qd_block *quantized_block,
                         qd_error *err);
/* Adds X^T X of one stream of group `group` (the stored one, or one reached from it). held: NULL, or what gets the sequences that are held
 * out (qd_holdout_takes) instead of `gram`. */
qd_code qd_streams_gram(qd_streams *streams, qd_stream stream, size_t group, qd_gram *gram, qd_gram *held,
                        qd_error *err);
/* Adds both streams of group `group`, and their difference, in one pass; where `mismatch` has a residual, that of the residual streams as they
 * are before `group` advances. */
qd_code qd_streams_mismatch(qd_streams *streams, size_t group, qd_mismatch *mismatch, qd_error *err);
/* Runs `group` in both streams now that its layers are rounded. A no-op when the next input is recomputed on demand. */
qd_code qd_streams_advance(qd_streams *streams, size_t group, qd_error *err);
/* sqrt(||x - x~||^2 / ||x||^2) over all tokens of the residuals. */
qd_code qd_streams_difference(const qd_streams *streams, double *out, qd_error *err);

#endif
