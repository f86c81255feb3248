/* gemm.c: see gemm.h. */
#include "linalg/gemm.h"

#include <cblas.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static int narrow(size_t n)
{
    assert(n <= INT_MAX);
    return (int)n;
}

static int leading(size_t n)
{
    return narrow(n == 0 ? 1 : n);
}

static enum CBLAS_TRANSPOSE op(qd_transpose t)
{
    return t == QD_TRANSPOSED ? CblasTrans : CblasNoTrans;
}

void qd_gemm_f32(qd_transpose ta, qd_transpose tb, float alpha, qd_cmatf a, qd_cmatf b, float beta, qd_matf out)
{
    size_t k = ta == QD_TRANSPOSED ? a.rows : a.cols;
    assert((ta == QD_TRANSPOSED ? a.cols : a.rows) == out.rows);
    assert((tb == QD_TRANSPOSED ? b.rows : b.cols) == out.cols);
    assert((tb == QD_TRANSPOSED ? b.cols : b.rows) == k);
    cblas_sgemm(CblasRowMajor, op(ta), op(tb), narrow(out.rows), narrow(out.cols), narrow(k), alpha, a.data,
                leading(a.ld), b.data, leading(b.ld), beta, out.data, leading(out.ld));
}

void qd_gemm_f64(qd_transpose ta, qd_transpose tb, double alpha, qd_cmatd a, qd_cmatd b, double beta, qd_matd out)
{
    size_t k = ta == QD_TRANSPOSED ? a.rows : a.cols;
    assert((ta == QD_TRANSPOSED ? a.cols : a.rows) == out.rows);
    assert((tb == QD_TRANSPOSED ? b.rows : b.cols) == out.cols);
    assert((tb == QD_TRANSPOSED ? b.cols : b.rows) == k);
    cblas_dgemm(CblasRowMajor, op(ta), op(tb), narrow(out.rows), narrow(out.cols), narrow(k), alpha, a.data,
                leading(a.ld), b.data, leading(b.ld), beta, out.data, leading(out.ld));
}

void qd_axpy_f64(double a, const double *x, double *y, size_t count)
{
    cblas_daxpy(narrow(count), a, x, 1, y, 1);
}

void qd_symv_f64(double alpha, qd_cmatd h, const double *x, double *y)
{
    assert(h.rows == h.cols);
    cblas_dsymv(CblasRowMajor, CblasUpper, narrow(h.rows), alpha, h.data, leading(h.ld), x, 1, 0.0, y, 1);
}

void qd_trsm_f64(qd_transpose tc, qd_cmatd c, qd_matd x)
{
    assert(c.rows == c.cols && x.cols == c.rows);
    cblas_dtrsm(CblasRowMajor, CblasRight, CblasUpper, op(tc), CblasNonUnit, narrow(x.rows), narrow(x.cols), 1.0,
                c.data, leading(c.ld), x.data, leading(x.ld));
}

void qd_trsm_f32(qd_transpose tc, qd_cmatf c, qd_matf x)
{
    assert(c.rows == c.cols && x.cols == c.rows);
    cblas_strsm(CblasRowMajor, CblasRight, CblasUpper, op(tc), CblasNonUnit, narrow(x.rows), narrow(x.cols), 1.0f,
                c.data, leading(c.ld), x.data, leading(x.ld));
}

void qd_solve_upper_f64(qd_cmatd upper, qd_matd b)
{
    assert(upper.rows == upper.cols && upper.cols == b.rows);
    cblas_dtrsm(CblasRowMajor, CblasLeft, CblasUpper, CblasNoTrans, CblasNonUnit, narrow(b.rows), narrow(b.cols), 1.0,
                upper.data, leading(upper.ld), b.data, leading(b.ld));
}

void qd_syrk_f32(qd_cmatf a, qd_matf out)
{
    assert(out.rows == a.cols && out.cols == a.cols);
    cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, narrow(a.cols), narrow(a.rows), 1.0f, a.data, leading(a.ld),
                0.0f, out.data, leading(out.ld));
}

void qd_blas_single_thread(void)
{
    openblas_set_num_threads(1);
}

/* OpenBLAS's own, in no header of it; absent where it was built without. */
extern void *blas_memory_alloc(int position) __attribute__((weak));
extern void blas_memory_free(void *buffer) __attribute__((weak));

void qd_blas_reserve(size_t threads)
{
    enum { MOST = 64 }; /* it has room for twice the threads it was built for, at least 64 */
    void *buffers[MOST];
    size_t count = qd_min_size(threads, MOST);
    if (blas_memory_alloc == NULL || blas_memory_free == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        buffers[i] = blas_memory_alloc(0);
    for (size_t i = 0; i < count; i++)
        blas_memory_free(buffers[i]);
}

const char *qd_blas_version(void)
{
    return openblas_get_config();
}

const char *qd_blas_core_name(void)
{
    return openblas_get_corename();
}

#if defined(__x86_64__) && defined(__GNUC__)
static const char *fitting_core(void)
{
    bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
    if (wide)
        return __builtin_cpu_supports("avx512bf16") ? "Cooperlake" : "SkylakeX";
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? "Haswell" : NULL;
}
#else
static const char *fitting_core(void)
{
    return NULL;
}
#endif

const char *qd_blas_core_missed(void)
{
    /* OpenBLAS's names of what has no AVX2. */
    static const char *const old[] = { "Prescott", "Core2",       "Penryn",  "Dunnington",   "Nehalem",   "Atom",
                                       "Nano",     "Sandybridge", "Opteron", "Opteron_SSE3", "Barcelona", "Bobcat" };
    const char *core = qd_blas_core_name();
    for (size_t i = 0; i < QD_LENGTH(old) && getenv("OPENBLAS_CORETYPE") == NULL; i++)
        if (strcmp(core, old[i]) == 0)
            return fitting_core();
    return NULL;
}
