/* attention_avx2.c: attention compiled for AVX2 with FMA. */
#include "model/attention_kernels.h"

#ifdef QD_ATTENTION_X86

#include <immintrin.h>

#define TARGET __attribute__((target("avx2,fma")))
#define VECTOR_BYTES 32
#define VECTORS 2
#define LARGER(a, b) ((vector)_mm256_max_ps((__m256)(a), (__m256)(b)))
#include "model/attention_kernel.inc"

static bool supported(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

const qd_attention_kernel qd_attention_avx2 = { "avx2", supported, attend };

#endif
