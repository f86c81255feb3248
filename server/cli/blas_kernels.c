/* blas_kernels.c: see blas_kernels.h. */
#include "cli/blas_kernels.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "linalg/gemm.h"

void qd_blas_kernels_choose(char **argv)
{
    const char *core = qd_blas_core_missed();
    char program[PATH_MAX + 1];
    ssize_t length = core == NULL ? -1 : readlink("/proc/self/exe", program, PATH_MAX);
    if (length <= 0 || setenv("OPENBLAS_CORETYPE", core, 1) != 0)
        return;
    program[length] = '\0';
    (void)execv(program, argv);
}
