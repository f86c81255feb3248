/* sweep_kernels.h: rows of the table of sweep kernels.
 * Room: core/quant, private to it. May use: base, linalg.
 * Threads: constant rows. */
#ifndef QD_QUANT_SWEEP_KERNELS_H
#define QD_QUANT_SWEEP_KERNELS_H

#include "quant/sweep.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define QD_SWEEP_X86 1
#endif

extern const qd_sweep_kernel qd_sweep_portable;
#ifdef QD_SWEEP_X86
extern const qd_sweep_kernel qd_sweep_avx2, qd_sweep_avx512;
#endif

#endif
