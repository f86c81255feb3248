/* chol.c: see chol.h. */
#include "linalg/chol.h"

#include <lapacke.h>
#include <limits.h>

/* Row n-1-i of c, from its start up to the diagonal, becomes column i of h from the end: J H J, lower triangle. */
static void flip_in(qd_cmatd h, double shift, qd_matd c)
{
    size_t n = h.rows;
    for (size_t i = 0; i < n; i++) {
        const double *from = qd_cmatd_row(h, i);
        double *to = qd_matd_row(c, n - 1 - i);
        for (size_t j = i; j < n; j++)
            to[n - 1 - j] = from[j];
        to[n - 1 - i] += shift;
    }
}

/* J L J in place: reversing both indices of a contiguous square matrix reverses the array; what was below the diagonal
 * of J L J (above that of L) is set to zero. */
static void flip_back(qd_matd c)
{
    size_t n = c.rows;
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++)
            c.data[i * n + j] = 0.0;
    double *low = c.data, *high = c.data + n * n - 1;
    while (low < high) {
        double value = *low;
        *low++ = *high;
        *high-- = value;
    }
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
    /* Row-major lower is column-major upper: no transposed copy inside LAPACKE. */
    lapack_int n = (lapack_int)h.rows;
    lapack_int info = LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'U', n, c.data, n);
    if (info > 0)
        return qd_fail(err, QD_ENUMERIC, "cholesky: pivot %d of %d is not positive", n - info, n);
    assert(info == 0);
    for (size_t i = 0; i < c.rows; i++) /* OpenBLAS lets NaN through: a comparison with NaN is false */
        if (!(c.data[i * c.cols + i] > 0.0 && c.data[i * c.cols + i] <= 1e300))
            return qd_fail(err, QD_ENUMERIC, "cholesky: pivot %zu of %d is not positive and finite", c.rows - 1 - i, n);
    flip_back(c);
    return QD_OK;
}
