/* sweep_avx512.c: the sweep compiled for AVX-512. */
#include "quant/sweep_kernels.h"

#ifdef QD_SWEEP_X86

#include <string.h>

#define TARGET __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma")))
#define VECTOR_BYTES 64

#define REAL float
#define INTEGER int32_t
#define VECTORS 4
#define MAGIC 0x1.8p23f
#define NAME(x) x##_f32
#include "quant/sweep_kernel.inc"
#undef REAL
#undef INTEGER
#undef VECTORS
#undef MAGIC
#undef NAME

#define REAL double
#define INTEGER int64_t
#define VECTORS 4
#define MAGIC 0x1.8p52
#define NAME(x) x##_f64
#include "quant/sweep_kernel.inc"

static int supported(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}

const qd_sweep_kernel qd_sweep_avx512 = { "avx512", supported, sweep_f32, sweep_f64 };

#endif
