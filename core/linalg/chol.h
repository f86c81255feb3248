/* chol.h: the reversed Cholesky factor, by LAPACKE; of large matrices in blocks, whose products go over a pool.
 * Room: core/linalg. May use: base, LAPACKE. gemm.c and chol.c are the only files that include cblas.h / lapacke.h.
 * Threads: any; LAPACK runs with the thread count of OpenBLAS (one, see gemm.h). Same bytes for any number of threads of the pool.
 * Source: algorithms.md §6.2: with J the exchange matrix, L = chol_lower(J H J), C = J L J. */
#ifndef QD_LINALG_CHOL_H
#define QD_LINALG_CHOL_H

#include "base/pool.h"
#include "linalg/mat.h"

/* C upper triangular with H + shift I = C C^T; below the diagonal it is zero. h is I x I; only its upper triangle is
 * read. c is I x I, contiguous (ld == cols), not overlapping h. pool: NULL = the caller alone. QD_ESHAPE when h is not square or c has another
 * shape; QD_ENUMERIC (c unspecified) when a pivot is not positive: the text names it, counted from 0 in h's own
 * numbering. */
qd_code qd_chol_reversed(qd_cmatd h, double shift, qd_pool *pool, qd_matd c, qd_error *err);
/* The same with H in c at first, of which only the upper triangle counts. */
qd_code qd_chol_reversed_in_place(double shift, qd_pool *pool, qd_matd c, qd_error *err);

#endif
