/* main.c: hands the command line to its verb. */
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/verb.h"
#include "linalg/gemm.h"

/* OpenBLAS takes its kernels when it is loaded, before anything of ours runs: where it did not know the processor, the program begins again. What
 * the service starts inherits the choice. */
static void choose_kernels(char **argv)
{
    const char *core = qd_blas_core_missed();
    char program[PATH_MAX + 1];
    ssize_t length = core == NULL ? -1 : readlink("/proc/self/exe", program, PATH_MAX);
    if (length <= 0 || setenv("OPENBLAS_CORETYPE", core, 1) != 0)
        return;
    program[length] = '\0';
    (void)execv(program, argv); /* where that fails: as it is, only slower */
}

int main(int argc, char **argv)
{
    choose_kernels(argv);
    return qd_verb_main(argc, argv);
}
