/* streams.c: see streams.h. */
#include "engine/streams_private.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/kept.h"
#include "linalg/rows.h"

static void destroy_scratches(qd_streams *s)
{
    for (size_t i = 0; s->scratch != NULL && i < s->threads; i++)
        qd_scratch_destroy(s->scratch[i]);
    free(s->scratch);
    for (size_t i = 0; s->temporary != NULL && i < 2 * s->threads; i++)
        qd_matf_buf_fini(&s->temporary[i]);
    free(s->temporary);
    s->scratch = NULL;
    s->temporary = NULL;
}

void qd_streams_fini(qd_streams *s)
{
    destroy_scratches(s);
    free(s->routes);
    free(s->traffic);
    qd_scratch_file_fini(&s->file);
    *s = (qd_streams){ 0 };
}

/* Is the input of a group kept, or made again from the kept one before it? */
static bool is_stored(const qd_streams *s, size_t group)
{
    const qd_block *block = s->block[QD_STREAM_QUANTIZED];
    if (qd_block_group_place(block, group) != group)
        return false;
    return group == 0 || qd_block_group_writes_residual(block, group - 1) ||
           qd_block_group_width(block, group) <= s->widest_kept;
}

static size_t widest_input(const qd_model *model)
{
    size_t width = qd_model_borrow_config(model)->hidden;
    for (size_t i = 0; i < qd_model_linear_count(model); i++)
        width = qd_max_size(width, qd_model_linear_at(model, i)->in);
    return width;
}

static qd_code create_scratches(qd_streams *s, size_t width, qd_error *err)
{
    qd_code code = qd_alloc(s->threads, sizeof *s->scratch, (void **)&s->scratch, err);
    if (code == QD_OK)
        code = qd_alloc(2 * s->threads, sizeof *s->temporary, (void **)&s->temporary, err);
    for (size_t i = 0; code == QD_OK && i < s->threads; i++)
        code = qd_scratch_create(s->model, s->length, &s->scratch[i], err);
    for (size_t i = 0; code == QD_OK && i < 2 * s->threads; i++)
        code = qd_matf_buf_init(&s->temporary[i], s->length, width, err);
    return code;
}

qd_code qd_streams_rest(qd_streams *s, qd_error *err)
{
    destroy_scratches(s);
    return create_scratches(s, widest_input(s->model), err);
}

typedef struct embedding {
    qd_streams *streams;
    const uint32_t *ids;
} embedding;

static qd_code embed_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const embedding *e = ctx;
    qd_streams *s = e->streams;
    (void)worker;
    qd_matf first = qd_sequence_rows(s->residual[QD_STREAM_QUANTIZED], index, s->length);
    qd_code code = qd_model_embed(s->model, e->ids + index * s->length, first, err);
    if (code == QD_OK && s->way.walk == QD_WALK_BOTH)
        qd_rows_copy(qd_matf_const(first), qd_sequence_rows(s->residual[QD_STREAM_FLOAT], index, s->length));
    for (size_t stream = qd_streams_first(s); stream < QD_STREAM_COUNT; stream++)
        qd_streams_release(s, stream, index);
    return code;
}

/* Without room for wide inputs there may be room for the others. */
static qd_code reserve(qd_streams *s, const char *work_dir, qd_error *err)
{
    s->widest_kept = qd_kept_width(s->model, s->way.keep);
    qd_code code = qd_streams_reserve(s, work_dir, err);
    if (code != QD_ENOSPC || s->way.keep == QD_KEEP_NARROW)
        return code;
    s->widest_kept = qd_kept_width(s->model, QD_KEEP_NARROW);
    return qd_streams_reserve(s, work_dir, err);
}

qd_code qd_streams_init(const qd_model *model, const qd_windows *windows, const char *work_dir, qd_pool *pool,
                        const qd_cancel *cancel, qd_streams_way way, qd_streams *out, qd_error *err)
{
    qd_streams s = { .model = model,
                     .pool = pool,
                     .cancel = cancel,
                     .sequences = windows->count,
                     .length = windows->length,
                     .threads = qd_pool_threads(pool),
                     .way = way };
    if (qd_streams_left_out(&s) >= s.length)
        return qd_fail(err, QD_EINVAL, "calibration.first_position: '%s' leaves nothing of sequences of %zu token",
                       qd_first_position_name(way.first), s.length);
    qd_code code = reserve(&s, work_dir, err);
    if (code == QD_OK)
        code = create_scratches(&s, widest_input(model), err);
    embedding e = { &s, windows->ids };
    if (code == QD_OK)
        code = qd_pool_for(pool, s.sequences, embed_task, &e, err);
    if (code != QD_OK) {
        qd_streams_fini(&s);
        return code;
    }
    *out = s;
    return QD_OK;
}

