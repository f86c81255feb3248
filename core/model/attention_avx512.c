/* attention_avx512.c: attention compiled for AVX-512. */
#include "model/attention_kernels.h"

#ifdef QD_ATTENTION_X86

#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma")))
#define VECTOR_BYTES 64
#define VECTORS 4
#define LARGER(a, b) ((vector)_mm512_max_ps((__m512)(a), (__m512)(b)))
#include "model/attention_kernel.inc"

static bool supported(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}

const qd_attention_kernel qd_attention_avx512 = { "avx512", supported, attend };

#endif
