/* attention.c: see attention.h. */
#include "model/attention.h"

#include "base/mem.h"
#include "linalg/gemm.h"
#include "linalg/vexp.h"
#include "model/attention_kernels.h"

static const qd_attention_kernel *const kernels[] = {
#ifdef QD_ATTENTION_X86
    &qd_attention_avx512,
    &qd_attention_avx2,
#endif
    &qd_attention_portable,
};

const qd_attention_kernel *qd_attention_kernel_at(size_t index)
{
    return index < QD_LENGTH(kernels) ? kernels[index] : NULL;
}

size_t qd_attention_room(size_t head_dim)
{
    return 2 * head_dim + QD_ATTENTION_KEYS;
}

void qd_attention_apply_with(const qd_attention_kernel *kernel, const qd_attention *attention, qd_cmatf q, qd_cmatf k,
                             qd_cmatf v, qd_matf room, qd_matf out)
{
    size_t hd = attention->head_dim, wide = attention->heads / attention->kv_heads * hd;
    assert(q.rows <= k.rows && room.rows >= qd_attention_room(hd) && room.ld == QD_ATTENTION_LANES);
    for (size_t kv = 0; kv < attention->kv_heads; kv++)
        kernel->attend(&(qd_attention_part){
            .attention = attention,
            .q = qd_cmatf_block(q, 0, kv * wide, q.rows, wide),
            .k = qd_cmatf_block(k, 0, kv * hd, k.rows, hd),
            .v = qd_cmatf_block(v, 0, kv * hd, v.rows, hd),
            .out = qd_matf_block(out, 0, kv * wide, q.rows, wide),
            .room = room.data,
        });
}

void qd_attention_apply(const qd_attention *attention, qd_cmatf q, qd_cmatf k, qd_cmatf v, qd_matf room, qd_matf out)
{
    size_t i = 0;
    while (!kernels[i]->supported())
        i++;
    qd_attention_apply_with(kernels[i], attention, q, k, v, room, out);
}

void qd_attention_last(const qd_attention *attention, qd_cmatf q, qd_cmatf k, qd_cmatf v, qd_matf scores, qd_matf out)
{
    size_t hd = attention->head_dim, sharing = attention->heads / attention->kv_heads;
    size_t begin = attention->window > 0 && k.rows > attention->window ? k.rows - attention->window : 0;
    for (size_t kv = 0; kv < attention->kv_heads; kv++) {
        /* the heads that share a key/value head are rows of one product */
        qd_cmatf queries = { sharing, hd, hd, qd_cmatf_row(q, 0) + kv * sharing * hd };
        qd_cmatf keys = qd_cmatf_block(k, begin, kv * hd, k.rows - begin, hd);
        qd_cmatf values = qd_cmatf_block(v, begin, kv * hd, v.rows - begin, hd);
        qd_matf s = { sharing, keys.rows, keys.rows, scores.data };
        qd_gemm_f32(QD_PLAIN, QD_TRANSPOSED, attention->scale, queries, keys, 0, s);
        for (size_t i = 0; i < sharing; i++) {
            if (attention->cap > 0)
                qd_tanh_row(qd_matf_row(s, i), s.cols, 1 / attention->cap, attention->cap);
            qd_softmax_row(qd_matf_row(s, i), s.cols);
        }
        qd_gemm_f32(QD_PLAIN, QD_PLAIN, 1, qd_matf_const(s), values, 0,
                    (qd_matf){ sharing, hd, hd, qd_matf_row(out, 0) + kv * sharing * hd });
    }
}
