/* layers.c: see layers.h. */
#include "model/layers.h"

#include "linalg/gemm.h"
#include "linalg/rows.h"
#include "linalg/vexp.h"

void qd_dense_fini(qd_dense *dense)
{
    qd_matf_buf_fini(&dense->weight);
    qd_packed_destroy(dense->packed);
    qd_matf_buf_fini(&dense->bias);
    *dense = (qd_dense){ 0 };
}

static void add_bias(const qd_dense *dense, qd_matf out)
{
    const float *bias = dense->bias.view.data;
    const qd_rows *f = qd_rows_best();
    for (size_t t = 0; bias != NULL && t < out.rows; t++)
        f->add(1, bias, out.cols, qd_matf_row(out, t));
}

void qd_dense_apply(const qd_dense *dense, qd_operand x, qd_accumulate mode, qd_matf out)
{
    float beta = mode == QD_ADD ? 1 : 0;
    if (dense->packed != NULL)
        qd_packed_apply_all((const qd_packed *const[]){ dense->packed }, 1, x, beta, &out);
    else
        qd_gemm_f32(QD_PLAIN, QD_TRANSPOSED, 1, qd_floats_of(x), qd_matf_const(dense->weight.view), beta, out);
    add_bias(dense, out);
}

void qd_dense_apply_all(const qd_dense *const *dense, size_t count, qd_operand x, const qd_matf *out)
{
    const qd_packed *packed[QD_DENSE_TOGETHER] = { NULL };
    size_t found = 0;
    assert(count <= QD_DENSE_TOGETHER);
    for (size_t i = 0; i < count && dense[i]->packed != NULL; i++)
        packed[found++] = dense[i]->packed;
    if (count > 0 && found == count) {
        qd_packed_apply_all(packed, count, x, 0, out);
        for (size_t i = 0; i < count; i++)
            add_bias(dense[i], out[i]);
    } else
        for (size_t i = 0; i < count; i++)
            qd_dense_apply(dense[i], x, QD_SET, out[i]);
}

bool qd_dense_apply_gated(const qd_dense *gate, const qd_dense *up, qd_operand x, qd_gating *f, qd_matf out)
{
    return gate->packed != NULL && up->packed != NULL && gate->bias.view.data == NULL && up->bias.view.data == NULL &&
           qd_packed_apply_gated(gate->packed, up->packed, x, f, out);
}

void qd_norm_fini(qd_norm *norm)
{
    qd_matf_buf_fini(&norm->weight);
    qd_matf_buf_fini(&norm->bias);
}

void qd_norm_apply(const qd_norm *norm, qd_cmatf x, qd_matf out)
{
    const qd_rows *f = qd_rows_best();
    size_t width = norm->weight.view.cols, rows = norm->weight.view.rows;
    for (size_t t = 0; t < x.rows; t++)
        for (size_t piece = 0; piece < x.cols / width; piece++) {
            const float *from = qd_cmatf_row(x, t) + piece * width,
                        *weight = qd_matf_row(norm->weight.view, piece % rows);
            float *to = qd_matf_row(out, t) + piece * width;
            if (norm->kind == QD_NORM_LAYER)
                f->layer_norm(from, weight, norm->bias.view.data, norm->eps, width, to);
            else
                f->rms_norm(from, weight, norm->eps, width, to);
        }
}

void qd_soft_cap(float cap, float *x, size_t count)
{
    qd_tanh_row(x, count, 1 / cap, cap);
}
