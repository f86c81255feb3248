/* choice.c: see choice.h. Sequences are not padded: each is a task of its own length. */
#include "eval/choice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "eval/choice_forks.h"
#include "eval/walk.h"
#include "linalg/vexp.h"

enum { SLICE_BYTES = 16 << 20, SLICE_MOST = 256, SLICE_LEAST = 8 }; /* rows of logits at a time */

/* One model's working memory. */
typedef struct lane {
    qd_stream stream;
    const qd_block *block; /* at hand */
} lane;

/* A row of hidden states that a word is asked of. */
typedef struct spot {
    size_t hidden; /* row in the batch */
    uint32_t word;
} spot;

typedef struct measurement {
    const qd_continuation *asked;
    size_t count;
    qd_grove grove;
    const qd_progress *progress;
    const qd_cancel *cancel;
    lane lanes[QD_RIVALS_MAX];
    size_t lane_count;
    /* a batch: the trees [first, end), whose places are neighbours too */
    size_t first, end;
    spot *spots;
    size_t spot_count, spot_capacity;
    double *log_p; /* lanes x spots */
    unsigned char *top;
    /* logits */
    size_t slice, thread_count;
    qd_matf_buf *normed, *logits; /* one a thread */
} measurement;

static void measurement_fini(measurement *m)
{
    for (size_t i = 0; i < m->lane_count; i++)
        qd_stream_fini(&m->lanes[i].stream);
    for (size_t i = 0; i < m->thread_count; i++) {
        qd_matf_buf_fini(&m->normed[i]);
        qd_matf_buf_fini(&m->logits[i]);
    }
    qd_grove_fini(&m->grove);
    void *all[] = { m->spots, m->log_p, m->top, m->normed, m->logits };
    for (size_t i = 0; i < QD_LENGTH(all); i++)
        free(all[i]);
}

static const qd_continuation *at_place(const measurement *m, size_t index)
{
    return &m->asked[m->grove.places[index].index];
}

/* ---- a batch ---- */

/* Row in the batch of a continuation's token. */
static size_t row_of(const measurement *m, const qd_walk_tree *t, size_t at, size_t token)
{
    size_t within = token < t->trunk ? token : m->grove.branch_row[m->grove.places[at].walker] + token - t->trunk;
    return t->row + within;
}

static qd_code add_spots(measurement *m, const qd_walk_tree *t, size_t at, qd_error *err)
{
    const qd_continuation *c = at_place(m, at);
    qd_code code = qd_grow((void **)&m->spots, &m->spot_capacity, m->spot_count + c->asked, sizeof *m->spots, err);
    for (size_t i = c->count - c->asked; code == QD_OK && i < c->count; i++)
        m->spots[m->spot_count++] = (spot){ row_of(m, t, at, i - 1), c->ids[i] };
    return code;
}

/* From m->first on, as many trees as fit into `most` rows, at least one. */
static qd_code choose_batch(measurement *m, size_t most, qd_error *err)
{
    size_t rows = 0;
    qd_code code = QD_OK;
    m->spot_count = 0;
    for (m->end = m->first; code == QD_OK && m->end < m->grove.tree_count; m->end++) {
        qd_walk_tree *t = &m->grove.trees[m->end];
        if (rows > 0 && rows + t->rows > most)
            break;
        t->row = rows;
        rows += t->rows;
        for (size_t at = t->first; code == QD_OK && at < t->end; at++)
            code = add_spots(m, t, at, err);
    }
    return code;
}

static qd_matf hidden_of(const lane *l, const qd_walk_tree *t)
{
    return qd_matf_block(l->stream.hidden, t->row, 0, t->rows, l->stream.hidden.cols);
}

typedef struct part {
    const measurement *m;
    const lane *lane;
} part;

static qd_code embed_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const part *p = ctx;
    const qd_walk_tree *t = &p->m->grove.trees[p->m->first + index];
    (void)worker;
    return qd_model_embed_fork(p->lane->stream.model, &t->shape, t->ids, hidden_of(p->lane, t), err);
}

static qd_code block_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const part *p = ctx;
    const qd_walk_tree *t = &p->m->grove.trees[p->m->first + index];
    qd_code code = qd_cancel_check(p->m->cancel, err);
    return code == QD_OK ? qd_block_forward_fork(p->lane->block, &t->shape, hidden_of(p->lane, t),
                                                 p->lane->stream.scratch[worker], err)
                         : code;
}

