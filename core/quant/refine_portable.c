/* refine_portable.c: the loops of a refinement compiled for any processor, in vectors of 16 bytes. */
#include "quant/algorithm.h"
#include "quant/refine_kernels.h"

#define TARGET
#define VECTOR_BYTES 16
#include "quant/refine_kernel.inc"

static bool supported(void)
{
    return true;
}

const qd_refine_kernel qd_refine_portable = { "portable", supported, expand, spread, next_move };
