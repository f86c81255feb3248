/* product_portable.c: panels for any processor: [product][feature], widened to float32 again a piece at a time and multiplied by CBLAS. */
#include "linalg/product_kernels.h"

#include <string.h>

#include "base/mem.h"
#include "linalg/gemm.h"
#include "linalg/half.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3") /* vectorize the runs */
#endif

enum { WIDTH = 128, PIECE = 256 };

static bool supported(void)
{
    return true;
}

static uint32_t pack_columns(qd_cmatf x, qd_panel_side side, uint16_t *panel)
{
    uint32_t largest = 0;
    (void)side;
    memset(panel, 0, qd_panel_depth(x.rows) * WIDTH * sizeof *panel);
    for (size_t k = 0; k < x.rows; k++) {
        const float *from = qd_cmatf_row(x, k);
        for (size_t i = 0; i < x.cols; i++)
            panel[k * WIDTH + i] = qd_float_to_bf16(from[i]);
        largest = qd_largest_bits(from, x.cols, largest);
    }
    return largest;
}

static void pack_rows(qd_cmatf x, qd_panel_side side, uint16_t *panel)
{
    (void)side;
    memset(panel, 0, qd_panel_depth(x.cols) * WIDTH * sizeof *panel);
    for (size_t i = 0; i < x.rows; i++) {
        const float *from = qd_cmatf_row(x, i);
        for (size_t k = 0; k < x.cols; k++)
            panel[k * WIDTH + i] = qd_float_to_bf16(from[k]);
    }
}

static void multiply(const uint16_t *left, size_t stride, const uint16_t *right, size_t k, float beta, qd_matf out)
{
    _Alignas(64) float a[PIECE * WIDTH], b[PIECE * WIDTH];
    for (size_t at = 0; at < k; at += PIECE) {
        size_t count = qd_min_size(PIECE, k - at);
        qd_bf16_to_floats(right + at * WIDTH, count * WIDTH, b);
        for (size_t i = 0; i < out.rows; i += WIDTH) {
            qd_matf rows = qd_matf_block(out, i, 0, qd_min_size(WIDTH, out.rows - i), out.cols);
            qd_bf16_to_floats(left + i / WIDTH * stride + at * WIDTH, count * WIDTH, a);
            qd_gemm_f32(QD_TRANSPOSED, QD_PLAIN, 1, (qd_cmatf){ count, rows.rows, WIDTH, a },
                        (qd_cmatf){ count, out.cols, WIDTH, b }, at == 0 ? beta : 1, rows);
        }
    }
}

const qd_product_kernel qd_product_portable = {
    .name = "portable",
    .supported = supported,
    .width = WIDTH,
    .side = 2,
    .depth = PIECE,
    .least = 1,
    .most = 2,
    .tiles = 12,
    .pack_columns = pack_columns,
    .pack_rows = pack_rows,
    .multiply = multiply,
    .multiply_rights = multiply,
};