static qd_code run_block(measurement *m, lane *l, size_t index, qd_pool *pool, qd_error *err)
{
    qd_block *block = NULL;
    part p = { m, l };
    qd_code code = qd_block_load(l->stream.model, index, l->stream.overlay, QD_ARITHMETIC_FLOAT32, &block, err);
    l->block = block;
    if (code == QD_OK)
        code = qd_pool_for(pool, m->end - m->first, block_task, &p, err);
    qd_block_destroy(block);
    l->block = NULL;
    return code;
}

/* The head counts as one more block. */
static void report(const measurement *m, size_t done, size_t blocks)
{
    size_t before = m->grove.trees[m->first].first, batch = m->grove.trees[m->end - 1].end - before;
    qd_progress_step(m->progress, before + batch * done / (blocks + 1), m->count, "requests");
}

static qd_code walk(measurement *m, qd_pool *pool, qd_error *err)
{
    qd_code code = QD_OK;
    size_t blocks = qd_model_borrow_config(m->lanes[0].stream.model)->blocks;
    for (size_t s = 0; code == QD_OK && s < m->lane_count; s++) {
        part p = { m, &m->lanes[s] };
        code = qd_pool_for(pool, m->end - m->first, embed_task, &p, err);
    }
    for (size_t i = 0; code == QD_OK && i < blocks; i++) {
        for (size_t s = 0; code == QD_OK && s < m->lane_count; s++)
            code = run_block(m, &m->lanes[s], i, pool, err);
        if (code == QD_OK)
            report(m, i + 1, blocks);
    }
    return code;
}

/* ---- the words that are asked for ---- */

/* log p of the word in a row of logits, and whether it is the likeliest. */
static void judge(const float *row, size_t count, uint32_t word, double *out_log_p, unsigned char *out_top)
{
    float max;
    double sum;
    qd_exp_sum_row(row, count, &max, &sum);
    *out_log_p = (double)row[word] - (double)max - log(sum);
    size_t first = 0;
    while (first < word && row[first] < max)
        first++;
    *out_top = first == word && row[word] >= max;
}

static qd_code spots_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const measurement *m = ctx;
    const lane *l = &m->lanes[index % m->lane_count];
    size_t from = index / m->lane_count * m->slice, count = qd_min_size(m->slice, m->spot_count - from);
    qd_matf normed = m->normed[worker].view, logits = m->logits[worker].view;
    normed.rows = logits.rows = count;
    qd_code code = qd_cancel_check(m->cancel, err);
    for (size_t i = 0; i < count; i++)
        memcpy(qd_matf_row(normed, i), qd_matf_row(l->stream.hidden, m->spots[from + i].hidden),
               normed.cols * sizeof(float));
    if (code == QD_OK)
        code = qd_model_final_norm(l->stream.model, normed, err);
    if (code == QD_OK)
        code = qd_model_logits(l->stream.model, qd_matf_const(normed), logits, err);
    size_t at = index % m->lane_count * m->spot_count + from;
    for (size_t i = 0; code == QD_OK && i < count; i++)
        judge(qd_matf_row(logits, i), logits.cols, m->spots[from + i].word, &m->log_p[at + i], &m->top[at + i]);
    return code;
}

static qd_code collect(const measurement *m, qd_likelihood *out, qd_error *err)
{
    for (size_t s = 0; s < m->lane_count; s++) {
        size_t at = s * m->spot_count;
        for (size_t p = m->grove.trees[m->first].first; p < m->grove.trees[m->end - 1].end; p++) {
            qd_likelihood *to = &out[s * m->count + m->grove.places[p].index];
            *to = (qd_likelihood){ 0, true };
            for (size_t i = 0; i < at_place(m, p)->asked; i++, at++) {
                to->log_p += m->log_p[at];
                to->greedy = to->greedy && m->top[at];
            }
            if (!isfinite(to->log_p))
                return qd_fail(err, QD_ENUMERIC, "the log-likelihood of request %zu of %zu is not finite",
                               m->grove.places[p].index, m->count);
        }
    }
    return QD_OK;
}

static qd_code answer_batch(measurement *m, qd_pool *pool, qd_likelihood *out, qd_error *err)
{
    size_t numbers = m->lane_count * m->spot_count, slices = (m->spot_count + m->slice - 1) / m->slice;
    free(m->log_p);
    free(m->top);
    m->log_p = NULL;
    m->top = NULL;
    qd_code code = qd_alloc(numbers, sizeof *m->log_p, (void **)&m->log_p, err);
    if (code == QD_OK)
        code = qd_alloc(numbers, 1, (void **)&m->top, err);
    if (code == QD_OK)
        code = walk(m, pool, err);
    if (code == QD_OK)
        code = qd_pool_for(pool, slices * m->lane_count, spots_task, m, err);
    return code == QD_OK ? collect(m, out, err) : code;
}

/* ---- all of it ---- */

