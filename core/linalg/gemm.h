/* gemm.h: products on views, by CBLAS.
 * Room: core/linalg. May use: base, CBLAS. gemm.c and chol.c are the only files that include cblas.h / lapacke.h.
 * Threads: any; BLAS runs with one thread (set once by qd_blas_single_thread), parallelism is ours, over
 * tasks. */
#ifndef QD_LINALG_GEMM_H
#define QD_LINALG_GEMM_H

#include "linalg/mat.h"

typedef enum qd_transpose { QD_PLAIN, QD_TRANSPOSED } qd_transpose;

/* out = alpha * op(a) * op(b) + beta * out. Shapes are asserted: they are our bug, never the user's. */
void qd_gemm_f32(qd_transpose ta, qd_transpose tb, float alpha, qd_cmatf a, qd_cmatf b, float beta, qd_matf out);
void qd_gemm_f64(qd_transpose ta, qd_transpose tb, double alpha, qd_cmatd a, qd_cmatd b, double beta, qd_matd out);

/* y += a x */
void qd_axpy_f64(double a, const double *x, double *y, size_t count);
/* y = alpha * h x, for symmetric h, of which the upper triangle is read. */
void qd_symv_f64(double alpha, qd_cmatd h, const double *x, double *y);

/* x = x op(c)^-1 for c upper triangular with a diagonal without zeros; below the diagonal c is not read. */
void qd_trsm_f64(qd_transpose tc, qd_cmatd c, qd_matd x);
void qd_trsm_f32(qd_transpose tc, qd_cmatf c, qd_matf x);
/* b = upper^-1 b; what is below the diagonal of `upper` is not read. */
void qd_solve_upper_f64(qd_cmatd upper, qd_matd b);

/* Upper triangle of out = a^T a; below the diagonal out keeps what it held. */
void qd_syrk_f32(qd_cmatf a, qd_matf out);

/* Makes OpenBLAS use one thread for the whole process; called once, before threads exist. Those it started when it was loaded stay, asleep; it
 * starts none where OPENBLAS_NUM_THREADS is 1. */
void qd_blas_single_thread(void);
/* Takes the work memory that OpenBLAS keeps for so many threads, now: it asks for it at their first products and, where there is none, asks
 * again without end, so a process that is held to a limit must have it before. */
void qd_blas_reserve(size_t threads);
/* Its version and how it was built: "OpenBLAS 0.3.21 ...". */
const char *qd_blas_version(void);
/* Name of the kernel set OpenBLAS chose ("Haswell", "SkylakeX", ...); for benchmarks and provenance. */
const char *qd_blas_core_name(void);
/* The kernel set that this processor should have, where OpenBLAS fell back to one from before AVX2: releases do not know processors that came
 * after them, and are then three times slower and sum in longer chains. A value for OPENBLAS_CORETYPE, which OpenBLAS reads when it is
 * loaded. NULL: what it chose will do, or the variable is set. */
const char *qd_blas_core_missed(void);

#endif
