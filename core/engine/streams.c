/* streams.c: see streams.h. */
#include "engine/streams.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

enum { CHUNK_TOKENS = 4096 }; /* recomputed inputs held at a time; fixed, so that sums do not depend on threads */

static qd_code map_scratch(const char *work_dir, size_t bytes, void **out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(work_dir, "activations.scratch");
    if (path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    QD_AUTO(qd_close_fd) int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return qd_fail_errno(err, "create '%s'", path);
    unlink(path);
    int refused = EINTR;
    while (refused == EINTR)
        refused = posix_fallocate(fd, 0, (off_t)bytes);
    if (refused != 0)
        return qd_fail(err, refused == ENOSPC ? QD_ENOSPC : QD_EIO,
                       "scratch file of %zu bytes for activations: no space left in '%s'", bytes, work_dir);
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return qd_fail_errno(err, "map a scratch file of %zu bytes", bytes);
    *out = map;
    return QD_OK;
}

void qd_streams_fini(qd_streams *s)
{
    for (size_t i = 0; s->scratch != NULL && i < s->threads; i++)
        qd_scratch_destroy(s->scratch[i]);
    free(s->scratch);
    for (size_t i = 0; s->temporary != NULL && i < 2 * s->threads; i++)
        qd_matf_buf_fini(&s->temporary[i]);
    free(s->temporary);
    if (s->map != NULL)
        munmap(s->map, s->map_bytes);
    *s = (qd_streams){ 0 };
}

/* Is the input of a group kept, or made again from the kept one before it? */
static bool is_stored(const qd_block *block, size_t group)
{
    return group == 0 || qd_block_group_writes_residual(block, group - 1) ||
           qd_block_group_width(block, group) <= qd_block_group_width(block, group - 1);
}

typedef enum breadth { ALL_GROUPS, STORED_GROUPS } breadth;
static size_t widest(const qd_block *block, breadth which)
{
    size_t width = 0;
    for (size_t g = 0; g < qd_block_groups(block); g++)
        if (which == ALL_GROUPS || is_stored(block, g))
            width = qd_max_size(width, qd_block_group_width(block, g));
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

static qd_matf rows_of(qd_matf m, size_t sequence, size_t length)
{
    return qd_matf_block(m, sequence * length, 0, length, m.cols);
}

/* Tokens at the beginning of a sequence that no statistics see, and those that they do see. */
static size_t left_out(const qd_streams *s)
{
    return s->way.first == QD_FIRST_LEFT_OUT ? 1 : 0;
}

static size_t counted(const qd_streams *s)
{
    return s->length - left_out(s);
}

static qd_cmatf counted_rows(const qd_streams *s, qd_cmatf sequence)
{
    return qd_cmatf_block(sequence, left_out(s), 0, counted(s), sequence.cols);
}

static void copy_rows(qd_cmatf from, qd_matf to)
{
    for (size_t t = 0; t < from.rows; t++)
        memcpy(qd_matf_row(to, t), qd_cmatf_row(from, t), from.cols * sizeof(float));
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
    qd_matf first = rows_of(s->residual[QD_STREAM_FLOAT], index, s->length);
    qd_matf second = rows_of(s->residual[QD_STREAM_QUANTIZED], index, s->length);
    qd_code code = qd_model_embed(s->model, e->ids + index * s->length, first, err);
    if (code == QD_OK)
        copy_rows(qd_matf_const(first), second);
    return code;
}

static qd_code allocate(qd_streams *s, size_t stored_width, size_t width, const char *work_dir, qd_error *err)
{
    size_t hidden = qd_model_borrow_config(s->model)->hidden, tokens = s->sequences * s->length;
    size_t floats = tokens * (hidden + stored_width);
    s->input_stride = stored_width;
    s->map_bytes = QD_STREAM_COUNT * floats * sizeof(float);
    qd_code code = map_scratch(work_dir, s->map_bytes, &s->map, err);
    for (size_t i = 0; code == QD_OK && i < QD_STREAM_COUNT; i++) {
        float *memory = (float *)s->map + i * floats;
        s->residual[i] = qd_matf_view(memory, tokens, hidden);
        s->input_memory[i] = memory + tokens * hidden;
    }
    return code == QD_OK ? create_scratches(s, width, err) : code;
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
    qd_block *block = NULL; /* only asked for its widths */
    if (left_out(&s) >= s.length)
        return qd_fail(err, QD_EINVAL, "calibration.first_position: '%s' leaves nothing of sequences of %zu token",
                       qd_first_position_name(way.first), s.length);
    qd_code code = qd_block_load(model, 0, NULL, &block, err);
    if (code == QD_OK)
        code = allocate(&s, widest(block, STORED_GROUPS), widest(block, ALL_GROUPS), work_dir, err);
    qd_block_destroy(block);
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
        s->input[i] = (qd_matf){ s->sequences * s->length, qd_block_group_width(s->block[i], group), s->input_stride,
                                 s->input_memory[i] };
}

/* Tasks 0 .. 2 sequences: stream = index / sequences. */
static qd_code enter_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    qd_streams *s = ctx;
    size_t stream = index / s->sequences, sequence = index % s->sequences;
    qd_code code = qd_cancel_check(s->cancel, err);
    if (code != QD_OK)
        return code;
    return qd_block_enter(s->block[stream], rows_of(s->residual[stream], sequence, s->length), s->scratch[worker],
                          rows_of(s->input[stream], sequence, s->length), err);
}

qd_code qd_streams_enter(qd_streams *s, const qd_block *float_block, const qd_block *quantized_block, qd_error *err)
{
    s->block[QD_STREAM_FLOAT] = float_block;
    s->block[QD_STREAM_QUANTIZED] = quantized_block;
    store_width(s, 0);
    if (s->way.scope == QD_SCOPE_BLOCK)
        copy_rows(qd_matf_const(s->residual[QD_STREAM_QUANTIZED]), s->residual[QD_STREAM_FLOAT]);
    return qd_pool_for(s->pool, QD_STREAM_COUNT * s->sequences, enter_task, s, err);
}

/* The input of `group` for one sequence, by way of the groups between the stored one and it, which leave the residual
 * alone. The view is either the stored input or one of the worker's temporaries. */
static qd_code reach(qd_streams *s, size_t stream, size_t sequence, size_t group, size_t worker, qd_cmatf *out,
                     qd_error *err)
{
    const qd_block *block = s->block[stream];
    qd_matf residual = rows_of(s->residual[stream], sequence, s->length);
    qd_cmatf current = qd_matf_const(rows_of(s->input[stream], sequence, s->length));
    qd_code code = QD_OK;
    for (size_t g = s->stored; code == QD_OK && g < group; g++) {
        qd_matf next =
            qd_matf_view(s->temporary[2 * worker + g % 2].view.data, s->length, qd_block_group_width(block, g + 1));
        code = qd_block_advance(block, g, residual, current, s->scratch[worker], next, err);
        current = qd_matf_const(next);
    }
    *out = current;
    return code;
}

typedef struct gathering {
    qd_streams *streams;
    qd_stream stream;
    size_t group, first;
    qd_matf out; /* counted tokens of the sequences x width */
} gathering;

static qd_code gather_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const gathering *g = ctx;
    qd_cmatf input;
    qd_code code = qd_cancel_check(g->streams->cancel, err);
    if (code == QD_OK)
        code = reach(g->streams, g->stream, g->first + index, g->group, worker, &input, err);
    if (code == QD_OK)
        copy_rows(counted_rows(g->streams, input), rows_of(g->out, index, counted(g->streams)));
    return code;
}