static void store_width(qd_streams *s, size_t group)
{
    s->stored = group;
    for (size_t i = 0; i < QD_STREAM_COUNT; i++)
        s->input[i].width = qd_block_group_width(s->block[QD_STREAM_QUANTIZED], group);
}

/* The worker's room for rows of an input that is made of the input of `group`. */
static qd_matf room_behind(const qd_streams *s, size_t group, size_t worker, size_t rows, size_t width)
{
    return qd_matf_view(s->temporary[2 * worker + group % 2].view.data, rows, width);
}

static qd_matf residual_rows(const qd_streams *s, size_t stream, qd_span span)
{
    qd_matf residual = s->residual[stream];
    return qd_matf_block(residual, span.sequence * s->length + span.first, 0, span.count, residual.cols);
}

/* ---- in pieces ---- */

/* Rows that stay in the second cache on their way through a group; as many as a linear layer packs at once by AMX. */
enum { PIECE_ROWS = 256 };

/* Whole sequences in float32: the library's sums depend on how many rows there are. */
static size_t rows_at_once(const qd_streams *s, size_t from, size_t group)
{
    bool pieces = s->way.arithmetic == QD_ARITHMETIC_BFLOAT16;
    for (size_t g = from; g <= group; g++)
        pieces = pieces && qd_block_group_is_rowwise(s->block[QD_STREAM_QUANTIZED], g);
    return pieces ? qd_min_size(PIECE_ROWS, s->length) : s->length;
}

/* Pieces go from a sequence's end where rows become wider, since they take each other's places in the store: what is written then lies behind what is
 * still to be read, else before it. */
typedef enum direction { FROM_THE_BEGINNING, FROM_THE_END } direction;

static qd_span piece_of(const qd_streams *s, size_t sequence, size_t rows, size_t index, direction from)
{
    size_t pieces = (s->length + rows - 1) / rows, at = from == FROM_THE_END ? pieces - 1 - index : index;
    return (qd_span){ sequence, at * rows, qd_min_size(rows, s->length - at * rows) };
}

static qd_code enter_rows(qd_streams *s, size_t stream, qd_span span, size_t worker, qd_error *err)
{
    size_t width = s->input[stream].width;
    qd_matf residual = residual_rows(s, stream, span);
    qd_matf input = qd_streams_input_room(s, stream, span, width, room_behind(s, 0, worker, span.count, width));
    if (stream == QD_STREAM_FLOAT && s->way.scope == QD_SCOPE_BLOCK)
        qd_rows_copy(qd_matf_const(residual_rows(s, QD_STREAM_QUANTIZED, span)), residual);
    qd_code code = qd_block_enter(s->block[stream], residual, s->scratch[worker], input, err);
    if (code == QD_OK)
        qd_streams_keep(s, stream, span, qd_matf_const(input));
    return code;
}

static qd_code enter_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    qd_streams *s = ctx;
    size_t sequence, stream = qd_streams_of_task(s, index, &sequence);
    size_t rows = qd_min_size(PIECE_ROWS, s->length); /* a norm's rows are their own */
    qd_code code = qd_cancel_check(s->cancel, err);
    qd_streams_expect(s, stream, sequence + s->threads);
    for (size_t piece = 0; code == QD_OK && piece * rows < s->length; piece++)
        code = enter_rows(s, stream, piece_of(s, sequence, rows, piece, FROM_THE_BEGINNING), worker, err);
    qd_streams_release(s, stream, sequence);
    return code;
}

qd_code qd_streams_enter(qd_streams *s, const qd_block *float_block, const qd_block *quantized_block, qd_error *err)
{
    s->block[QD_STREAM_FLOAT] = float_block;
    s->block[QD_STREAM_QUANTIZED] = quantized_block;
    store_width(s, 0);
    s->routed = QD_NOT_ROUTED;
    return qd_pool_for(s->pool, qd_streams_tasks(s), enter_task, s, err);
}

qd_code qd_streams_reach(qd_streams *s, size_t stream, qd_span span, size_t group, size_t worker, qd_operand *out,
                         qd_error *err)
{
    const qd_block *block = s->block[stream];
    qd_matf residual = residual_rows(s, stream, span);
    qd_operand current = qd_streams_kept(s, stream, span, room_behind(s, s->stored + 1, worker, span.count, 0));
    qd_code code = QD_OK;
    for (size_t g = s->stored; code == QD_OK && g < group; g++) {
        qd_matf next = room_behind(s, g, worker, span.count, qd_block_group_width(block, g + 1));
        code = qd_block_advance(block, g, residual, current, s->scratch[worker], next, err);
        qd_streams_round(s, next);
        current = qd_operand_floats(qd_matf_const(next));
    }
    *out = current;
    return code;
}