static qd_code check_models(const qd_rival *models, size_t count, qd_error *err)
{
    const qd_model_config *first = qd_model_borrow_config(models[0].model);
    for (size_t i = 1; i < count; i++) {
        const qd_model_config *other = qd_model_borrow_config(models[i].model);
        if (other->vocabulary != first->vocabulary || other->blocks != first->blocks || other->hidden != first->hidden)
            return qd_fail(
                err, QD_ESHAPE, "%zu words, %zu blocks and width %zu beside the first model's %zu, %zu and %zu",
                other->vocabulary, other->blocks, other->hidden, first->vocabulary, first->blocks, first->hidden);
    }
    return QD_OK;
}

/* The ids that walk are judged by what embeds them; the last one is only looked up. */
static qd_code check_asked(const qd_model *model, const qd_continuation *c, qd_error *err)
{
    size_t vocabulary = qd_model_borrow_config(model)->vocabulary;
    if (c->asked == 0 || c->asked >= c->count)
        return qd_fail(err, QD_EINVAL, "%zu of %zu ids are asked for: wanted are 1 to all but the first", c->asked,
                       c->count);
    for (size_t i = 0; i < c->count; i++)
        if (c->ids[i] >= vocabulary)
            return qd_fail(err, QD_EINVAL, "token id %u is not below the vocabulary of %zu", c->ids[i], vocabulary);
    return qd_walk_check(model, 1, qd_continuation_walks(c), 1, err);
}

static qd_code prepare_threads(measurement *m, size_t threads, const qd_model_config *config, qd_error *err)
{
    m->slice = qd_max_size(SLICE_LEAST, qd_min_size(SLICE_MOST, SLICE_BYTES / (config->vocabulary * sizeof(float))));
    qd_code code = qd_alloc(threads, sizeof *m->normed, (void **)&m->normed, err);
    if (code == QD_OK)
        code = qd_alloc(threads, sizeof *m->logits, (void **)&m->logits, err);
    m->thread_count = code == QD_OK ? threads : 0;
    for (size_t i = 0; code == QD_OK && i < threads; i++) {
        code = qd_matf_buf_init(&m->normed[i], m->slice, config->hidden, err);
        if (code == QD_OK)
            code = qd_matf_buf_init(&m->logits[i], m->slice, config->vocabulary, err);
    }
    return code;
}

/* rows: of a batch at most; its tokens may be fewer. */
static qd_code prepare(measurement *m, const qd_rival *models, size_t model_count, size_t threads, size_t *out_rows,
                       qd_error *err)
{
    size_t longest = 0, total = 0;
    qd_code code = qd_grove_plant(models[0].model, m->asked, m->count, &m->grove, err);
    for (size_t i = 0; code == QD_OK && i < m->grove.tree_count; i++) {
        longest = qd_max_size(longest, m->grove.trees[i].rows);
        total += m->grove.trees[i].rows;
    }
    /* as many as a batch of single tokens would have, and at least the largest tree's */
    *out_rows = qd_max_size(longest, qd_min_size(total, qd_walk_sequences(models[0].model, 1, model_count)));
    if (code == QD_OK)
        code = prepare_threads(m, threads, qd_model_borrow_config(models[0].model), err);
    for (; code == QD_OK && m->lane_count < model_count; m->lane_count++)
        code = qd_stream_init_rows(models[m->lane_count].model, models[m->lane_count].overlay, *out_rows, longest,
                                   threads, &m->lanes[m->lane_count].stream, err);
    return code;
}

qd_code qd_choice_measure(const qd_rival *models, size_t model_count, const qd_continuation *asked, size_t count,
                          qd_pool *pool, const qd_progress *progress, const qd_cancel *cancel, qd_likelihood *out,
                          qd_error *err)
{
    QD_AUTO(measurement_fini)
    measurement m = { .asked = asked, .count = count, .progress = progress, .cancel = cancel };
    size_t rows = 0;
    assert(model_count >= 1 && model_count <= QD_RIVALS_MAX);
    qd_code code = check_models(models, model_count, err);
    for (size_t i = 0; code == QD_OK && i < count; i++)
        code = check_asked(models[0].model, &asked[i], err);
    if (code != QD_OK || count == 0)
        return code;
    code = prepare(&m, models, model_count, qd_pool_threads(pool), &rows, err);
    for (; code == QD_OK && m.first < m.grove.tree_count; m.first = m.end) {
        code = choose_batch(&m, rows, err);
        if (code == QD_OK)
            code = answer_batch(&m, pool, out, err);
        if (code == QD_OK)
            qd_progress_step(progress, m.grove.trees[m.end - 1].end, count, "requests");
    }
    return code;
}
