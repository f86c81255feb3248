/* attention_portable.c: attention for any processor, in vectors of four that compilers have everywhere. */
#include "model/attention_kernels.h"

#define TARGET
#define VECTOR_BYTES 16
#define VECTORS 2
#define LARGER(a, b) larger(a, b)
#include "model/attention_kernel.inc"

static bool supported(void)
{
    return true;
}

const qd_attention_kernel qd_attention_portable = { "portable", supported, attend };
