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

/* In float32 queries, weighted values, scores, and where they are rounded a head's keys and values. By panels weighted values, two blocks of scores,
 * then in bf16 queries, weights, keys and values. */
size_t qd_attention_room(size_t head_dim, size_t tokens)
{
    size_t keys = (tokens + QD_ATTENTION_KEYS - 1) / QD_ATTENTION_KEYS * QD_ATTENTION_KEYS,
           deep = qd_panel_depth(head_dim);
    size_t rounded = 2 * head_dim + QD_ATTENTION_KEYS + 2 * keys * head_dim / QD_ATTENTION_LANES;
    size_t panels = deep + 2 * QD_ATTENTION_KEYS + (deep + QD_ATTENTION_KEYS) / 2 + keys * deep / QD_ATTENTION_LANES;
    return qd_max_size(rounded, panels);
}

#ifdef QD_ATTENTION_X86
static const qd_product_kernel *panels_of(const qd_attention *attention)
{
    const qd_product_kernel *best = qd_product_kernel_best();
    bool fits = best->left_rows && QD_ATTENTION_LANES % best->width == 0 && best->width <= QD_PANEL_STEP;
    return attention->arithmetic == QD_ARITHMETIC_BFLOAT16 && fits && qd_attention_avx512.supported() ? best : NULL;
}
#else
static const qd_product_kernel *panels_of(const qd_attention *attention)
{
    (void)attention;
    return NULL;
}
#endif

static void attend(const qd_attention_kernel *kernel, const qd_attention_part *part)
{
#ifdef QD_ATTENTION_X86
    if (part->products != NULL) {
        qd_attention_by_panels(part);
        return;
    }
#endif
    kernel->attend(part);
}

void qd_attention_apply_with(const qd_attention_kernel *kernel, const qd_product_kernel *products,
                             const qd_attention *attention, qd_cmatf q, qd_cmatf k, qd_cmatf v, qd_matf room,
                             qd_matf out)
{
    size_t hd = attention->head_dim, wide = attention->heads / attention->kv_heads * hd;
    assert(q.rows <= k.rows && room.rows >= qd_attention_room(hd, k.rows) && room.ld == QD_ATTENTION_LANES);
    for (size_t kv = 0; kv < attention->kv_heads; kv++)
        attend(kernel, &(qd_attention_part){
                           .attention = attention,
                           .q = qd_cmatf_block(q, 0, kv * wide, q.rows, wide),
                           .k = qd_cmatf_block(k, 0, kv * hd, k.rows, hd),
                           .v = qd_cmatf_block(v, 0, kv * hd, v.rows, hd),
                           .out = qd_matf_block(out, 0, kv * wide, q.rows, wide),
                           .room = room.data,
                           .products = products,
                       });
}

void qd_attention_apply(const qd_attention *attention, qd_cmatf q, qd_cmatf k, qd_cmatf v, qd_matf room, qd_matf out)
{
    size_t i = 0;
    while (!kernels[i]->supported())
        i++;
    qd_attention_apply_with(kernels[i], panels_of(attention), attention, q, k, v, room, out);
}

void qd_attention_last(const qd_attention *attention, qd_cmatf q, qd_cmatf k, qd_cmatf v, qd_matf scores, qd_matf out)
{
    size_t hd = attention->head_dim, sharing = attention->heads / attention->kv_heads;
    size_t begin = attention->window > 0 && k.rows > attention->window ? k.rows - attention->window : 0;
    assert(attention->arithmetic == QD_ARITHMETIC_FLOAT32);
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
