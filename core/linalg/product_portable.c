/* product_portable.c: bf16 products for any processor, in vectors of four floats that compilers have everywhere. */
#include "linalg/product_kernels.h"

#define TARGET
#define VECTOR_BYTES 16
#ifdef __aarch64__ /* 32 registers */
#define ROWS 8
#define VECTORS 3
#else
#define ROWS 4
#define VECTORS 2
#endif
#include "linalg/product_plain.inc"

static bool supported(void)
{
    return true;
}

const qd_product_kernel qd_product_portable = {
    .name = "portable",
    .supported = supported,
    SHARED_MEMBERS,
};
