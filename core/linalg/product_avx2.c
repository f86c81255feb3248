/* product_avx2.c: bf16 products by float32 units, compiled for AVX2 with FMA. */
#include "linalg/product_kernels.h"

#ifdef QD_PRODUCT_X86

#define TARGET __attribute__((target("avx2,fma")))
#define VECTOR_BYTES 32
#define ROWS 4
#define VECTORS 3
#include "linalg/product_plain.inc"

static bool supported(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

const qd_product_kernel qd_product_avx2 = {
    .name = "avx2",
    .supported = supported,
    SHARED_MEMBERS,
};

#endif
