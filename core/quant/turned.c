/* turned.c: see turned.h. */
#include "quant/turned.h"

/* Rows of moments with the residual stream: A M^T, B M^T. */
static qd_code turn_residual(qd_mismatch *mismatch, const qd_hadamard *basis, qd_pool *pool, qd_error *err)
{
    qd_code code = qd_hadamard_rows(basis, QD_TURN, mismatch->residual.input.view, pool, err);
    if (code == QD_OK)
        code = qd_hadamard_rows(basis, QD_TURN, mismatch->residual.difference.sum.view, pool, err);
    for (size_t i = 0; code == QD_OK && i < QD_PART_COUNT; i++)
        code = qd_hadamard_rows(basis, QD_TURN, mismatch->part[i].residual.sum.view, pool, err);
    return code;
}

qd_code qd_mismatch_turn(qd_mismatch *mismatch, const qd_hadamard *basis, qd_pool *pool, qd_error *err)
{
    qd_code code = qd_hadamard_gram(basis, mismatch->hessian.view, pool, err);
    if (code == QD_OK)
        code = qd_hadamard_gram(basis, mismatch->own.view, pool, err);
    if (code == QD_OK)
        code = qd_hadamard_moment(basis, mismatch->cross.view, pool, err);
    for (size_t i = 0; code == QD_OK && i < QD_PART_COUNT; i++) {
        qd_moments *part = &mismatch->part[i];
        code = qd_hadamard_gram(basis, part->hessian.sum.view, pool, err);
        if (code == QD_OK)
            code = qd_hadamard_gram(basis, part->own.sum.view, pool, err);
        if (code == QD_OK)
            code = qd_hadamard_moment(basis, part->cross.sum.view, pool, err);
    }
    return code == QD_OK && mismatch->residual.outputs > 0 ? turn_residual(mismatch, basis, pool, err) : code;
}

void qd_mismatch_float_moment(const qd_mismatch *mismatch, qd_matd out)
{
    qd_matd h = mismatch->hessian.view, k = mismatch->cross.view, m = mismatch->own.view;
    for (size_t i = 0; i < out.rows; i++)
        for (size_t j = 0; j < out.cols; j++)
            qd_matd_row(out, i)[j] =
                qd_matd_row(h, i)[j] + (qd_matd_row(k, i)[j] + qd_matd_row(k, j)[i]) + qd_matd_row(m, i)[j];
}
