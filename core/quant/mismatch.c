/* mismatch.c: see mismatch.h. */
#include "quant/mismatch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "quant/holdout.h"

static const char *const scopes[] = { "model", "block" };
static const char *const starts[] = { "projected", "original" };

static int find(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return (int)i;
    return -1;
}

const char *qd_scope_name(size_t index)
{
    return index < QD_LENGTH(scopes) ? scopes[index] : NULL;
}

int qd_scope_find(const char *name)
{
    return find(scopes, QD_LENGTH(scopes), name);
}

const char *qd_start_name(size_t index)
{
    return index < QD_LENGTH(starts) ? starts[index] : NULL;
}

int qd_start_find(const char *name)
{
    return find(starts, QD_LENGTH(starts), name);
}

qd_part qd_part_of(size_t sequence, size_t sequences)
{
    size_t every = sequences < QD_HOLDOUT_EVERY ? sequences : QD_HOLDOUT_EVERY;
    return sequence % every == every - 1 ? QD_PART_JUDGE : QD_PART_FIT;
}

static void residual_fini(qd_residual *residual)
{
    qd_matd_buf_fini(&residual->input);
    qd_gram_fini(&residual->difference);
    free(residual->square);
}

void qd_mismatch_fini(qd_mismatch *mismatch)
{
    qd_matd_buf_fini(&mismatch->hessian);
    qd_matd_buf_fini(&mismatch->cross);
    qd_matd_buf_fini(&mismatch->own);
    for (size_t i = 0; i < QD_PART_COUNT; i++) {
        qd_gram_fini(&mismatch->part[i].hessian);
        qd_gram_fini(&mismatch->part[i].cross);
        qd_gram_fini(&mismatch->part[i].own);
        qd_gram_fini(&mismatch->part[i].residual);
    }
    qd_factor_destroy(mismatch->fit);
    residual_fini(&mismatch->residual);
    *mismatch = (qd_mismatch){ 0 };
}

void qd_mismatch_release(const qd_mismatch *mismatch)
{
    qd_matd_buf_release(&mismatch->hessian);
    qd_matd_buf_release(&mismatch->cross);
    qd_matd_buf_release(&mismatch->own);
    for (size_t i = 0; i < QD_PART_COUNT; i++) {
        qd_matd_buf_release(&mismatch->part[i].hessian.sum);
        qd_matd_buf_release(&mismatch->part[i].cross.sum);
        qd_matd_buf_release(&mismatch->part[i].own.sum);
        qd_matd_buf_release(&mismatch->part[i].residual.sum);
    }
    qd_matd_buf_release(&mismatch->residual.input);
    qd_matd_buf_release(&mismatch->residual.difference.sum);
    if (mismatch->fit != NULL)
        qd_factor_release(mismatch->fit);
}

static qd_code init_residual(qd_mismatch *mismatch, size_t features, size_t outputs, const char *folder, qd_error *err)
{
    qd_residual *residual = &mismatch->residual;
    residual->outputs = outputs;
    qd_code code = qd_matd_buf_init_in(&residual->input, outputs, features, folder, err);
    if (code == QD_OK)
        code = qd_gram_init_in(&residual->difference, outputs, features, folder, err);
    if (code == QD_OK)
        code = qd_alloc(outputs, sizeof *residual->square, (void **)&residual->square, err);
    for (size_t i = 0; code == QD_OK && i < QD_PART_COUNT; i++)
        code = qd_gram_init_in(&mismatch->part[i].residual, outputs, features, folder, err);
    return code;
}

qd_code qd_mismatch_init(qd_mismatch *mismatch, size_t features, size_t outputs, qd_error *err)
{
    return qd_mismatch_init_in(mismatch, features, outputs, NULL, err);
}

qd_code qd_mismatch_init_in(qd_mismatch *mismatch, size_t features, size_t outputs, const char *folder, qd_error *err)
{
    *mismatch = (qd_mismatch){ 0 };
    qd_code code = qd_matd_buf_init_in(&mismatch->hessian, features, features, folder, err);
    if (code == QD_OK)
        code = qd_matd_buf_init_in(&mismatch->cross, features, features, folder, err);
    if (code == QD_OK)
        code = qd_matd_buf_init_in(&mismatch->own, features, features, folder, err);
    for (size_t i = 0; code == QD_OK && i < QD_PART_COUNT; i++) {
        code = qd_gram_init_in(&mismatch->part[i].hessian, features, features, folder, err);
        if (code == QD_OK)
            code = qd_gram_init_in(&mismatch->part[i].cross, features, features, folder, err);
        if (code == QD_OK)
            code = qd_gram_init_in(&mismatch->part[i].own, features, features, folder, err);
    }
    if (code == QD_OK && outputs > 0)
        code = init_residual(mismatch, features, outputs, folder, err);
    if (code != QD_OK)
        qd_mismatch_fini(mismatch);
    return code;
}

