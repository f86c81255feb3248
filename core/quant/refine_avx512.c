/* refine_avx512.c: the loops of a refinement compiled for AVX-512, where the least of eight and their order are one instruction each. */
#include "quant/algorithm.h"
#include "quant/refine_kernels.h"

#ifdef QD_REFINE_X86

#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma")))
#define VECTOR_BYTES 64
#define CHEAPEST cheapest
#define DEAREST dearest
#define PERMUTED feed_permuted

TARGET static inline size_t cheapest(const double *cost, size_t slots)
{
    __m512d least = _mm512_load_pd(cost);
    for (size_t m = 8; m < slots; m += 8)
        least = _mm512_min_pd(least, _mm512_load_pd(cost + m));
    const __m512d value = _mm512_set1_pd(_mm512_reduce_min_pd(least));
    for (size_t m = 0; m < slots; m += 8) {
        unsigned which = _mm512_cmp_pd_mask(_mm512_load_pd(cost + m), value, _CMP_EQ_OQ);
        if (which != 0)
            return m + (size_t)__builtin_ctz(which);
    }
    return 0;
}

TARGET static inline size_t dearest(const double *cost, size_t slots)
{
    __m512d most = _mm512_load_pd(cost);
    for (size_t m = 8; m < slots; m += 8)
        most = _mm512_max_pd(most, _mm512_load_pd(cost + m));
    const __m512d value = _mm512_set1_pd(_mm512_reduce_max_pd(most));
    for (size_t m = slots; m > 0; m -= 8) {
        unsigned which = _mm512_cmp_pd_mask(_mm512_load_pd(cost + m - 8), value, _CMP_EQ_OQ);
        if (which != 0)
            return m - 1 - ((size_t)__builtin_clz(which) - 24);
    }
    return 0;
}

/* Eight nodes: products change their slots on the way through. */
TARGET static void feed_permuted(const qd_beam_row *row, size_t at, const uint8_t *parent, const double *error,
                                 const double *c)
{
    const __m512i order = _mm512_cvtepu8_epi64(_mm_loadl_epi64((const __m128i *)(const void *)parent));
    const __m512d e = _mm512_load_pd(error);
    for (size_t j = at + 1; j < row->columns; j++) {
        double *product = row->product + j * 8;
        _mm512_store_pd(
            product, _mm512_fmadd_pd(e, _mm512_set1_pd(c[j]), _mm512_permutexvar_pd(order, _mm512_load_pd(product))));
    }
}

#include "quant/refine_kernel.inc"

static bool supported(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}

const qd_refine_kernel qd_refine_avx512 = { "avx512", supported, expand, spread, next_move };

#endif
