/* sweep_portable.c: the sweep compiled for any processor, in vectors of 16 bytes. */
#include "quant/sweep_kernels.h"

#define TARGET
#define VECTOR_BYTES 16
#define VECTORS 2
#include "quant/sweep_both.inc"

static bool supported(void)
{
    return true;
}

const qd_sweep_kernel qd_sweep_portable = { "portable", supported, sweep_f32, sweep_f64 };
