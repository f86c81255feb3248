/* sweep_avx2.c: the sweep compiled for AVX2 with FMA. */
#include "quant/sweep_kernels.h"

#ifdef QD_SWEEP_X86

#include <string.h>

#define TARGET __attribute__((target("avx2,fma")))
#define VECTOR_BYTES 32

#define REAL float
#define INTEGER int32_t
#define VECTORS 2
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
#define VECTORS 2
#define MAGIC 0x1.8p52
#define NAME(x) x##_f64
#include "quant/sweep_kernel.inc"

static int supported(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

const qd_sweep_kernel qd_sweep_avx2 = { "avx2", supported, sweep_f32, sweep_f64 };

#endif
