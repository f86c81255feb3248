/* quadratic.c: see quadratic.h. */
#include "quant/quadratic.h"

#include "base/mem.h"
#include "linalg/gemm.h"

static qd_cmatd part(qd_cmatd m, size_t i, size_t j, size_t rows, size_t cols)
{
    return (qd_cmatd){ rows, cols, m.ld, m.data + i * m.ld + j };
}

void qd_quadratic_factor(qd_cmatd c, qd_cmatd x, qd_matd scratch, double *out)
{
    for (size_t i = 0; i < x.rows; i++)
        out[i] = 0.0;
    for (size_t j = 0; j < c.cols; j += QD_QUADRATIC_BLOCK) {
        size_t cols = qd_min_size(QD_QUADRATIC_BLOCK, c.cols - j);
        qd_matd product = qd_matd_block(scratch, 0, 0, x.rows, cols);
        /* C is zero below row j + cols in these columns */
        qd_gemm_f64(QD_PLAIN, QD_PLAIN, 1.0, part(x, 0, 0, x.rows, j + cols), part(c, 0, j, j + cols, cols), 0.0,
                    product);
        for (size_t i = 0; i < x.rows; i++)
            for (size_t k = 0; k < cols; k++)
                out[i] += qd_matd_row(product, i)[k] * qd_matd_row(product, i)[k];
    }
}

/* x H x^T = sum over block columns j of (x_j H_jj + 2 sum_{k<j} x_k H_kj) x_j^T: half the products. */
void qd_quadratic_direct(qd_cmatd h, double shift, qd_cmatd x, qd_matd scratch, double *out)
{
    for (size_t i = 0; i < x.rows; i++)
        out[i] = 0.0;
    for (size_t j = 0; j < h.cols; j += QD_QUADRATIC_BLOCK) {
        size_t cols = qd_min_size(QD_QUADRATIC_BLOCK, h.cols - j);
        qd_matd product = qd_matd_block(scratch, 0, 0, x.rows, cols);
        qd_gemm_f64(QD_PLAIN, QD_PLAIN, 1.0, part(x, 0, j, x.rows, cols), part(h, j, j, cols, cols), 0.0, product);
        if (j > 0)
            qd_gemm_f64(QD_PLAIN, QD_PLAIN, 2.0, part(x, 0, 0, x.rows, j), part(h, 0, j, j, cols), 1.0, product);
        for (size_t i = 0; i < x.rows; i++) {
            const double *row = qd_cmatd_row(x, i) + j;
            for (size_t k = 0; k < cols; k++)
                out[i] += (qd_matd_row(product, i)[k] + shift * row[k]) * row[k];
        }
    }
}

void qd_quadratic_direct_f32(qd_cmatf h, double shift, qd_cmatf x, qd_matf scratch, double *out)
{
    for (size_t i = 0; i < x.rows; i++)
        out[i] = 0.0;
    for (size_t j = 0; j < h.cols; j += QD_QUADRATIC_BLOCK) {
        size_t cols = qd_min_size(QD_QUADRATIC_BLOCK, h.cols - j);
        qd_matf product = qd_matf_block(scratch, 0, 0, x.rows, cols);
        qd_gemm_f32(QD_PLAIN, QD_PLAIN, 1.0f, qd_cmatf_block(x, 0, j, x.rows, cols),
                    qd_cmatf_block(h, j, j, cols, cols), 0.0f, product);
        if (j > 0)
            qd_gemm_f32(QD_PLAIN, QD_PLAIN, 2.0f, qd_cmatf_block(x, 0, 0, x.rows, j), qd_cmatf_block(h, 0, j, j, cols),
                        1.0f, product);
        for (size_t i = 0; i < x.rows; i++) {
            const float *row = qd_cmatf_row(x, i) + j;
            for (size_t k = 0; k < cols; k++)
                out[i] += ((double)qd_matf_row(product, i)[k] + shift * (double)row[k]) * (double)row[k];
        }
    }
}
