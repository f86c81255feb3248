/* chol.c: see chol.h. */
#include "linalg/chol.h"

#include <lapacke.h>
#include <limits.h>

enum { SQUARE = 16 }; /* of a matrix that is mirrored: fits the first cache on both sides */

/* J H J into c, upper triangle: row i of H, from its diagonal on, reversed, is column n-1-i from its start on, and so, H being symmetric in
 * its upper triangle alone, squares of it go to squares of c across the other diagonal. */
static void flip_in(qd_cmatd h, double shift, qd_matd c)
{
    size_t n = h.rows;
    for (size_t ib = 0; ib < n; ib += SQUARE)
        for (size_t jb = ib; jb < n; jb += SQUARE)
            for (size_t j = jb; j < jb + SQUARE && j < n; j++)
                for (size_t i = ib; i < ib + SQUARE && i <= j; i++)
                    qd_matd_row(c, n - 1 - j)[n - 1 - i] = qd_cmatd_row(h, i)[j];
    for (size_t i = 0; i < n; i++)
        qd_matd_row(c, i)[i] += shift;
}

/* In place: L^T, above the diagonal of c, becomes C = J L J, which is its mirror image across the other diagonal; below it are zeros. */
static void flip_back(qd_matd c)
{
    size_t n = c.rows;
    for (size_t ib = 0; ib < n; ib += SQUARE)
        for (size_t jb = ib; jb < n; jb += SQUARE)
            for (size_t i = ib; i < ib + SQUARE && i < n; i++)
                for (size_t j = jb > i ? jb : i; j < jb + SQUARE && i + j < n - 1; j++) {
                    double *one = &c.data[i * n + j], *other = &c.data[(n - 1 - j) * n + n - 1 - i], value = *one;
                    *one = *other;
                    *other = value;
                }
    for (size_t i = 1; i < n; i++)
        for (size_t j = 0; j < i; j++)
            c.data[i * n + j] = 0.0;
}

qd_code qd_chol_reversed(qd_cmatd h, double shift, qd_matd c, qd_error *err)
{
    if (h.rows != h.cols)
        return qd_fail(err, QD_ESHAPE, "cholesky: %zu x %zu is not square", h.rows, h.cols);
    if (c.rows != h.rows || c.cols != h.cols || c.ld != c.cols || h.rows > INT_MAX)
        return qd_fail(err, QD_ESHAPE, "cholesky: no room for a factor of %zu x %zu", h.rows, h.cols);
    if (h.rows == 0)
        return QD_OK;
    flip_in(h, shift, c);
    /* Row-major upper is column-major lower: no transposed copy inside LAPACKE, and the faster half of its two. */
    lapack_int n = (lapack_int)h.rows;
    lapack_int info = LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', n, c.data, n);
    if (info > 0)
        return qd_fail(err, QD_ENUMERIC, "cholesky: pivot %d of %d is not positive", n - info, n);
    assert(info == 0);
    for (size_t i = 0; i < c.rows; i++) /* OpenBLAS lets NaN through: a comparison with NaN is false */
        if (!(c.data[i * c.cols + i] > 0.0 && c.data[i * c.cols + i] <= 1e300))
            return qd_fail(err, QD_ENUMERIC, "cholesky: pivot %zu of %d is not positive and finite", c.rows - 1 - i, n);
    flip_back(c);
    return QD_OK;
}
