/* sweep_avx512.c: the sweep compiled for AVX-512. */
#include "quant/sweep_kernels.h"

#ifdef QD_SWEEP_X86

#define TARGET __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma")))
#define VECTOR_BYTES 64
#define VECTORS 4
#include "quant/sweep_both.inc"

static bool supported(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}

const qd_sweep_kernel qd_sweep_avx512 = { "avx512", supported, sweep_f32, sweep_f64 };

#endif
