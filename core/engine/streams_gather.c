/* streams_gather.c: sums over the inputs of a group: see streams.h. Inputs are gathered chunk by chunk, in chunks that
 * do not depend on the number of threads, and without the tokens that the group does not see. */
#include <stdlib.h>

#include "base/mem.h"
#include "engine/streams_private.h"
#include "linalg/rows.h"

enum { CHUNK_TOKENS = 4096 }; /* inputs held at a time; fixed, so that sums do not depend on threads */

/* Whose inputs are asked for. */
typedef struct asked {
    qd_streams *streams;
    size_t group;
    qd_tokens tokens;
} asked;

static bool is_routed(const asked *a)
{
    return qd_block_group_expert(a->streams->block[QD_STREAM_QUANTIZED], a->group) != QD_NO_EXPERT;
}

static size_t rows_of(const asked *a, size_t sequence)
{
    return is_routed(a) && a->tokens == QD_TOKENS_ROUTED ? qd_streams_routed_rows(a->streams, a->group, sequence, NULL)
                                                         : qd_streams_counted(a->streams);
}

static qd_cmatf counted_rows(const qd_streams *s, qd_cmatf sequence)
{
    return qd_cmatf_block(sequence, qd_streams_left_out(s), 0, qd_streams_counted(s), sequence.cols);
}

/* Rows of the place's input that the expert sees, as its group wants them. */
static qd_code derive(const asked *a, size_t stream, size_t sequence, qd_cmatf input, size_t worker, qd_matf out,
                      qd_error *err)
{
    qd_streams *s = a->streams;
    const qd_block *block = s->block[stream];
    size_t place = qd_block_group_place(block, a->group);
    qd_cmatf picked = counted_rows(s, input);
    if (a->tokens == QD_TOKENS_ROUTED) {
        QD_AUTO(qd_free_pointer) uint32_t *rows = NULL;
        qd_code code = qd_alloc(s->length, sizeof *rows, (void **)&rows, err);
        if (code != QD_OK)
            return code;
        qd_matf chosen = qd_matf_view(s->temporary[2 * worker + place % 2].view.data, out.rows, input.cols);
        qd_streams_routed_rows(s, a->group, sequence, rows);
        for (size_t i = 0; i < out.rows; i++)
            memcpy(qd_matf_row(chosen, i), qd_cmatf_row(input, rows[i]), input.cols * sizeof(float));
        picked = qd_matf_const(chosen);
    }
    qd_code code = qd_block_derive(block, a->group, picked, s->scratch[worker], out, err);
    qd_streams_round(s, out);
    return code;
}

/* The rows of one sequence; `out` has as many as rows_of says. */
static qd_code fetch(const asked *a, size_t stream, size_t sequence, size_t worker, qd_matf out, qd_error *err)
{
    qd_streams *s = a->streams;
    qd_operand input;
    qd_code code = qd_cancel_check(s->cancel, err);
    if (code == QD_OK && a->group == s->stored && !is_routed(a)) {
        qd_streams_input(s, (qd_stream)stream, sequence, qd_streams_left_out(s), out);
        qd_streams_release(s, stream, sequence);
        return QD_OK;
    }
    if (code == QD_OK)
        code = qd_streams_reach(s, stream, qd_whole(s, sequence), qd_block_group_place(s->block[stream], a->group),
                                worker, &input, err);
    if (code != QD_OK)
        return code;
    if (is_routed(a))
        code = derive(a, stream, sequence, qd_floats_of(input), worker, out, err);
    else
        qd_rows_copy(counted_rows(s, qd_floats_of(input)), out);
    qd_streams_release(s, stream, sequence);
    return code;
}

/* Sequences that are summed at once, and where the rows of each begin. */
typedef struct batch {
    size_t *sequence, *first;
    size_t count, rows, most;
} batch;

static void batch_fini(batch *b)
{
    free(b->sequence);
    free(b->first);
}

static qd_code batch_init(const qd_streams *s, batch *out, qd_error *err)
{
    size_t at_once = qd_max_size(1, CHUNK_TOKENS / s->length);
    *out = (batch){ .most = at_once * qd_streams_counted(s) };
    qd_code code = qd_alloc(s->sequences, sizeof *out->sequence, (void **)&out->sequence, err);
    return code == QD_OK ? qd_alloc(s->sequences + 1, sizeof *out->first, (void **)&out->first, err) : code;
}

#define EVERY_PART QD_PART_COUNT

/* Sequences of a part from `next` on, as many as fit; false when there are none left. */
static bool next_batch(const asked *a, qd_part part, size_t *next, batch *b)
{
    const qd_streams *s = a->streams;
    b->count = b->rows = 0;
    for (; *next < s->sequences; (*next)++) {
        size_t rows = part == EVERY_PART || qd_part_of(*next, s->sequences) == part ? rows_of(a, *next) : 0;
        if (b->rows + rows > b->most)
            break;
        if (rows == 0)
            continue;
        b->sequence[b->count] = *next;
        b->first[b->count++] = b->rows;
        b->rows += rows;
        b->first[b->count] = b->rows;
    }
    return b->count > 0;
}

