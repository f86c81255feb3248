/* sweep_avx2.c: the sweep compiled for AVX2 with FMA. */
#include "quant/sweep_kernels.h"

#ifdef QD_SWEEP_X86

#define TARGET __attribute__((target("avx2,fma")))
#define VECTOR_BYTES 32
#define VECTORS 2
#include "quant/sweep_both.inc"

static bool supported(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

const qd_sweep_kernel qd_sweep_avx2 = { "avx2", supported, sweep_f32, sweep_f64 };

#endif
