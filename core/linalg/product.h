/* product.h: what a product of activations is made of: float32 inputs, inputs rounded to bf16 with sums in float32, or inputs in two terms of bf16.
 * Room: core/linalg. May use: base.
 * Threads: a qd_packed is immutable; any number of threads apply it. Parallelism is the caller's, over tasks.
 *
 * QD_ARITHMETIC_BFLOAT16 is a rule about numbers, not about a processor: both operands are rounded to bf16 (to nearest, ties to even), products
 * are exact in float32, sums are float32. Processors with bf16 units are faster at it, all others give the same numbers but for the order of
 * sums (and for what lies below the smallest normal float, 2^-126, which those units take for zero). Which way is taken is chosen at run time:
 * qd_product_name. What is built on one way's panels is in product_kernels.h. */
#ifndef QD_LINALG_PRODUCT_H
#define QD_LINALG_PRODUCT_H

#include <stdbool.h>

#include "linalg/mat.h"

/* QD_ARITHMETIC_TWO_TERMS: layers as in float32; in second moments x = h + l + r with h = bf16(x), l = bf16(x - h), |r| <= 2^-17 |x|, and x y is taken
 * for h h' + h l' + l h': three products of bf16. What l l' leaves out is some 2e-6 of a square, always downwards. */
typedef enum qd_arithmetic { QD_ARITHMETIC_FLOAT32, QD_ARITHMETIC_BFLOAT16, QD_ARITHMETIC_TWO_TERMS } qd_arithmetic;

/* Inputs of a layer: float32, or bf16 as they are stored; the other one is NULL. */
typedef struct qd_operand {
    size_t rows, cols, ld;
    const float *floats;
    const uint16_t *halves;
} qd_operand;
static inline qd_operand qd_operand_floats(qd_cmatf x)
{
    return (qd_operand){ x.rows, x.cols, x.ld, x.data, NULL };
}
static inline qd_operand qd_operand_halves(qd_cmath x)
{
    return (qd_operand){ x.rows, x.cols, x.ld, NULL, x.data };
}
static inline qd_cmatf qd_floats_of(qd_operand x)
{
    assert(x.floats != NULL);
    return (qd_cmatf){ x.rows, x.cols, x.ld, x.floats };
}

/* Weights O x I of a linear layer, rounded to bf16 and in the order in which the processor reads them. */
typedef struct qd_packed qd_packed;
qd_code qd_packed_create(qd_cmatf weight, qd_packed **out, qd_error *err);
void qd_packed_destroy(qd_packed *packed); /* NULL is fine */
size_t qd_packed_bytes(size_t out, size_t in);
/* out = x W^T + beta out, beta 0 or 1: x is T x I (rounded to bf16 on the way), out T x O. Takes 1.5 MiB of the caller's stack, nothing else. */
void qd_packed_apply(const qd_packed *packed, qd_cmatf x, float beta, qd_matf out);
/* Several layers with one input, which is rounded and packed once: the same bytes as one by one, and for values of bf16 the same whichever type holds
 * them. out: of each layer. */
void qd_packed_apply_all(const qd_packed *const *packed, size_t count, qd_operand x, float beta, const qd_matf *out);

/* gate = f(gate, up), element by element. */
typedef void qd_gating(float *gate, const float *up, size_t count);
/* out = f(x G^T, x U^T) of two layers of as many outputs, some of them at a time, out of the first cache: the same bytes as of whole rows. false, and
 * nothing is done, where inputs are longer than what is packed at once. f makes no products. Takes 1.7 MiB of the caller's stack. */
bool qd_packed_apply_gated(const qd_packed *gate, const qd_packed *up, qd_operand x, qd_gating *f, qd_matf out);

/* The way that this processor takes, for benchmarks and provenance: "portable", "avx512-bf16", ... */
const char *qd_product_name(void);

#endif
