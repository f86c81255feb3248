/* ggml_decode.h: blocks of GGUF files to floats; one function a type, `count` a multiple of its block.
 * Room: core/model, private to it. May use: base, linalg.
 * Threads: pure functions.
 * Source: formats.md §6.5. The order of float32 operations is ggml's, so that values agree bit for bit. */
#ifndef QD_MODEL_GGML_DECODE_H
#define QD_MODEL_GGML_DECODE_H

#include <stddef.h>

/* Blocks of 32, 64 and 128: ggml_decode.c. */
void qd_ggml_q4_0(const void *from, size_t count, float *out);
void qd_ggml_q4_1(const void *from, size_t count, float *out);
void qd_ggml_q5_0(const void *from, size_t count, float *out);
void qd_ggml_q5_1(const void *from, size_t count, float *out);
void qd_ggml_q8_0(const void *from, size_t count, float *out);
void qd_ggml_iq4_nl(const void *from, size_t count, float *out);
void qd_ggml_mxfp4(const void *from, size_t count, float *out);
void qd_ggml_nvfp4(const void *from, size_t count, float *out);
void qd_ggml_q1_0(const void *from, size_t count, float *out);
void qd_ggml_q2_0(const void *from, size_t count, float *out);
/* Blocks of 256: ggml_decode_k.c. */
void qd_ggml_q2_k(const void *from, size_t count, float *out);
void qd_ggml_q3_k(const void *from, size_t count, float *out);
void qd_ggml_q4_k(const void *from, size_t count, float *out);
void qd_ggml_q5_k(const void *from, size_t count, float *out);
void qd_ggml_q6_k(const void *from, size_t count, float *out);
void qd_ggml_iq4_xs(const void *from, size_t count, float *out);
void qd_ggml_tq1_0(const void *from, size_t count, float *out);
void qd_ggml_tq2_0(const void *from, size_t count, float *out);

/* The 16 values of IQ4_NL and IQ4_XS. */
extern const signed char qd_ggml_iq4_values[16];

#endif
