/* refine_avx2.c: the loops of a refinement compiled for AVX2 with fused multiply-add. */
#include "quant/algorithm.h"
#include "quant/refine_kernels.h"

#ifdef QD_REFINE_X86

#define TARGET __attribute__((target("avx2,fma")))
#define VECTOR_BYTES 32
#include "quant/refine_kernel.inc"

static bool supported(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

const qd_refine_kernel qd_refine_avx2 = { "avx2", supported, expand, spread, next_move };

#endif
