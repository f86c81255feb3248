/* gram_tiles.h: the part of gram.c that both arithmetics share: a product of two streams in tiles, each a task, added into float64.
 * Room: core/quant, private to gram. May use: base, linalg.
 * Threads: fixed tiles and chunks over the pool: same bytes for any number of threads. */
#ifndef QD_QUANT_GRAM_TILES_H
#define QD_QUANT_GRAM_TILES_H

#include "linalg/product_kernels.h"
#include "quant/gram.h"

typedef enum qd_symmetry { QD_SYMMETRIC, QD_GENERAL } qd_symmetry;

typedef struct qd_gram_tiles {
    qd_symmetry symmetry;
    qd_matd sum;          /* += unit * left^T right; of QD_SYMMETRIC the upper triangle */
    size_t tokens;        /* of both */
    size_t height, width; /* of a tile; equal for QD_SYMMETRIC */
    double unit;          /* of the products: 1 unless inputs were scaled */
    /* product = left^T right of `count` tokens from t on, for features (i, j) on; of a tile on the diagonal of QD_SYMMETRIC only the upper
     * triangle is wanted. */
    void (*multiply)(const void *ctx, size_t t, size_t count, size_t i, size_t j, qd_matf product);
    const void *ctx;
} qd_gram_tiles;
/* Of several products: their tiles are one list of tasks. Those of one sum lie one behind the other, cut alike. */
qd_code qd_gram_add_tiles(const qd_gram_tiles *tiles, size_t count, qd_pool *pool, qd_error *err);

/* What inputs whose largest magnitude has these bits are to be divided by, as an exponent of 2: 0 nearly always. */
int qd_gram_exponent(uint32_t largest);

/* sum += left^T right, of inputs by their index. QD_SYMMETRIC: the upper triangle, of one input with itself or of two terms of one. */
typedef struct qd_gram_sum {
    qd_matd sum;
    size_t left, right;
    qd_symmetry symmetry;
} qd_gram_sum;
/* In bf16 by this kernel, which the processor has; shapes agree and are not empty; all inputs have the same tokens. Each is packed once. Products of one sum
 * lie one behind the other. */
qd_code qd_gram_add_panels(const qd_product_kernel *kernel, const qd_gram_inputs *inputs, const qd_gram_sum *sums,
                           size_t count, qd_pool *pool, qd_error *err);

#endif