typedef struct step {
    qd_streams *streams;
    size_t group;
} step;

/* Runs the group for some rows; the next input goes through a temporary, since it may replace the stored one. */
static qd_code advance_rows(const step *a, size_t stream, qd_span span, size_t worker, qd_error *err)
{
    qd_streams *s = a->streams;
    const qd_block *block = s->block[stream];
    size_t place = qd_block_group_place(block, a->group);
    bool last = a->group + 1 == qd_block_groups(block);
    qd_matf next = { 0 };
    if (!last)
        next = room_behind(s, place, worker, span.count, qd_block_group_width(block, a->group + 1));
    qd_operand input;
    qd_code code = qd_streams_reach(s, stream, span, place, worker, &input, err);
    if (code == QD_OK)
        code = qd_block_advance(block, a->group, residual_rows(s, stream, span), input, s->scratch[worker], next, err);
    if (code == QD_OK && !last)
        qd_streams_keep(s, stream, span, qd_matf_const(next));
    return code;
}

static qd_code advance_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const step *a = ctx;
    qd_streams *s = a->streams;
    size_t sequence, stream = qd_streams_of_task(s, index, &sequence);
    const qd_block *block = s->block[stream];
    bool last = a->group + 1 == qd_block_groups(block);
    size_t width = last ? 0 : qd_block_group_width(block, a->group + 1);
    direction from = width > s->input[stream].width ? FROM_THE_END : FROM_THE_BEGINNING;
    size_t rows = rows_at_once(s, s->stored, a->group);
    qd_code code = qd_cancel_check(s->cancel, err);
    qd_streams_expect(s, stream, sequence + s->threads);
    for (size_t piece = 0; code == QD_OK && piece * rows < s->length; piece++)
        code = advance_rows(a, stream, piece_of(s, sequence, rows, piece, from), worker, err);
    qd_streams_release(s, stream, sequence);
    return code;
}

qd_code qd_streams_advance(qd_streams *s, size_t group, qd_error *err)
{
    const qd_block *block = s->block[QD_STREAM_QUANTIZED];
    bool last = group + 1 == qd_block_groups(block);
    bool within = !last && qd_block_group_place(block, group + 1) == qd_block_group_place(block, group);
    if (!last && (within || !is_stored(s, group + 1)))
        return QD_OK;
    step a = { s, group };
    qd_code code = qd_pool_for(s->pool, qd_streams_tasks(s), advance_task, &a, err);
    if (code == QD_OK && !last)
        store_width(s, group + 1);
    return code;
}

/* Of one sequence. */
typedef struct distance {
    double difference, size;
} distance;

typedef struct comparison {
    const qd_streams *streams;
    distance *distance; /* a sequence */
} comparison;

static qd_code compare_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const comparison *c = ctx;
    const qd_streams *s = c->streams;
    distance sum = { 0 };
    (void)worker;
    (void)err;
    for (size_t t = 0; t < s->length; t++) {
        const float *y = qd_matf_row(s->residual[QD_STREAM_QUANTIZED], index * s->length + t);
        const float *x =
            s->way.walk == QD_WALK_BOTH ? qd_matf_row(s->residual[QD_STREAM_FLOAT], index * s->length + t) : y;
        distance row;
        qd_rows_best()->distance(x, y, s->residual[QD_STREAM_QUANTIZED].cols, &row.difference, &row.size);
        sum.difference += row.difference;
        sum.size += row.size;
    }
    for (size_t stream = qd_streams_first(s); stream < QD_STREAM_COUNT; stream++)
        qd_streams_release(s, stream, index);
    c->distance[index] = sum;
    return QD_OK;
}

qd_code qd_streams_difference(const qd_streams *s, double *out, qd_error *err)
{
    distance sum = { 0 };
    QD_AUTO(qd_free_pointer) distance *each = NULL;
    qd_code code = qd_alloc(s->sequences, sizeof *each, (void **)&each, err);
    comparison c = { s, each };
    if (code == QD_OK)
        code = qd_pool_for(s->pool, s->sequences, compare_task, &c, err);
    for (size_t i = 0; code == QD_OK && i < s->sequences; i++) {
        sum.difference += each[i].difference;
        sum.size += each[i].size;
    }
    if (code != QD_OK)
        return code;
    if (!isfinite(sum.difference) || !isfinite(sum.size))
        return qd_fail(err, QD_ENUMERIC, "activations are not finite after this block");
    *out = s->way.walk != QD_WALK_BOTH ? (double)NAN : sum.size > 0 ? sqrt(sum.difference / sum.size) : 0;
    return QD_OK;
}
