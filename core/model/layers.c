/* layers.c: see layers.h. */
#include "model/layers.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "linalg/gemm.h"
#include "linalg/vexp.h"

void qd_dense_fini(qd_dense *dense)
{
    qd_matf_buf_fini(&dense->weight);
    qd_matf_buf_fini(&dense->bias);
}

void qd_dense_apply(const qd_dense *dense, qd_cmatf x, qd_accumulate mode, qd_matf out)
{
    qd_gemm_f32(QD_PLAIN, QD_TRANSPOSED, 1, x, qd_matf_const(dense->weight.view), mode == QD_ADD ? 1 : 0, out);
    const float *bias = dense->bias.view.data;
    for (size_t t = 0; bias != NULL && t < out.rows; t++)
        for (size_t o = 0; o < out.cols; o++)
            qd_matf_row(out, t)[o] += bias[o];
}

void qd_rms_norm(qd_cmatf x, const float *weight, float eps, qd_matf out)
{
    for (size_t t = 0; t < x.rows; t++) {
        const float *row = qd_cmatf_row(x, t);
        float *to = qd_matf_row(out, t);
        double sum = 0;
        for (size_t i = 0; i < x.cols; i++)
            sum += (double)row[i] * (double)row[i];
        float inverse = (float)(1.0 / sqrt(sum / (double)x.cols + (double)eps));
        for (size_t i = 0; i < x.cols; i++)
            to[i] = weight[i] * (row[i] * inverse);
    }
}

/* Rows [first, first + rows) of one head: scores, mask, soft-max, weighted values. */
static void attend(const qd_attention *a, size_t first, qd_cmatf q, qd_cmatf k, qd_cmatf v, qd_matf scores, qd_matf out)
{
    size_t last = first + q.rows; /* keys beyond the last query are masked for all of them */
    size_t begin = a->window > 0 && first + 1 > a->window ? first + 1 - a->window : 0;
    qd_cmatf keys = qd_cmatf_block(k, begin, 0, last - begin, k.cols);
    qd_cmatf values = qd_cmatf_block(v, begin, 0, last - begin, v.cols);
    qd_matf s = { q.rows, last - begin, last - begin, scores.data };
    qd_gemm_f32(QD_PLAIN, QD_TRANSPOSED, a->scale, q, keys, 0, s);
    for (size_t i = 0; i < q.rows; i++) {
        size_t position = first + i;
        size_t from = a->window > 0 && position + 1 > a->window ? position + 1 - a->window : 0;
        float *row = qd_matf_row(s, i);
        size_t lead = from - begin, seen = position + 1 - from;
        memset(row, 0, lead * sizeof *row);
        qd_softmax_row(row + lead, seen);
        memset(row + lead + seen, 0, (s.cols - lead - seen) * sizeof *row);
    }
    qd_gemm_f32(QD_PLAIN, QD_PLAIN, 1, qd_matf_const(s), values, 0, out);
}

void qd_attention_apply(const qd_attention *attention, qd_cmatf q, qd_cmatf k, qd_cmatf v, qd_matf scores, qd_matf out)
{
    size_t length = q.rows, hd = attention->head_dim;
    for (size_t h = 0; h < attention->heads; h++) {
        size_t kv = h * attention->kv_heads / attention->heads;
        qd_cmatf keys = qd_cmatf_block(k, 0, kv * hd, length, hd), values = qd_cmatf_block(v, 0, kv * hd, length, hd);
        for (size_t first = 0; first < length; first += QD_ATTENTION_ROWS) {
            size_t rows = qd_min_size(QD_ATTENTION_ROWS, length - first);
            attend(attention, first, qd_cmatf_block(q, first, h * hd, rows, hd), keys, values, scores,
                   qd_matf_block(out, first, h * hd, rows, hd));
        }
    }
}
