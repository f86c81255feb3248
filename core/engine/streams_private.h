/* streams_private.h: what the files of the streams share: streams.c (walk), streams_store.c (where they are), streams_gather.c (sums),
 * streams_route.c (which expert a token goes to).
 * Room: core/engine, private to them. May use: core.
 * Threads: as streams.h. */
#ifndef QD_ENGINE_STREAMS_PRIVATE_H
#define QD_ENGINE_STREAMS_PRIVATE_H

#include <string.h>

#include "engine/streams.h"

#define QD_NOT_ROUTED SIZE_MAX

/* Tokens at the beginning of a sequence that no statistics see, and those that they do see. */
static inline size_t qd_streams_left_out(const qd_streams *s)
{
    return s->way.first == QD_FIRST_LEFT_OUT ? 1 : 0;
}

static inline size_t qd_streams_counted(const qd_streams *s)
{
    return s->length - qd_streams_left_out(s);
}

/* The streams that are walked: from this one to the last. */
static inline size_t qd_streams_first(const qd_streams *s)
{
    return s->way.walk == QD_WALK_BOTH ? QD_STREAM_FLOAT : QD_STREAM_QUANTIZED;
}

/* A task for every sequence of every stream that is walked: tasks of one stream before those of the next. */
static inline size_t qd_streams_tasks(const qd_streams *s)
{
    return (QD_STREAM_COUNT - qd_streams_first(s)) * s->sequences;
}

static inline size_t qd_streams_of_task(const qd_streams *s, size_t index, size_t *out_sequence)
{
    *out_sequence = index % s->sequences;
    return qd_streams_first(s) + index / s->sequences;
}

/* Rows of a sequence. */
typedef struct qd_span {
    size_t sequence, first, count;
} qd_span;

static inline qd_span qd_whole(const qd_streams *s, size_t sequence)
{
    return (qd_span){ sequence, 0, s->length };
}

static inline qd_matf qd_sequence_rows(qd_matf m, size_t sequence, size_t length)
{
    return qd_matf_block(m, sequence * length, 0, length, m.cols);
}

static inline void qd_rows_copy(qd_cmatf from, qd_matf to)
{
    for (size_t t = 0; t < from.rows; t++)
        memcpy(qd_matf_row(to, t), qd_cmatf_row(from, t), from.cols * sizeof(float));
}

/* Reserves the memory of all streams in work_dir; `way` and sizes are set. */
qd_code qd_streams_reserve(qd_streams *streams, const char *work_dir, qd_error *err);
/* What a task asks for before it is at a sequence (none past the end), and gives back after it. */
void qd_streams_expect(const qd_streams *streams, size_t stream, size_t sequence);
void qd_streams_release(const qd_streams *streams, size_t stream, size_t sequence);

/* ---- the stored input ---- */

/* Where rows of an input of this width are written to: their place in the store, or `room` where that holds another type. */
qd_matf qd_streams_input_room(const qd_streams *streams, size_t stream, qd_span span, size_t width, qd_matf room);
/* Stores them; nothing is left to do for rows that lie in their place. */
void qd_streams_keep(qd_streams *streams, size_t stream, qd_span span, qd_cmatf rows);
/* The stored input in its place, or where a routed group wants floats and it is bf16, `room` with it. */
qd_operand qd_streams_kept(const qd_streams *streams, size_t stream, qd_span span, qd_matf room);
/* That of `count` sequences in one piece; false where they do not lie so. */
bool qd_streams_in_one_piece(const qd_streams *streams, size_t stream, size_t first, size_t count, qd_cmatf *out);
/* Rows of the stored input of a sequence as it is, in bf16 arithmetic. */
qd_cmath qd_streams_halves(const qd_streams *streams, size_t stream, qd_span span);
/* What products see of an input. */
void qd_streams_round(const qd_streams *streams, qd_matf input);

/* The input of a group that is its own place for some rows (all of a sequence, unless every group from the stored one on is rowwise), by way of the
 * groups between the stored one and it, which leave the residual alone. The view is either the stored input (of a routed group: floats) or one of
 * the worker's temporaries, never that of group % 2. */
qd_code qd_streams_reach(qd_streams *streams, size_t stream, qd_span span, size_t group, size_t worker, qd_operand *out,
                         qd_error *err);

/* Rows of a sequence that count and that the group's expert sees; fills out_rows (at most `length`) unless it is NULL.
 * The routes of the group's place must be known. */
size_t qd_streams_routed_rows(const qd_streams *streams, size_t group, size_t sequence, uint32_t *out_rows);
/* Makes them known. */
qd_code qd_streams_route(qd_streams *streams, size_t group, qd_error *err);

#endif
