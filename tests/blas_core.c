/* blas_core.c: prints the kernel set that OpenBLAS should take on this processor, if it missed it: tests run as quantd does (server/cli/blas_kernels.h). */
#include <stdio.h>

#include "linalg/gemm.h"

int main(void)
{
    const char *core = qd_blas_core_missed();
    if (core != NULL)
        printf("%s\n", core);
    return 0;
}