/* Sequences from `first` on, `most` of them, that go into one sum. */
static size_t run_of(const qd_streams *s, size_t first, size_t most, const qd_gram *held)
{
    size_t count = 1;
    most = qd_min_size(most, s->sequences - first);
    while (count < most && (held == NULL || qd_holdout_takes(first + count) == qd_holdout_takes(first)))
        count++;
    return count;
}

/* Chunk by chunk, so that cancelling is heard; where the input is stored and all of it counts, no copy is made. */
qd_code qd_streams_gram(qd_streams *s, qd_stream stream, size_t group, qd_gram *gram, qd_gram *held, qd_error *err)
{
    size_t at_once = qd_max_size(1, CHUNK_TOKENS / s->length), tokens = counted(s),
           width = qd_block_group_width(s->block[stream], group);
    bool in_place = group == s->stored && left_out(s) == 0;
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf chunk = { 0 };
    qd_code code = in_place ? QD_OK : qd_matf_buf_init(&chunk, at_once * tokens, width, err);
    for (size_t first = 0, count; code == QD_OK && first < s->sequences; first += count) {
        count = run_of(s, first, at_once, held);
        qd_cmatf rows = qd_cmatf_block(qd_matf_const(in_place ? s->input[stream] : chunk.view),
                                       in_place ? first * tokens : 0, 0, count * tokens, width);
        gathering g = { s, stream, group, first, chunk.view };
        code = in_place ? qd_cancel_check(s->cancel, err) : qd_pool_for(s->pool, count, gather_task, &g, err);
        if (code == QD_OK)
            code = qd_gram_add(held != NULL && qd_holdout_takes(first) ? held : gram, rows, s->pool, err);
    }
    return code;
}

