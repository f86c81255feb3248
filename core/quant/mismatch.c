/* mismatch.c: see mismatch.h. */
#include "quant/mismatch.h"

#include <math.h>
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

void qd_mismatch_fini(qd_mismatch *mismatch)
{
    qd_matd_buf_fini(&mismatch->hessian);
    qd_matd_buf_fini(&mismatch->cross);
    qd_matd_buf_fini(&mismatch->own);
    for (size_t i = 0; i < QD_PART_COUNT; i++) {
        qd_gram_fini(&mismatch->part[i].hessian);
        qd_gram_fini(&mismatch->part[i].cross);
        qd_gram_fini(&mismatch->part[i].own);
    }
    qd_factor_destroy(mismatch->fit);
    *mismatch = (qd_mismatch){ 0 };
}

qd_code qd_mismatch_init(qd_mismatch *mismatch, size_t features, qd_error *err)
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

qd_code qd_mismatch_add(qd_mismatch *mismatch, qd_part part, qd_cmatf difference, qd_cmatf x, qd_pool *pool,
                        qd_error *err)
{
    qd_moments *moments = &mismatch->part[part];
    qd_code code = qd_gram_add(&moments->hessian, x, pool, err);
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
