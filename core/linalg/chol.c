/* chol.c: see chol.h. */
#include "linalg/chol.h"

#include <lapacke.h>
#include <limits.h>
#include <string.h>

#include "base/mem.h"
#include "linalg/gemm.h"

/* LAPACK's own blocks leave the other threads idle, so large matrices are cut into blocks here, and the products that follow each into bands of
 * rows. Alone, small ones are faster. */
enum { WHOLE = 1024, BLOCK = 256, BAND = 128 };
static_assert(BLOCK % BAND == 0, "blocks are whole bands");
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

/* C of a block of a matrix of `total`, whose first row is `first` there. */
static qd_code factor_block(qd_cmatd h, double shift, size_t first, size_t total, qd_matd c, qd_error *err)
{
    flip_in(h, shift, c);
    /* Row-major upper is column-major lower: no transposed copy inside LAPACKE, and the faster half of its two. */
    lapack_int n = (lapack_int)h.rows;
    lapack_int info = LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', n, c.data, n);
    if (info > 0)
        return qd_fail(err, QD_ENUMERIC, "cholesky: pivot %zu of %zu is not positive", first + (size_t)(n - info),
                       total);
    assert(info == 0);
    for (size_t i = 0; i < c.rows; i++) /* OpenBLAS lets NaN through: a comparison with NaN is false */
        if (!(c.data[i * c.cols + i] > 0.0 && c.data[i * c.cols + i] <= 1e300))
            return qd_fail(err, QD_ENUMERIC, "cholesky: pivot %zu of %zu is not positive and finite",
                           first + c.rows - 1 - i, total);
    flip_back(c);
    return QD_OK;
}

/* ---- in blocks, the last first ---- */

typedef struct blocked {
    qd_matd c;
    size_t start, side; /* of the block under way */
} blocked;

static size_t band_rows(size_t index, size_t rows)
{
    return qd_min_size(BAND, rows - index * BAND);
}

/* Above the block: C_ij = H_ij C_jj^-T. */
static qd_code solve_band(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const blocked *b = ctx;
    size_t start = index * BAND, rows = band_rows(index, b->start);
    (void)worker;
    (void)err;
    qd_trsm_f64(QD_TRANSPOSED, qd_matd_const(qd_matd_block(b->c, b->start, b->start, b->side, b->side)),
                qd_matd_block(b->c, start, b->start, rows, b->side));
    return QD_OK;
}

/* What is left of H: H_ik - C_ij C_kj^T, from the band's square on the diagonal on; below the diagonal that is noise. */
static qd_code update_band(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const blocked *b = ctx;
    size_t start = index * BAND, rows = band_rows(index, b->start), cols = b->start - start;
    (void)worker;
    (void)err;
    qd_gemm_f64(QD_PLAIN, QD_TRANSPOSED, -1.0, qd_matd_const(qd_matd_block(b->c, start, b->start, rows, b->side)),
                qd_matd_const(qd_matd_block(b->c, start, b->start, cols, b->side)), 1.0,
                qd_matd_block(b->c, start, start, rows, cols));
    return QD_OK;
}

static qd_code clear_band(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const blocked *b = ctx;
    size_t start = index * BAND, end = start + band_rows(index, b->c.rows);
    (void)worker;
    (void)err;
    for (size_t i = start; i < end; i++)
        memset(qd_matd_row(b->c, i), 0, i * sizeof(double));
    return QD_OK;
}

/* The block on the diagonal by way of `scratch`, BLOCK x BLOCK. */
static qd_code factor_diagonal(const blocked *b, double *scratch, qd_error *err)
{
    qd_matd block = qd_matd_block(b->c, b->start, b->start, b->side, b->side);
    qd_matd factor = { b->side, b->side, b->side, scratch };
    qd_code code = factor_block(qd_matd_const(block), 0.0, b->start, b->c.rows, factor, err);
    for (size_t i = 0; code == QD_OK && i < b->side; i++)
        memcpy(qd_matd_row(block, i), qd_matd_row(factor, i), b->side * sizeof(double));
    return code;
}

/* H + shift I is in c. */
static qd_code factor_blocks(qd_pool *pool, qd_matd c, qd_error *err)
{
    QD_AUTO(qd_free_pointer) void *scratch = NULL;
    size_t n = c.rows, bands = (n - 1) / BAND + 1;
    blocked b = { .c = c };
    qd_code code = qd_alloc(BLOCK * BLOCK, sizeof(double), &scratch, err);
    for (size_t end = n; code == QD_OK && end > 0; end = b.start) {
        b.start = (end - 1) / BLOCK * BLOCK;
        b.side = end - b.start;
        code = factor_diagonal(&b, scratch, err);
        if (code == QD_OK)
            code = qd_pool_for(pool, b.start / BAND, solve_band, &b, err);
        if (code == QD_OK)
            code = qd_pool_for(pool, b.start / BAND, update_band, &b, err);
    }
    return code == QD_OK ? qd_pool_for(pool, bands, clear_band, &b, err) : code;
}

static void copy_upper(qd_cmatd from, qd_matd to)
{
    for (size_t i = 0; i < from.rows; i++)
        memcpy(qd_matd_row(to, i) + i, qd_cmatd_row(from, i) + i, (from.cols - i) * sizeof(double));
}

qd_code qd_chol_reversed(qd_cmatd h, double shift, qd_pool *pool, qd_matd c, qd_error *err)
{
    if (h.rows != h.cols)
        return qd_fail(err, QD_ESHAPE, "cholesky: %zu x %zu is not square", h.rows, h.cols);
    if (c.rows != h.rows || c.cols != h.cols || c.ld != c.cols || h.rows > INT_MAX)
        return qd_fail(err, QD_ESHAPE, "cholesky: no room for a factor of %zu x %zu", h.rows, h.cols);
    if (h.rows == 0)
        return QD_OK;
    if (h.rows <= WHOLE)
        return factor_block(h, shift, 0, h.rows, c, err);
    copy_upper(h, c);
    return qd_chol_reversed_in_place(shift, pool, c, err);
}

qd_code qd_chol_reversed_in_place(double shift, qd_pool *pool, qd_matd c, qd_error *err)
{
    QD_AUTO(qd_matd_buf_fini) qd_matd_buf h = { 0 };
    if (c.rows != c.cols || c.ld != c.cols || c.rows > INT_MAX)
        return qd_fail(err, QD_ESHAPE, "cholesky: %zu x %zu is not square", c.rows, c.cols);
    if (c.rows > WHOLE) {
        for (size_t i = 0; i < c.rows; i++)
            qd_matd_row(c, i)[i] += shift;
        return factor_blocks(pool, c, err);
    }
    qd_code code = qd_matd_buf_init(&h, c.rows, c.rows, err);
    if (code != QD_OK || c.rows == 0)
        return code;
    copy_upper(qd_matd_const(c), h.view);
    return factor_block(qd_matd_const(h.view), shift, 0, c.rows, c, err);
}