/* Counted tokens of some sequences of one part, from both streams. */
typedef struct pairing {
    qd_streams *streams;
    size_t group;
    size_t *sequence;                    /* of each task */
    qd_matf difference, input, residual; /* X - X~, X~, R - R~ (no columns where it is not wanted) */
} pairing;

static void subtract_rows(qd_cmatf from, qd_cmatf what, qd_matf out)
{
    for (size_t t = 0; t < out.rows; t++)
        for (size_t j = 0; j < out.cols; j++)
            qd_matf_row(out, t)[j] = qd_cmatf_row(from, t)[j] - qd_cmatf_row(what, t)[j];
}

static qd_cmatf residual_rows(const qd_streams *s, size_t stream, size_t sequence)
{
    return counted_rows(s, qd_matf_const(rows_of(s->residual[stream], sequence, s->length)));
}

static qd_code pair_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const pairing *p = ctx;
    qd_streams *s = p->streams;
    qd_cmatf input;
    size_t sequence = p->sequence[index];
    qd_matf x = rows_of(p->input, index, counted(s)), d = rows_of(p->difference, index, counted(s));
    qd_code code = qd_cancel_check(s->cancel, err);
    if (code == QD_OK)
        code = reach(s, QD_STREAM_QUANTIZED, sequence, p->group, worker, &input, err);
    if (code != QD_OK)
        return code;
    copy_rows(counted_rows(s, input), x);
    code = reach(s, QD_STREAM_FLOAT, sequence, p->group, worker, &input, err);
    if (code != QD_OK)
        return code;
    subtract_rows(counted_rows(s, input), qd_matf_const(x), d);
    if (p->residual.cols > 0)
        subtract_rows(residual_rows(s, QD_STREAM_FLOAT, sequence), residual_rows(s, QD_STREAM_QUANTIZED, sequence),
                      rows_of(p->residual, index, counted(s)));
    return QD_OK;
}

static qd_cmatf first_rows(qd_matf m, size_t count)
{
    return qd_cmatf_block(qd_matf_const(m), 0, 0, count, m.cols);
}

static qd_code add_part(const pairing *p, qd_part part, size_t at_once, qd_mismatch *mismatch, qd_error *err)
{
    qd_streams *s = p->streams;
    qd_code code = QD_OK;
    for (size_t next = 0; code == QD_OK && next < s->sequences;) {
        size_t count = 0;
        for (; next < s->sequences && count < at_once; next++)
            if (qd_part_of(next, s->sequences) == part)
                p->sequence[count++] = next;
        if (count == 0)
            break;
        size_t tokens = count * counted(s);
        qd_pairs pairs = { first_rows(p->difference, tokens), first_rows(p->input, tokens), { 0 } };
        if (p->residual.cols > 0)
            pairs.residual = first_rows(p->residual, tokens);
        code = qd_pool_for(s->pool, count, pair_task, (void *)(uintptr_t)p, err);
        if (code == QD_OK)
            code = qd_mismatch_add(mismatch, part, &pairs, s->pool, err);
    }
    return code;
}

