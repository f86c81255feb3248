/* dtype_private.h: the conversions of element types that safetensors and GGUF both have.
 * Room: core/model, private to it. May use: base, linalg.
 * Threads: pure functions. */
#ifndef QD_MODEL_DTYPE_PRIVATE_H
#define QD_MODEL_DTYPE_PRIVATE_H

#include <stddef.h>

void qd_dtype_f64_to_floats(const void *from, size_t count, float *out);
void qd_dtype_f32_to_floats(const void *from, size_t count, float *out);
void qd_dtype_i32_to_floats(const void *from, size_t count, float *out);
void qd_dtype_i16_to_floats(const void *from, size_t count, float *out);
void qd_dtype_i8_to_floats(const void *from, size_t count, float *out);
void qd_dtype_floats_to_f32(const float *from, size_t count, void *out);
void qd_dtype_floats_to_bf16(const float *from, size_t count, void *out);
void qd_dtype_floats_to_f16(const float *from, size_t count, void *out);

#endif
