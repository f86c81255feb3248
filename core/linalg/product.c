/* product.c: see product.h: the table of ways, and linear layers on it. */
#include "linalg/product_kernels.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "linalg/rows.h"

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

/* Intel's processors take AVX512-BF16's instruction once a cycle: no more products than the two float32 units make, but more work about them: 73
 * GF/s of X^T X and 79 of linear layers on one where widened operands make 110 and 131. Zen's make twice as many as float32. */
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

/* Some rows of x over some products, packed. */
typedef struct block {
    const uint16_t *panels; /* left side, `depth` products each */
    size_t k, depth;        /* the first of them, and how many */
    size_t share;           /* of one call of the kernel */
} block;

/* out = beta out + sums */
static void add_sums(qd_cmatf sums, float beta, qd_matf out)
{
    const qd_rows *rows = qd_rows_best();
    for (size_t i = 0; i < out.rows; i++)
        if (beta == 0)
            memcpy(qd_matf_row(out, i), qd_cmatf_row(sums, i), out.cols * sizeof(float));
        else
            rows->add(1, qd_cmatf_row(sums, i), out.cols, qd_matf_row(out, i));
}

/* A panel of outputs. Sums of several calls are made in one place, out of the way of the strides of `out`. */
static void apply_panel(const qd_packed *packed, const block *b, const uint16_t *weights, float beta, qd_matf out)
{
    _Alignas(64) float sums[QD_PRODUCT_SUMS];
    const qd_product_kernel *kernel = packed->kernel;
    size_t width = kernel->width, stride = b->depth * width;
    qd_matf made = { out.rows, out.cols, width, sums };
    if (b->share >= b->depth) {
        kernel->multiply(b->panels, stride, weights, b->depth, beta, out);
        return;
    }
    for (size_t k = 0; k < b->depth; k += b->share)
        kernel->multiply(b->panels + k * width, stride, weights + k * width, qd_min_size(b->share, b->depth - k),
                         k == 0 ? 0 : 1, made);
    add_sums(qd_matf_const(made), beta, out);
}

static void apply_block(const qd_packed *packed, const block *b, float beta, qd_matf out)
{
    size_t width = packed->kernel->width, size = panel_size(packed->kernel, packed->in);
    for (size_t o = 0; o < out.cols; o += width)
        apply_panel(packed, b, packed->panels + o / width * size + b->k * width, beta,
                    qd_matf_block(out, 0, o, out.rows, qd_min_size(width, out.cols - o)));
}

/* Widened on the way, some products at a time, which stay in the first cache. */
static void pack_widened(const qd_product_kernel *kernel, qd_cmath x, uint16_t *panel)
{
    enum { PIECE = 2 * QD_PANEL_STEP, WIDEST = 96 };
    _Alignas(64) float wide[WIDEST * PIECE];
    const qd_rows *f = qd_rows_best();
    assert(x.rows <= WIDEST);
    for (size_t k = 0; k < x.cols; k += PIECE) {
        qd_matf piece = qd_matf_view(wide, x.rows, qd_min_size(PIECE, x.cols - k));
        for (size_t i = 0; i < x.rows; i++)
            f->widen(x.data + i * x.ld + k, piece.cols, qd_matf_row(piece, i));
        kernel->pack_rows(qd_matf_const(piece), QD_PANEL_LEFT, panel + k * kernel->width);
    }
}

/* Rows [t, t + rows) over products [k, k + cols). */
static void pack_left(const qd_product_kernel *kernel, const qd_operand *x, size_t t, size_t k, size_t rows,
                      size_t cols, uint16_t *panel)
{
    size_t at = t * x->ld + k;
    if (x->floats != NULL) {
        kernel->pack_rows((qd_cmatf){ rows, cols, x->ld, x->floats + at }, QD_PANEL_LEFT, panel);
        return;
    }
    qd_cmath halves = { rows, cols, x->ld, x->halves + at };
    if (kernel->pack_rows_bf16 != NULL)
        kernel->pack_rows_bf16(halves, panel);
    else
        pack_widened(kernel, halves, panel);
}

