/* main.c: hands the command line to its verb. */
#include "cli/blas_kernels.h"
#include "cli/verb.h"

int main(int argc, char **argv)
{
    qd_blas_kernels_choose(argv);
    return qd_verb_main(argc, argv);
}
