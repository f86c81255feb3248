/* half.h: bf16 and f16 conversion, one value or a run of them.
 * Room: core/linalg. May use: base.
 * Threads: pure functions.
 * Rounding to half is to nearest, ties to even; NaN stays NaN (quiet), overflow becomes infinity. */
#ifndef QD_LINALG_HALF_H
#define QD_LINALG_HALF_H

#include <stddef.h>
#include <stdint.h>

float qd_bf16_to_float(uint16_t bits);
uint16_t qd_float_to_bf16(float value);
float qd_f16_to_float(uint16_t bits);
uint16_t qd_float_to_f16(float value);

/* `from` may be at any address (no alignment is assumed); little-endian 16-bit values. */
void qd_bf16_to_floats(const void *from, size_t count, float *out);
void qd_f16_to_floats(const void *from, size_t count, float *out);

#endif