/* Panels of rows [t, t + rows) over the products of b. */
static void pack_block(const qd_product_kernel *kernel, const qd_operand *x, size_t t, size_t rows, const block *b,
                       size_t cols, uint16_t *panels)
{
    for (size_t i = 0; i < rows; i += kernel->width)
        pack_left(kernel, x, t + i, b->k, qd_min_size(kernel->width, rows - i), cols, panels + i * b->depth);
}

void qd_packed_apply_all(const qd_packed *const *packed, size_t count, qd_operand x, float beta, const qd_matf *out)
{
    _Alignas(64) uint16_t panels[QD_PRODUCT_BLOCK];
    const qd_product_kernel *kernel = packed[0]->kernel;
    size_t most = kernel->side * kernel->width, share = qd_panel_share(QD_PRODUCT_DEPTH, x.cols);
    qd_product_begin(kernel);
    for (size_t t = 0; t < x.rows; t += most)
        for (size_t k = 0; k < x.cols; k += share) {
            size_t rows = qd_min_size(most, x.rows - t), cols = qd_min_size(share, x.cols - k);
            block b = { panels, k, qd_panel_depth(cols), qd_panel_share(kernel->depth, cols) };
            pack_block(kernel, &x, t, rows, &b, cols, panels);
            for (size_t p = 0; p < count; p++) {
                assert(packed[p]->kernel == kernel && x.cols == packed[p]->in);
                assert(out[p].cols == packed[p]->out && x.rows == out[p].rows);
                apply_block(packed[p], &b, k == 0 ? beta : 1, qd_matf_block(out[p], t, 0, rows, out[p].cols));
            }
        }
    qd_product_end(kernel);
}

/* Panel by panel of outputs, of both layers. */
static void gate_block(const qd_packed *gate, const qd_packed *up, const block *b, qd_gating *f, qd_matf out)
{
    _Alignas(64) float made[2][QD_PRODUCT_SUMS];
    size_t width = gate->kernel->width, size = panel_size(gate->kernel, gate->in);
    for (size_t o = 0; o < out.cols; o += width) {
        size_t cols = qd_min_size(width, out.cols - o), at = o / width * size;
        qd_matf g = { out.rows, cols, width, made[0] }, u = { out.rows, cols, width, made[1] };
        apply_panel(gate, b, gate->panels + at, 0, g);
        apply_panel(up, b, up->panels + at, 0, u);
        for (size_t i = 0; i < out.rows; i++) {
            f(qd_matf_row(g, i), qd_matf_row(u, i), cols);
            memcpy(qd_matf_row(out, i) + o, qd_matf_row(g, i), cols * sizeof(float));
        }
    }
}

bool qd_packed_apply_gated(const qd_packed *gate, const qd_packed *up, qd_operand x, qd_gating *f, qd_matf out)
{
    _Alignas(64) uint16_t panels[QD_PRODUCT_BLOCK];
    const qd_product_kernel *kernel = gate->kernel;
    size_t most = kernel->side * kernel->width;
    block b = { panels, 0, qd_panel_depth(x.cols), qd_panel_share(kernel->depth, x.cols) };
    if (x.cols > QD_PRODUCT_DEPTH)
        return false;
    assert(up->kernel == kernel && gate->in == x.cols && up->in == x.cols && up->out == gate->out);
    assert(out.cols == gate->out && out.rows == x.rows);
    qd_product_begin(kernel);
    for (size_t t = 0; t < x.rows; t += most) {
        size_t rows = qd_min_size(most, x.rows - t);
        pack_block(kernel, &x, t, rows, &b, x.cols, panels);
        gate_block(gate, up, &b, f, qd_matf_block(out, t, 0, rows, out.cols));
    }
    qd_product_end(kernel);
    return true;
}

void qd_packed_apply(const qd_packed *packed, qd_cmatf x, float beta, qd_matf out)
{
    qd_packed_apply_all(&packed, 1, qd_operand_floats(x), beta, &out);
}