static qd_matf batch_rows(const batch *b, qd_matf chunk, size_t index)
{
    return qd_matf_block(chunk, b->first[index], 0, b->first[index + 1] - b->first[index], chunk.cols);
}

static qd_cmatf first_rows(qd_matf m, size_t count)
{
    return qd_cmatf_block(qd_matf_const(m), 0, 0, count, m.cols);
}

/* ---- straight from the store ---- */

/* In bf16 moments are packed from the stored input as it lies there: what is gathered first goes through memory twice more. */
static bool reads_store(const asked *a)
{
    const qd_streams *s = a->streams;
    return s->way.arithmetic == QD_ARITHMETIC_BFLOAT16 && a->group == s->stored && !is_routed(a);
}

/* Of a batch's sequences, which all have as many rows: those of one sequence from row `first` on, at most `most`. */
static qd_span span_at(const qd_streams *s, const batch *b, size_t first, size_t most)
{
    size_t counted = qd_streams_counted(s), row = first % counted;
    return (qd_span){ b->sequence[first / counted], qd_streams_left_out(s) + row, qd_min_size(counted - row, most) };
}

/* Rows from `first` on: a view, or a copy of those of several sequences. */
static void read_stored(const qd_streams *s, qd_stream stream, const batch *b, size_t first, qd_gram_rows *rows)
{
    size_t count = rows->x.rows, width = rows->x.cols;
    qd_span span = span_at(s, b, first, count);
    if (span.count == count) {
        rows->x = qd_streams_halves(s, stream, span);
        return;
    }
    for (size_t at = 0; at < count; at += span.count) {
        span = span_at(s, b, first + at, count - at);
        memcpy(rows->room + at * width, qd_streams_halves(s, stream, span).data,
               span.count * width * sizeof *rows->room);
    }
}

/* X - X~ of rows from `first` on, rounded as products will see it. */
static void read_difference(const qd_streams *s, const batch *b, size_t first, qd_gram_rows *rows)
{
    qd_span span;
    for (size_t at = 0; at < rows->x.rows; at += span.count) {
        span = span_at(s, b, first + at, rows->x.rows - at);
        qd_cmath x = qd_streams_halves(s, QD_STREAM_FLOAT, span), y = qd_streams_halves(s, QD_STREAM_QUANTIZED, span);
        qd_rows_best()->subtract_bf16(x.data, y.data, x.rows * x.cols, rows->room + at * x.cols);
    }
}

static void release_batch(const qd_streams *s, const batch *b)
{
    for (size_t stream = qd_streams_first(s); stream < QD_STREAM_COUNT; stream++)
        for (size_t i = 0; i < b->count; i++)
            qd_streams_release(s, stream, b->sequence[i]);
}

/* ---- one stream ---- */

typedef struct gathering {
    asked asked;
    qd_stream stream;
    batch batch;
    qd_matf chunk; /* most x width */
    qd_gram_room room;
} gathering;

static qd_code gather_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const gathering *g = ctx;
    return fetch(&g->asked, g->stream, g->batch.sequence[index], worker, batch_rows(&g->batch, g->chunk, index), err);
}

static qd_code read_task(void *ctx, size_t first, qd_gram_rows *rows, qd_error *err)
{
    const gathering *g = ctx;
    (void)err;
    read_stored(g->asked.streams, g->stream, &g->batch, first, &rows[0]);
    return QD_OK;
}

static qd_code add_stored(gathering *g, qd_gram *gram, qd_error *err)
{
    const qd_streams *s = g->asked.streams;
    size_t width = gram->sum.view.cols;
    const qd_gram_inputs inputs = {
        .count = 1, .input = { { g->batch.rows, width, width, NULL } }, .read = read_task, .ctx = g, .room = &g->room
    };
    qd_code code = qd_cancel_check(s->cancel, err);
    if (code == QD_OK)
        code = qd_gram_add_terms(&inputs, &(qd_gram_term){ gram, 0, 0 }, 1, s->pool, err);
    release_batch(s, &g->batch);
    return code;
}

static qd_code add_gathered(gathering *g, qd_gram *gram, qd_error *err)
{
    qd_pool *pool = g->asked.streams->pool;
    qd_code code = qd_pool_for(pool, g->batch.count, gather_task, g, err);
    const qd_gram_inputs inputs = { .count = 1, .input = { first_rows(g->chunk, g->batch.rows) }, .room = &g->room };
    return code == QD_OK ? qd_gram_add_terms(&inputs, &(qd_gram_term){ gram, 0, 0 }, 1, pool, err) : code;
}