void qd_mismatch_compute_in(qd_mismatch *mismatch, qd_arithmetic arithmetic)
{
    for (size_t i = 0; i < QD_PART_COUNT; i++) {
        qd_moments *part = &mismatch->part[i];
        part->hessian.arithmetic = part->cross.arithmetic = part->own.arithmetic = part->residual.arithmetic =
            arithmetic;
    }
    mismatch->residual.difference.arithmetic = arithmetic;
}

/* Equal streams: the products would be zeros. (Of what is read, packing finds it.) */
static int is_zero(qd_cmatf m)
{
    if (m.data == NULL)
        return 0;
    for (size_t i = 0; i < m.rows; i++)
        for (size_t j = 0; j < m.cols; j++)
            if (!(qd_cmatf_row(m, i)[j] == 0.0f))
                return 0;
    return 1;
}

/* Columns of E by blocks: a block's sums are one task's. */
enum { SQUARE_COLUMNS = 64 };
typedef struct squares {
    qd_cmatf e;
    double *sum;
} squares;

static qd_code square_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const squares *s = ctx;
    size_t from = index * SQUARE_COLUMNS, end = qd_min_size(from + SQUARE_COLUMNS, s->e.cols);
    (void)worker;
    (void)err;
    for (size_t t = 0; t < s->e.rows; t++)
        for (size_t i = from; i < end; i++) {
            double e = (double)qd_cmatf_row(s->e, t)[i];
            s->sum[i] += e * e;
        }
    return QD_OK;
}

static qd_code add_squares(qd_residual *residual, const qd_pairs *pairs, qd_pool *pool, qd_error *err)
{
    qd_cmatf e = pairs->residual;
    if (e.rows != pairs->x.rows || e.cols != residual->outputs)
        return qd_fail(err, QD_ESHAPE, "residual: %zu x %zu, %zu x %zu were wanted", e.rows, e.cols, pairs->x.rows,
                       residual->outputs);
    squares s = { e, residual->square };
    return qd_pool_for(pool, (e.cols - 1) / SQUARE_COLUMNS + 1, square_task, &s, err);
}

/* The sums of a part: all of the same inputs, X~, D and E. What is zero only has its tokens counted. */
qd_code qd_mismatch_add(qd_mismatch *mismatch, qd_part part, const qd_pairs *pairs, qd_pool *pool, qd_error *err)
{
    enum { X = QD_PAIRS_X, D = QD_PAIRS_DIFFERENCE, E = QD_PAIRS_RESIDUAL };
    qd_moments *moments = &mismatch->part[part];
    const bool repairs = mismatch->residual.outputs > 0;
    qd_code code = repairs ? add_squares(&mismatch->residual, pairs, pool, err) : QD_OK;
    if (code != QD_OK)
        return code;
    const bool differ = !is_zero(pairs->difference), misses = repairs && !is_zero(pairs->residual);
    const qd_gram_inputs inputs = {
        .count = misses ? 3 : 2,
        .input = { [X] = pairs->x, [D] = pairs->difference, [E] = pairs->residual },
        .read = pairs->read,
        .ctx = pairs->ctx,
        .room = pairs->room,
    };
    const struct {
        qd_gram_term term;
        bool counts, added;
    } all[] = {
        { { &moments->hessian, X, X }, true, true },
        { { &moments->residual, E, X }, repairs, misses },
        { { &mismatch->residual.difference, E, D }, repairs, misses },
        { { &moments->cross, D, X }, true, differ },
        { { &moments->own, D, D }, true, differ },
    };
    qd_gram_term terms[QD_LENGTH(all)];
    size_t count = 0;
    for (size_t i = 0; i < QD_LENGTH(all); i++)
        if (all[i].added)
            terms[count++] = all[i].term;
        else if (all[i].counts)
            all[i].term.gram->tokens += pairs->x.rows;
    return qd_gram_add_terms(&inputs, terms, count, pool, err);
}

