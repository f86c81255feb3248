/* attention_kernels.h: rows of the table of attention kernels.
 * Room: core/model, private to it. May use: base, linalg.
 * Threads: constant rows. */
#ifndef QD_MODEL_ATTENTION_KERNELS_H
#define QD_MODEL_ATTENTION_KERNELS_H

#include "model/attention.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define QD_ATTENTION_X86 1
#endif

extern const qd_attention_kernel qd_attention_portable;
#ifdef QD_ATTENTION_X86
extern const qd_attention_kernel qd_attention_avx2, qd_attention_avx512;
/* In bf16, by part->products; AVX-512 with AVX512-BF16 only. */
void qd_attention_by_panels(const qd_attention_part *part);
/* out = 2^x, as its weights are made, for tests; count: a multiple of 16. */
void qd_attention_powers(const float *x, size_t count, float *out);
#endif

#endif