static qd_code add_sequences(gathering *g, qd_part part, qd_gram *gram, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t next = 0; code == QD_OK && next_batch(&g->asked, part, &next, &g->batch);)
        code = reads_store(&g->asked) ? add_stored(g, gram, err) : add_gathered(g, gram, err);
    return code;
}

/* The stored input, where all of it counts: no copy is made. Chunk by chunk, so that cancelling is heard, and by the same chunks as gathered
 * ones, so that sums do not depend on what is kept. false: it does not lie in one piece. */
static bool lies_in_place(const asked *a, const qd_gram *held)
{
    qd_cmatf rows;
    const qd_streams *s = a->streams;
    return a->group == s->stored && held == NULL && qd_streams_left_out(s) == 0 &&
           !(is_routed(a) && a->tokens == QD_TOKENS_ROUTED) &&
           qd_streams_in_one_piece(s, QD_STREAM_QUANTIZED, 0, s->sequences, &rows);
}

static qd_code add_in_place(qd_streams *s, qd_stream stream, qd_gram *gram, qd_error *err)
{
    size_t at_once = qd_max_size(1, CHUNK_TOKENS / s->length);
    qd_code code = QD_OK;
    for (size_t first = 0; code == QD_OK && first < s->sequences; first += at_once) {
        qd_cmatf rows = { 0 };
        code = qd_cancel_check(s->cancel, err);
        if (code == QD_OK &&
            qd_streams_in_one_piece(s, stream, first, qd_min_size(at_once, s->sequences - first), &rows))
            code = qd_gram_add(gram, rows, s->pool, err);
        for (size_t i = first; i < qd_min_size(first + at_once, s->sequences); i++)
            qd_streams_release(s, stream, i);
    }
    return code;
}

/* Held-out sequences are those that judge: who holds out has sequences enough for both to be every fifth. */
static qd_code add_batches(gathering *g, qd_gram *gram, qd_gram *held, qd_error *err)
{
    const qd_streams *s = g->asked.streams;
    size_t width = qd_block_group_width(s->block[g->stream], g->asked.group);
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf chunk = { 0 };
    qd_code code = batch_init(s, &g->batch, err);
    if (code == QD_OK && !reads_store(&g->asked))
        code = qd_matf_buf_init(&chunk, g->batch.most, width, err);
    g->chunk = chunk.view;
    if (code == QD_OK && held == NULL)
        code = add_sequences(g, EVERY_PART, gram, err);
    else if (code == QD_OK) {
        assert(s->sequences >= QD_HOLDOUT_EVERY);
        code = add_sequences(g, QD_PART_FIT, gram, err);
        if (code == QD_OK)
            code = add_sequences(g, QD_PART_JUDGE, held, err);
    }
    batch_fini(&g->batch);
    qd_gram_room_fini(&g->room);
    return code;
}

qd_code qd_streams_gram(qd_streams *s, qd_stream stream, size_t group, qd_tokens tokens, qd_gram *gram, qd_gram *held,
                        qd_error *err)
{
    gathering g = { .asked = { s, group, tokens }, .stream = stream };
    assert(stream >= qd_streams_first(s));
    gram->arithmetic = s->way.arithmetic;
    if (held != NULL)
        held->arithmetic = s->way.arithmetic;
    qd_code code = qd_streams_route(s, group, err);
    if (code != QD_OK)
        return code;
    return lies_in_place(&g.asked, held) ? add_in_place(s, stream, gram, err) : add_batches(&g, gram, held, err);
}

/* ---- both streams ---- */

/* Tokens of some sequences of one part, from both streams. */
typedef struct pairing {
    asked asked;
    batch batch;
    qd_matf difference, input, residual; /* X - X~, X~, R - R~ (no columns where it is not wanted) */
    qd_gram_room room;
} pairing;

/* In place, and rounded as products will see it, so that squares of it are the same number's. */
static void subtract_rows(const qd_streams *s, qd_cmatf what, qd_matf from)
{
    for (size_t t = 0; t < from.rows; t++) {
        qd_rows_best()->add(-1, qd_cmatf_row(what, t), from.cols, qd_matf_row(from, t));
        qd_streams_round(s, qd_matf_block(from, t, 0, 1, from.cols)); /* while it is in the first cache */
    }
}

static qd_cmatf residual_rows(const qd_streams *s, size_t stream, size_t sequence)
{
    return counted_rows(s, qd_matf_const(qd_sequence_rows(s->residual[stream], sequence, s->length)));
}

