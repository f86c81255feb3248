/* product_kernels.h: bf16 operands in panels, and the ways of multiplying them: rows of a table.
 * Room: core/linalg; for what cuts products into tasks itself (core/quant's moments), for tests and benchmarks. May use: base.
 * Threads: constant rows; a panel is written by one task.
 *
 * A panel holds up to `width` features of an operand over K products, rounded to bf16, features and K padded with zeros: `width` and
 * qd_panel_depth(K) values, those of products [k, k + n) at k * width (k a multiple of QD_PANEL_STEP): a panel can be packed and read piecewise.
 * Order within is the kernel's own, and the forms of the two sides may differ. */
#ifndef QD_LINALG_PRODUCT_KERNELS_H
#define QD_LINALG_PRODUCT_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#include "linalg/product.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define QD_PRODUCT_X86 1
#endif

enum {
    QD_PANEL_STEP = 32,      /* products: K is padded to a multiple */
    QD_PRODUCT_DEPTH = 2048, /* products of a block of a linear layer's inputs; any kernel's depth is no more */
    QD_PRODUCT_BLOCK = 288 * QD_PRODUCT_DEPTH, /* values of it; side * width of any kernel is 288 or less */
    QD_PRODUCT_SUMS = 288 * 96,                /* side * width * width of any kernel is no more */
};

typedef enum qd_panel_side { QD_PANEL_LEFT, QD_PANEL_RIGHT } qd_panel_side;

typedef struct qd_product_kernel {
    const char *name;
    bool (*supported)(void);
    size_t width; /* features of a panel */
    size_t side;  /* panels of a block: what one of them reads stays in the second cache */
    size_t
        depth; /* most products that one call of `multiply` should be given: see there; a multiple of QD_PANEL_STEP */
    /* Left panels are rows as they come: products [k, k + QD_PANEL_STEP) of feature i lie in a row from k * width + i * QD_PANEL_STEP on, so that
     * what makes an operand may round it into its place. Only where the processor has AVX512-BF16. */
    bool left_rows;
    /* Of X^T X, in panels: tiles have `least` to `most` along a side, and there are `tiles` of them along a side where that allows. */
    size_t least, most, tiles;
    /* Products along rows: x is K x features (<= width). The bits of the largest magnitude in x, as qd_largest_bits. */
    uint32_t (*pack_columns)(qd_cmatf x, qd_panel_side side, uint16_t *panel);
    /* The same bytes and bits, of values that are bf16 already. */
    uint32_t (*pack_columns_bf16)(qd_cmath x, qd_panel_side side, uint16_t *panel);
    /* Products along columns: x is features (<= width) x K. */
    void (*pack_rows)(qd_cmatf x, qd_panel_side side, uint16_t *panel);
    /* The same for left operands that are bf16 already; NULL: they are widened first. */
    void (*pack_rows_bf16)(qd_cmath x, uint16_t *panel);
    /* Around any number of `multiply` and `multiply_rights`, in the same thread: what they need to be set up once. Not one within another. NULL: nothing. */
    void (*begin)(void);
    void (*end)(void);
    /* out = left^T right + beta out, beta 0 or 1, over k products (a multiple of QD_PANEL_STEP): left panels lie `stride` values apart, as
     * many as out has rows for, and one right panel is for its columns; nothing outside of out is written. Short sums are made first, then
     * added: squares of bf16 added one by one to a float32 lose some of it each time (4e-6 of it after 2048, always downwards). */
    void (*multiply)(const uint16_t *left, size_t stride, const uint16_t *right, size_t k, float beta, qd_matf out);
    /* The same for left operands that were packed as right ones, so that X^T X needs X only once; NULL: they cannot be. */
    void (*multiply_rights)(const uint16_t *left, size_t stride, const uint16_t *right, size_t k, float beta,
                            qd_matf out);
} qd_product_kernel;
const qd_product_kernel *qd_product_kernel_at(size_t index); /* fastest first, as a rule; NULL past the end */
const qd_product_kernel *qd_product_kernel_best(void);       /* fastest this processor has */

static inline void qd_product_begin(const qd_product_kernel *kernel)
{
    if (kernel->begin != NULL)
        kernel->begin();
}
static inline void qd_product_end(const qd_product_kernel *kernel)
{
    if (kernel->end != NULL)
        kernel->end();
}

static inline size_t qd_panel_depth(size_t k)
{
    return (k + QD_PANEL_STEP - 1) / QD_PANEL_STEP * QD_PANEL_STEP;
}
/* Products of one call: equal shares, none larger than `most`, as a rule the kernel's depth. */
static inline size_t qd_panel_share(size_t most, size_t k)
{
    size_t shares = (k + most - 1) / most;
    return shares < 2 ? qd_panel_depth(k) : qd_panel_depth((k + shares - 1) / shares);
}
static inline size_t qd_panel_count(const qd_product_kernel *kernel, size_t features)
{
    return (features + kernel->width - 1) / kernel->width;
}

/* Bits of floats without their sign are ordered as the floats are, NaN last: those of the largest of a run, or `largest`. */
uint32_t qd_largest_bits(const float *values, size_t count, uint32_t largest);

/* qd_packed_create by a kernel of the caller's choice. */
qd_code qd_packed_create_by(const qd_product_kernel *kernel, qd_cmatf weight, qd_packed **out, qd_error *err);

extern const qd_product_kernel qd_product_portable;
#ifdef QD_PRODUCT_X86
extern const qd_product_kernel qd_product_amx, qd_product_avx512, qd_product_avx512f, qd_product_avx2;
#endif

#endif
