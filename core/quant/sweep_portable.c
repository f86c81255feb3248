/* sweep_portable.c: the sweep compiled for any processor, in vectors of 16 bytes. */
#include "quant/sweep_kernels.h"

#include <string.h>

#define TARGET
#define VECTOR_BYTES 16

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
    return 1;
}

const qd_sweep_kernel qd_sweep_portable = { "portable", supported, sweep_f32, sweep_f64 };