static qd_code total(qd_gram *a, qd_gram *b, const qd_matd_buf *buf, const char *what, qd_error *err)
{
    double tokens = (double)(a->tokens + b->tokens);
    qd_matd out = buf->view;
    qd_gram_complete(a);
    qd_gram_complete(b);
    for (size_t i = 0; i < out.rows; i++) {
        for (size_t j = 0; j < out.cols; j++) {
            double value = (qd_matd_row(a->sum.view, i)[j] + qd_matd_row(b->sum.view, i)[j]) / tokens;
            if (!isfinite(value))
                return qd_fail(err, QD_ENUMERIC, "%s: entry (%zu, %zu) is not finite", what, i, j);
            qd_matd_row(out, i)[j] = value;
        }
        qd_matd_buf_release_rows(&a->sum, i, 1);
        qd_matd_buf_release_rows(&b->sum, i, 1);
        qd_matd_buf_release_rows(buf, i, 1);
    }
    return QD_OK;
}

static qd_code finish_residual(qd_mismatch *mismatch, qd_error *err)
{
    qd_residual *residual = &mismatch->residual;
    qd_gram *fit = &mismatch->part[QD_PART_FIT].residual, *judge = &mismatch->part[QD_PART_JUDGE].residual;
    qd_code code = total(fit, judge, &residual->input, "moments of the residual", err);
    if (code == QD_OK)
        code = qd_gram_finish(&residual->difference, err);
    for (size_t i = 0; code == QD_OK && i < residual->outputs; i++) {
        residual->square[i] /= (double)mismatch->tokens;
        if (!isfinite(residual->square[i]))
            return qd_fail(err, QD_ENUMERIC, "moments of the residual: feature %zu is not finite", i);
    }
    for (size_t i = 0; code == QD_OK && i < QD_PART_COUNT; i++)
        if (mismatch->part[i].residual.tokens > 0)
            code = qd_gram_finish(&mismatch->part[i].residual, err);
    return code;
}

qd_code qd_mismatch_finish(qd_mismatch *mismatch, qd_error *err)
{
    qd_moments *fit = &mismatch->part[QD_PART_FIT], *judge = &mismatch->part[QD_PART_JUDGE];
    mismatch->tokens = fit->hessian.tokens + judge->hessian.tokens;
    if (mismatch->tokens == 0)
        return qd_fail(err, QD_ENUMERIC, "gram: no tokens were added");
    qd_code code = total(&fit->own, &judge->own, &mismatch->own, "moments of the difference", err);
    if (code == QD_OK)
        code = total(&fit->hessian, &judge->hessian, &mismatch->hessian, "gram", err);
    if (code == QD_OK)
        code = total(&fit->cross, &judge->cross, &mismatch->cross, "cross moments", err);
    if (code == QD_OK && mismatch->residual.outputs > 0)
        code = finish_residual(mismatch, err);
    for (size_t i = 0; code == QD_OK && i < QD_PART_COUNT; i++)
        if (mismatch->part[i].hessian.tokens > 0) {
            code = qd_gram_finish(&mismatch->part[i].hessian, err);
            if (code == QD_OK)
                code = qd_gram_finish(&mismatch->part[i].cross, err);
            if (code == QD_OK)
                code = qd_gram_finish(&mismatch->part[i].own, err);
        }
    return code;
}

qd_code qd_mismatch_split(qd_mismatch *mismatch, const qd_order *order, const qd_regularizer *regularizer, double value,
                          qd_pool *pool, qd_error *err)
{
    for (size_t i = 0; i < QD_PART_COUNT; i++)
        if (mismatch->part[i].hessian.tokens == 0)
            return qd_fail(err, QD_EINVAL, "mismatch.shrink: 'auto' needs two calibration sequences at least");
    const qd_matd_buf *fit = &mismatch->part[QD_PART_FIT].hessian.sum;
    qd_code code = qd_factor_create_in(qd_matd_const(fit->view), order, regularizer, value, NULL, pool,
                                       fit->file.folder, &mismatch->fit, err);
    if (code == QD_OK)
        qd_matd_buf_fini(&mismatch->fit->hessian); /* only C is asked for */
    qd_mismatch_release(mismatch);
    return code;
}
