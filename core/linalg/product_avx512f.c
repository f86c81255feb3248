/* product_avx512f.c: bf16 products by float32 units, compiled for AVX-512. */
#include "linalg/product_kernels.h"

#ifdef QD_PRODUCT_X86

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))
#define VECTOR_BYTES 64
#define ROWS 8
#define VECTORS 3
#include "linalg/product_plain.inc"

static bool supported(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

const qd_product_kernel qd_product_avx512f = {
    .name = "avx512",
    .supported = supported,
    SHARED_MEMBERS,
};

#endif
