/* refine_kernels.c: the table of refine_kernels.h. */
#include "quant/refine_kernels.h"

static const qd_refine_kernel *const kernels[] = {
#ifdef QD_REFINE_X86
    &qd_refine_avx512,
    &qd_refine_avx2,
#endif
    &qd_refine_portable,
};

const qd_refine_kernel *qd_refine_kernel_at(size_t index)
{
    return index < sizeof kernels / sizeof *kernels ? kernels[index] : NULL;
}

const qd_refine_kernel *qd_refine_kernel_best(void)
{
    size_t i = 0;
    while (!kernels[i]->supported())
        i++;
    return kernels[i];
}