static qd_code pair_inputs(const pairing *p, size_t index, size_t worker, qd_error *err)
{
    size_t sequence = p->batch.sequence[index];
    qd_matf x = batch_rows(&p->batch, p->input, index), d = batch_rows(&p->batch, p->difference, index);
    qd_code code = fetch(&p->asked, QD_STREAM_QUANTIZED, sequence, worker, x, err);
    if (code == QD_OK)
        code = fetch(&p->asked, QD_STREAM_FLOAT, sequence, worker, d, err);
    if (code == QD_OK)
        subtract_rows(p->asked.streams, qd_matf_const(x), d);
    return code;
}

static qd_code pair_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const pairing *p = ctx;
    const qd_streams *s = p->asked.streams;
    size_t sequence = p->batch.sequence[index];
    qd_code code = reads_store(&p->asked) ? qd_cancel_check(s->cancel, err) : pair_inputs(p, index, worker, err);
    if (code == QD_OK && p->residual.cols > 0) {
        qd_matf e = batch_rows(&p->batch, p->residual, index);
        qd_rows_copy(residual_rows(s, QD_STREAM_FLOAT, sequence), e);
        subtract_rows(s, residual_rows(s, QD_STREAM_QUANTIZED, sequence), e);
    }
    qd_streams_release(s, QD_STREAM_FLOAT, sequence);
    qd_streams_release(s, QD_STREAM_QUANTIZED, sequence);
    return code;
}

static qd_code read_pair(void *ctx, size_t first, qd_gram_rows *rows, qd_error *err)
{
    const pairing *p = ctx;
    const qd_streams *s = p->asked.streams;
    (void)err;
    read_stored(s, QD_STREAM_QUANTIZED, &p->batch, first, &rows[QD_PAIRS_X]);
    read_difference(s, &p->batch, first, &rows[QD_PAIRS_DIFFERENCE]);
    return QD_OK;
}

static qd_pairs pairs_of(pairing *p)
{
    size_t rows = p->batch.rows,
           width = qd_block_group_width(p->asked.streams->block[QD_STREAM_QUANTIZED], p->asked.group);
    const qd_cmatf unread = { rows, width, width, NULL };
    qd_pairs pairs = { .difference = unread, .x = unread, .read = read_pair, .ctx = p };
    if (!reads_store(&p->asked))
        pairs = (qd_pairs){ .difference = first_rows(p->difference, rows), .x = first_rows(p->input, rows) };
    if (p->residual.cols > 0)
        pairs.residual = first_rows(p->residual, rows);
    pairs.room = &p->room;
    return pairs;
}

static qd_code add_part(pairing *p, qd_part part, qd_mismatch *mismatch, qd_error *err)
{
    qd_pool *pool = p->asked.streams->pool;
    qd_code code = QD_OK;
    for (size_t next = 0; code == QD_OK && next_batch(&p->asked, part, &next, &p->batch);) {
        qd_pairs pairs = pairs_of(p);
        code = qd_pool_for(pool, p->batch.count, pair_task, p, err);
        if (code == QD_OK)
            code = qd_mismatch_add(mismatch, part, &pairs, pool, err);
        release_batch(p->asked.streams, &p->batch);
    }
    return code;
}

static qd_code add_both(pairing *p, qd_mismatch *mismatch, qd_error *err)
{
    const qd_streams *s = p->asked.streams;
    size_t width = qd_block_group_width(s->block[QD_STREAM_QUANTIZED], p->asked.group),
           outputs = mismatch->residual.outputs;
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf difference = { 0 };
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf input = { 0 };
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf residual = { 0 };
    bool gathered = !reads_store(&p->asked);
    qd_code code = gathered ? qd_matf_buf_init(&difference, p->batch.most, width, err) : QD_OK;
    if (code == QD_OK && gathered)
        code = qd_matf_buf_init(&input, p->batch.most, width, err);
    if (code == QD_OK && outputs > 0)
        code = qd_matf_buf_init(&residual, p->batch.most, outputs, err);
    p->difference = difference.view;
    p->input = input.view;
    p->residual = residual.view;
    for (qd_part part = QD_PART_FIT; code == QD_OK && part < QD_PART_COUNT; part++)
        code = add_part(p, part, mismatch, err);
    return code;
}

qd_code qd_streams_mismatch(qd_streams *s, size_t group, qd_tokens tokens, qd_mismatch *mismatch, qd_error *err)
{
    pairing p = { .asked = { s, group, tokens } };
    assert(mismatch->residual.outputs == 0 || !is_routed(&p.asked));
    assert(s->way.walk == QD_WALK_BOTH);
    qd_mismatch_compute_in(mismatch, s->way.arithmetic);
    qd_code code = qd_streams_route(s, group, err);
    if (code == QD_OK)
        code = batch_init(s, &p.batch, err);
    if (code == QD_OK)
        code = add_both(&p, mismatch, err);
    batch_fini(&p.batch);
    qd_gram_room_fini(&p.room);
    return code;
}
