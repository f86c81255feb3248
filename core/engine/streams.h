/* streams.h: the two activation streams of a calibration run, float and quantized, in memory or in a
 * scratch file that is mapped.
 * Room: core/engine, private to it. May use: core.
 * Threads: one thread calls; sequences are spread over the pool, each owned by one task.
 * Source: design.md §4; arch.h (the walk through a block). */
#ifndef QD_ENGINE_STREAMS_H
#define QD_ENGINE_STREAMS_H

#include "base/cancel.h"
#include "base/pages.h"
#include "base/pool.h"
#include "model/arch.h"
#include "quant/gram.h"
#include "quant/holdout.h"
#include "quant/mismatch.h"
#include "text/corpus.h"

typedef enum qd_stream { QD_STREAM_FLOAT, QD_STREAM_QUANTIZED, QD_STREAM_COUNT } qd_stream;

/* Which of them are walked. Whatever compares them wants both. */
typedef enum qd_walk { QD_WALK_BOTH, QD_WALK_QUANTIZED } qd_walk;

/* Inputs wider than D: made again when they are needed a second time, or stored as others are (kept.h). */
typedef enum qd_keep { QD_KEEP_NARROW, QD_KEEP_WIDE } qd_keep;

/* How a job wants them. */
typedef struct qd_streams_way {
    qd_scope scope;           /* QD_SCOPE_BLOCK: the float stream takes the quantized one's place at every block */
    qd_first_position first;  /* QD_FIRST_LEFT_OUT: of every sequence, from all statistics */
    qd_arithmetic arithmetic; /* that of the blocks, and of what is summed here */
    qd_walk walk;
    qd_keep keep; /* QD_KEEP_WIDE: where there is room (kept.h) */
} qd_streams_way;

/* Tokens of a group: those that the router sends to its expert, or all of them. (All, where it has none.) */
typedef enum qd_tokens { QD_TOKENS_ROUTED, QD_TOKENS_ALL } qd_tokens;

/* How many tokens that count go to one expert. */
typedef struct qd_traffic {
    size_t tokens;
    size_t judged; /* of those, in sequences of QD_PART_JUDGE: also those that are held out */
} qd_traffic;

/* The inputs of one group in one stream, sequence after sequence: float32, or the bf16 numbers that are all products see of them. */
typedef struct qd_inputs {
    unsigned char *data; /* room for length x widest_kept values a sequence */
    size_t width;
} qd_inputs;

/* sequences * length tokens a stream. `input` holds that of group `stored`; inputs wider than `widest_kept`, of groups that
 * follow one which leaves the residual alone, are never stored but recomputed by sequence; so are those of experts. In bfloat16 an input
 * is rounded as soon as it is made, so that whoever reads it (a product, a difference of streams, a router) sees the same numbers, kept or
 * made again. */
typedef struct qd_streams {
    const qd_model *model;
    qd_pool *pool;
    const qd_cancel *cancel;
    size_t sequences, length;
    qd_scratch_file file;              /* of what follows; on disk, a sequence is resident while a task is at it */
    qd_matf residual[QD_STREAM_COUNT]; /* m x D; none in a stream that is not walked */
    qd_inputs input[QD_STREAM_COUNT];
    size_t widest_kept;
    const qd_block *block[QD_STREAM_COUNT];
    size_t stored;
    qd_scratch **scratch;   /* one a thread */
    qd_matf_buf *temporary; /* two a thread: T x widest */
    size_t threads;
    qd_streams_way way;
    /* Where the quantized stream's router sends every token: m x (experts used), ascending; of the routed groups whose
     * place is `routed`. Both streams take it. */
    uint32_t *routes;
    qd_traffic *traffic; /* of each expert */
    size_t routed;
} qd_streams;

/* Embeds the windows into the streams. The scratch file is made in work_dir, reserved (QD_ENOSPC before any work) and unlinked; NULL: in memory. QD_EINVAL
 * when `way` leaves no token. */
qd_code qd_streams_init(const qd_model *model, const qd_windows *windows, const char *work_dir, qd_pool *pool,
                        const qd_cancel *cancel, qd_streams_way way, qd_streams *out, qd_error *err);
void qd_streams_fini(qd_streams *streams);

/* Starts a block: its two sets of weights (the quantized one changes as layers are rounded; float_block is not read where that stream is not
 * walked), inputs of group 0. */
qd_code qd_streams_enter(qd_streams *streams, const qd_block *float_block, const qd_block *quantized_block,
                         qd_error *err);
/* How many tokens each expert of the block sees, the place of the routed group reached: `experts` of them, valid until
 * another block is entered. */
qd_code qd_streams_traffic(qd_streams *streams, size_t group, const qd_traffic **out, qd_error *err);
/* Adds X^T X of one stream of group `group` (the stored one, or one reached from it). held: NULL, or what gets the
 * sequences that are held out (qd_holdout_takes) instead of `gram`. */
qd_code qd_streams_gram(qd_streams *streams, qd_stream stream, size_t group, qd_tokens tokens, qd_gram *gram,
                        qd_gram *held, qd_error *err);
/* Adds both streams of group `group`, and their difference, in one pass; where `mismatch` has a residual, that of the
 * residual streams as they are before `group` advances (not of a routed group). */
qd_code qd_streams_mismatch(qd_streams *streams, size_t group, qd_tokens tokens, qd_mismatch *mismatch, qd_error *err);
/* Runs `group` in both streams now that its layers are rounded. A no-op when the next input is recomputed on demand, and
 * at all routed groups of a block but the last. */
qd_code qd_streams_advance(qd_streams *streams, size_t group, qd_error *err);
/* Working memory of the walk goes; it is there again when it is touched. */
qd_code qd_streams_rest(qd_streams *streams, qd_error *err);
/* Rows of the stored input of one sequence, from row `first` on: out has as many as are wanted. */
void qd_streams_input(const qd_streams *streams, qd_stream stream, size_t sequence, size_t first, qd_matf out);
/* sqrt(||x - x~||^2 / ||x||^2) over all tokens of the residuals; NAN where only one stream is walked. QD_ENUMERIC when they are not finite. */
qd_code qd_streams_difference(const qd_streams *streams, double *out, qd_error *err);

#endif
