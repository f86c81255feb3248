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

static qd_code init_residual(qd_mismatch *mismatch, size_t features, size_t outputs, qd_error *err)
{
    qd_residual *residual = &mismatch->residual;
    residual->outputs = outputs;
    qd_code code = qd_matd_buf_init(&residual->input, outputs, features, err);
    if (code == QD_OK)
        code = qd_gram_init_cross(&residual->difference, outputs, features, err);
    if (code == QD_OK)
        code = qd_alloc(outputs, sizeof *residual->square, (void **)&residual->square, err);
    for (size_t i = 0; code == QD_OK && i < QD_PART_COUNT; i++)
        code = qd_gram_init_cross(&mismatch->part[i].residual, outputs, features, err);
    return code;
}

qd_code qd_mismatch_init(qd_mismatch *mismatch, size_t features, size_t outputs, qd_error *err)
{
    *mismatch = (qd_mismatch){ 0 };
    qd_code code = qd_matd_buf_init(&mismatch->hessian, features, features, err);
    if (code == QD_OK)
        code = qd_matd_buf_init(&mismatch->cross, features, features, err);
    if (code == QD_OK)
        code = qd_matd_buf_init(&mismatch->own, features, features, err);
    for (size_t i = 0; code == QD_OK && i < QD_PART_COUNT; i++) {
        code = qd_gram_init(&mismatch->part[i].hessian, features, err);
        if (code == QD_OK)
            code = qd_gram_init(&mismatch->part[i].cross, features, err);
        if (code == QD_OK)
            code = qd_gram_init(&mismatch->part[i].own, features, err);
    }
    if (code == QD_OK && outputs > 0)
        code = init_residual(mismatch, features, outputs, err);
    if (code != QD_OK)
        qd_mismatch_fini(mismatch);
    return code;
}

/* Equal streams: the products would be zeros. */
static int is_zero(qd_cmatf m)
{
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

static qd_code add_residual(qd_mismatch *mismatch, qd_gram *input, const qd_pairs *pairs, qd_pool *pool, qd_error *err)
{
    qd_residual *residual = &mismatch->residual;
    qd_cmatf e = pairs->residual;
    if (e.rows != pairs->x.rows || e.cols != residual->outputs)
        return qd_fail(err, QD_ESHAPE, "residual: %zu x %zu, %zu x %zu were wanted", e.rows, e.cols, pairs->x.rows,
                       residual->outputs);
    if (is_zero(e)) {
        input->tokens += e.rows;
        residual->difference.tokens += e.rows;
        return QD_OK;
    }
    squares s = { e, residual->square };
    qd_code code = qd_pool_for(pool, (e.cols - 1) / SQUARE_COLUMNS + 1, square_task, &s, err);
    if (code == QD_OK)
        code = qd_gram_add_cross(input, e, pairs->x, pool, err);
    return code == QD_OK ? qd_gram_add_cross(&residual->difference, e, pairs->difference, pool, err) : code;
}

qd_code qd_mismatch_add(qd_mismatch *mismatch, qd_part part, const qd_pairs *pairs, qd_pool *pool, qd_error *err)
{
    qd_moments *moments = &mismatch->part[part];
    qd_cmatf x = pairs->x, difference = pairs->difference;
    qd_code code = qd_gram_add(&moments->hessian, x, pool, err);
    if (code == QD_OK && mismatch->residual.outputs > 0)
        code = add_residual(mismatch, &moments->residual, pairs, pool, err);
    if (code == QD_OK && is_zero(difference)) {
        moments->cross.tokens += x.rows;
        moments->own.tokens += x.rows;
        return QD_OK;
    }
    if (code == QD_OK)
        code = qd_gram_add_cross(&moments->cross, difference, x, pool, err);
    return code == QD_OK ? qd_gram_add(&moments->own, difference, pool, err) : code;
}

static qd_code total(const qd_gram *a, const qd_gram *b, qd_matd out, const char *what, qd_error *err)
{
    double tokens = (double)(a->tokens + b->tokens);
    for (size_t i = 0; i < out.rows; i++)
        for (size_t j = 0; j < out.cols; j++) {
            double value = (qd_matd_row(a->sum.view, i)[j] + qd_matd_row(b->sum.view, i)[j]) / tokens;
            if (!isfinite(value))
                return qd_fail(err, QD_ENUMERIC, "%s: entry (%zu, %zu) is not finite", what, i, j);
            qd_matd_row(out, i)[j] = value;
        }
    return QD_OK;
}

static qd_code finish_residual(qd_mismatch *mismatch, qd_error *err)
{
    qd_residual *residual = &mismatch->residual;
    qd_gram *fit = &mismatch->part[QD_PART_FIT].residual, *judge = &mismatch->part[QD_PART_JUDGE].residual;
    qd_code code = total(fit, judge, residual->input.view, "moments of the residual", err);
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
    qd_code code = total(&fit->own, &judge->own, mismatch->own.view, "moments of the difference", err);
    if (code == QD_OK)
        code = total(&fit->hessian, &judge->hessian, mismatch->hessian.view, "gram", err);
    if (code == QD_OK)
        code = total(&fit->cross, &judge->cross, mismatch->cross.view, "cross moments", err);
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
    return qd_factor_create(qd_matd_const(mismatch->part[QD_PART_FIT].hessian.sum.view), order, regularizer, value,
                            pool, &mismatch->fit, err);
}