/* Chunk by chunk; both parts in the same chunks for any number of threads. */
qd_code qd_streams_mismatch(qd_streams *s, size_t group, qd_mismatch *mismatch, qd_error *err)
{
    size_t at_once = qd_max_size(1, CHUNK_TOKENS / s->length), tokens = at_once * counted(s),
           width = qd_block_group_width(s->block[QD_STREAM_QUANTIZED], group), outputs = mismatch->residual.outputs;
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf difference = { 0 };
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf input = { 0 };
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf residual = { 0 };
    QD_AUTO(qd_free_pointer) void *sequence = NULL;
    qd_code code = qd_matf_buf_init(&difference, tokens, width, err);
    if (code == QD_OK)
        code = qd_matf_buf_init(&input, tokens, width, err);
    if (code == QD_OK && outputs > 0)
        code = qd_matf_buf_init(&residual, tokens, outputs, err);
    if (code == QD_OK)
        code = qd_alloc(at_once, sizeof(size_t), &sequence, err);
    pairing p = { s, group, sequence, difference.view, input.view, residual.view };
    for (qd_part part = QD_PART_FIT; code == QD_OK && part < QD_PART_COUNT; part++)
        code = add_part(&p, part, at_once, mismatch, err);
    return code;
}

typedef struct step {
    qd_streams *streams;
    size_t group;
} step;

/* Runs the group for one sequence; the next input goes through a temporary, since it may replace the stored one. */
static qd_code advance_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const step *a = ctx;
    qd_streams *s = a->streams;
    size_t stream = index / s->sequences, sequence = index % s->sequences;
    const qd_block *block = s->block[stream];
    bool last = a->group + 1 == qd_block_groups(block);
    size_t width = last ? 0 : qd_block_group_width(block, a->group + 1);
    qd_matf next = qd_matf_view(s->temporary[2 * worker + a->group % 2].view.data, last ? 0 : s->length, width);
    qd_cmatf input;
    qd_code code = qd_cancel_check(s->cancel, err);
    if (code == QD_OK)
        code = reach(s, stream, sequence, a->group, worker, &input, err);
    if (code == QD_OK)
        code = qd_block_advance(block, a->group, rows_of(s->residual[stream], sequence, s->length), input,
                                s->scratch[worker], next, err);
    /* Rows keep their place although the width changes: their stride is the widest stored width. */
    if (code == QD_OK && !last)
        copy_rows(qd_matf_const(next), (qd_matf){ s->length, width, s->input_stride,
                                                  s->input_memory[stream] + sequence * s->length * s->input_stride });
    return code;
}

qd_code qd_streams_advance(qd_streams *s, size_t group, qd_error *err)
{
    const qd_block *block = s->block[QD_STREAM_QUANTIZED];
    bool last = group + 1 == qd_block_groups(block);
    if (!last && !is_stored(block, group + 1))
        return QD_OK;
    step a = { s, group };
    qd_code code = qd_pool_for(s->pool, QD_STREAM_COUNT * s->sequences, advance_task, &a, err);
    if (code == QD_OK && !last)
        store_width(s, group + 1);
    return code;
}

qd_code qd_streams_difference(const qd_streams *s, double *out, qd_error *err)
{
    double difference = 0, size = 0;
    qd_cmatf x = qd_matf_const(s->residual[QD_STREAM_FLOAT]), y = qd_matf_const(s->residual[QD_STREAM_QUANTIZED]);
    for (size_t t = 0; t < x.rows; t++) {
        double row_difference = 0, row_size = 0;
        const float *a = qd_cmatf_row(x, t), *b = qd_cmatf_row(y, t);
        for (size_t i = 0; i < x.cols; i++) {
            double d = (double)a[i] - (double)b[i];
            row_difference += d * d;
            row_size += (double)a[i] * (double)a[i];
        }
        difference += row_difference;
        size += row_size;
    }
    if (!isfinite(difference) || !isfinite(size))
        return qd_fail(err, QD_ENUMERIC, "activations are not finite after this block");
    *out = size > 0 ? sqrt(difference / size) : 0;
    return QD_OK;
}
