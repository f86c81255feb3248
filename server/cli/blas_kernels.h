/* blas_kernels.h: the kernels of OpenBLAS fit the processor.
 * Room: server/cli. May use: linalg (what was chosen), libc.
 * Threads: called first of all, when there is one. */
#ifndef QD_CLI_BLAS_KERNELS_H
#define QD_CLI_BLAS_KERNELS_H

/* OpenBLAS takes its kernels when it is loaded, before anything of ours runs: where it did not know the processor (qd_blas_core_missed), the program
 * begins again, with this command line and OPENBLAS_CORETYPE set, which what it starts inherits. Returns where nothing is to be done, or where
 * that failed: then as it is, only slower. */
void qd_blas_kernels_choose(char **argv);

#endif
