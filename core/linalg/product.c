/* product.c: see product.h: the table of ways, and linear layers on it. */
#include "linalg/product_kernels.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static const qd_product_kernel *const kernels[] = {
#ifdef QD_PRODUCT_X86
    &qd_product_amx,      &qd_product_avx512, &qd_product_avx512f, &qd_product_avx2,
#endif
    &qd_product_portable,
};

const qd_product_kernel *qd_product_kernel_at(size_t index)
{
    return index < sizeof kernels / sizeof *kernels ? kernels[index] : NULL;
}

/* Intel's processors take AVX512-BF16's instruction once a cycle: no more products than the two float32 units make, but more work about them. On
 * one of them it makes 73 GF/s of X^T X and 79 of linear layers where widened operands make 110 and 131. Zen's make
 * twice as many as float32. */
static bool taken(const qd_product_kernel *kernel)
{
#ifdef QD_PRODUCT_X86
    if (kernel == &qd_product_avx512 && !__builtin_cpu_is("amd"))
        return false;
#endif
    return kernel->supported();
}

const qd_product_kernel *qd_product_kernel_best(void)
{
    size_t i = 0;
    while (!taken(kernels[i]))
        i++;
    return kernels[i];
}

const char *qd_product_name(void)
{
    return qd_product_kernel_best()->name;
}

uint32_t qd_largest_bits(const float *values, size_t count, uint32_t largest)
{
    enum { LANES = 16 };
    uint32_t lanes[LANES] = { 0 }, bits[LANES];
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        memcpy(bits, values + i, sizeof bits);
        for (size_t l = 0; l < LANES; l++)
            lanes[l] = (bits[l] & 0x7fffffffu) > lanes[l] ? bits[l] & 0x7fffffffu : lanes[l];
    }
    memset(bits, 0, sizeof bits);
    memcpy(bits, values + i, (count - i) * sizeof *values);
    for (size_t l = 0; l < LANES; l++) {
        lanes[l] = (bits[l] & 0x7fffffffu) > lanes[l] ? bits[l] & 0x7fffffffu : lanes[l];
        largest = lanes[l] > largest ? lanes[l] : largest;
    }
    return largest;
}

/* ---- linear layers ---- */

struct qd_packed {
    const qd_product_kernel *kernel;
    size_t out, in;
    uint16_t *panels; /* of `width` outputs each, right side */
};

static size_t panel_size(const qd_product_kernel *kernel, size_t in)
{
    return kernel->width * qd_panel_depth(in);
}

qd_code qd_packed_create_by(const qd_product_kernel *kernel, qd_cmatf weight, qd_packed **out, qd_error *err)
{
    qd_packed *packed = NULL;
    size_t count = qd_panel_count(kernel, weight.rows), size = panel_size(kernel, weight.cols);
    qd_code code = qd_alloc(1, sizeof *packed, (void **)&packed, err);
    if (code != QD_OK)
        return code;
    *packed = (qd_packed){ .kernel = kernel, .out = weight.rows, .in = weight.cols };
    code = qd_alloc(count * size, sizeof *packed->panels, (void **)&packed->panels, err);
    if (code != QD_OK) {
        qd_packed_destroy(packed);
        return code;
    }
    for (size_t p = 0; p < count; p++) {
        size_t o = p * kernel->width, rows = qd_min_size(kernel->width, weight.rows - o);
        kernel->pack_rows(qd_cmatf_block(weight, o, 0, rows, weight.cols), QD_PANEL_RIGHT, packed->panels + p * size);
    }
    *out = packed;
    return QD_OK;
}

qd_code qd_packed_create(qd_cmatf weight, qd_packed **out, qd_error *err)
{
    return qd_packed_create_by(qd_product_kernel_best(), weight, out, err);
}

void qd_packed_destroy(qd_packed *packed)
{
    if (packed != NULL)
        free(packed->panels);
    free(packed);
}

size_t qd_packed_bytes(size_t out, size_t in)
{
    const qd_product_kernel *kernel = qd_product_kernel_best();
    return qd_panel_count(kernel, out) * panel_size(kernel, in) * sizeof(uint16_t);
}

/* Some rows of x over some products, beginning with product k: packed panels of x times every panel of W. */
static void apply_block(const qd_packed *packed, const uint16_t *block, size_t k, size_t depth, float beta, qd_matf out)
{
    const qd_product_kernel *kernel = packed->kernel;
    size_t width = kernel->width, size = panel_size(kernel, packed->in);
    for (size_t o = 0; o < out.cols; o += width) {
        const uint16_t *weights = packed->panels + o / width * size + k * width;
        kernel->multiply(block, depth * width, weights, depth, beta,
                         qd_matf_block(out, 0, o, out.rows, qd_min_size(width, out.cols - o)));
    }
}

void qd_packed_apply(const qd_packed *packed, qd_cmatf x, float beta, qd_matf out)
{
    _Alignas(64) uint16_t block[QD_PRODUCT_BLOCK];
    const qd_product_kernel *kernel = packed->kernel;
    size_t width = kernel->width, most = kernel->side * width, share = qd_panel_share(kernel->depth, x.cols);
    assert(x.cols == packed->in && out.cols == packed->out && x.rows == out.rows);
    for (size_t t = 0; t < x.rows; t += most)
        for (size_t k = 0; k < x.cols; k += share) {
            size_t rows = qd_min_size(most, x.rows - t), cols = qd_min_size(share, x.cols - k);
            size_t depth = qd_panel_depth(cols);
            for (size_t i = 0; i < rows; i += width)
                kernel->pack_rows(qd_cmatf_block(x, t + i, k, qd_min_size(width, rows - i), cols), QD_PANEL_LEFT,
                                  block + i * depth);
            apply_block(packed, block, k, depth, k == 0 ? beta : 1, qd_matf_block(out, t, 0, rows, out.cols));
        }
}
