/* head.c: both ends of the model: embedding rows in, final norm and logits out, in slices of the vocabulary. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "linalg/gemm.h"
#include "linalg/vexp.h"
#include "model/arch_private.h"

enum { SLICE_ROWS = 2048 }; /* vocabulary rows widened at a time */

/* Rows of a table as floats; what is not finite is an error that names the tensor. */
static qd_code finite_rows(const qd_tensor *table, size_t first, size_t count, float *out, qd_error *err)
{
    qd_code code = qd_tensor_rows_to_floats(table, first, count, out, err);
    if (code != QD_OK)
        return code;
    return qd_all_finite(out, count * (size_t)table->shape[1]) ? QD_OK : qd_tensor_check_finite(table, err);
}

qd_code qd_model_embed(const qd_model *model, const uint32_t *ids, qd_matf out, qd_error *err)
{
    const qd_tensor *table = qd_model_embedding(model);
    size_t vocabulary = qd_model_borrow_config(model)->vocabulary;
    for (size_t t = 0; t < out.rows; t++) {
        if (ids[t] >= vocabulary)
            return qd_fail(err, QD_EINVAL, "token id %u at position %zu is not below the vocabulary of %zu", ids[t], t,
                           vocabulary);
        qd_code code = finite_rows(table, ids[t], 1, qd_matf_row(out, t), err);
        if (code != QD_OK)
            return code;
    }
    return QD_OK;
}

qd_code qd_model_final_norm(const qd_model *model, qd_matf hidden, qd_error *err)
{
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf weight = { 0 };
    qd_code code = qd_matf_buf_init(&weight, 1, hidden.cols, err);
    if (code == QD_OK)
        code = qd_tensor_check_finite(qd_model_final_norm_tensor(model), err);
    if (code == QD_OK)
        code = qd_tensor_to_floats(qd_model_final_norm_tensor(model), weight.view.data, err);
    if (code == QD_OK)
        qd_rms_norm(qd_matf_const(hidden), weight.view.data, qd_model_decoder(model)->eps, hidden);
    return code;
}

/* logits of words [first, first + out.cols) into out (T x slice); `rows` is scratch of slice x D. */
static qd_code slice_logits(const qd_model *model, qd_cmatf normed, size_t first, qd_matf rows, qd_matf out,
                            qd_error *err)
{
    qd_matf used = qd_matf_block(rows, 0, 0, out.cols, normed.cols);
    qd_code code = finite_rows(qd_model_head(model), first, out.cols, used.data, err);
    if (code == QD_OK)
        qd_gemm_f32(QD_PLAIN, QD_TRANSPOSED, 1, normed, qd_matf_const(used), 0, out);
    return code;
}

qd_code qd_model_logits(const qd_model *model, qd_cmatf normed, qd_matf out, qd_error *err)
{
    size_t vocabulary = qd_model_borrow_config(model)->vocabulary;
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf rows = { 0 };
    qd_code code = qd_matf_buf_init(&rows, qd_min_size(SLICE_ROWS, vocabulary), normed.cols, err);
    for (size_t first = 0; code == QD_OK && first < vocabulary; first += SLICE_ROWS) {
        size_t count = qd_min_size(SLICE_ROWS, vocabulary - first);
        code = slice_logits(model, normed, first, rows.view, qd_matf_block(out, 0, first, out.rows, count), err);
    }
    return code;
}

/* Running log-sum-exp of a row over slices: sum of exp(x - max). */
typedef struct running {
    double sum;
    float max, target;
} running;

static void add_slice(running *r, const float *row, size_t count)
{
    float max;
    double sum;
    qd_exp_sum_row(row, count, &max, &sum);
    if (max > r->max) {
        r->sum = r->sum * exp((double)r->max - (double)max) + sum;
        r->max = max;
    } else
        r->sum += sum * exp((double)max - (double)r->max);
}

static qd_code check_targets(const uint32_t *targets, size_t count, size_t vocabulary, qd_error *err)
{
    for (size_t t = 0; t < count; t++)
        if (targets[t] >= vocabulary)
            return qd_fail(err, QD_EINVAL, "token id %u is not below the vocabulary of %zu", targets[t], vocabulary);
    return QD_OK;
}

static double finish_nll(const running *rows, size_t count, double *per_row)
{
    double total = 0;
    for (size_t t = 0; t < count; t++) {
        double nll = log(rows[t].sum) + (double)rows[t].max - (double)rows[t].target;
        if (per_row != NULL)
            per_row[t] = nll;
        total += nll;
    }
    return total;
}

qd_code qd_model_nll(const qd_model *model, qd_cmatf normed, const uint32_t *targets, double *per_row, double *out_sum,
                     qd_error *err)
{
    size_t vocabulary = qd_model_borrow_config(model)->vocabulary, slice = qd_min_size(SLICE_ROWS, vocabulary);
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf rows = { 0 }, logits = { 0 };
    QD_AUTO(qd_free_pointer) running *state = NULL;
    qd_code code = check_targets(targets, normed.rows, vocabulary, err);
    if (code == QD_OK)
        code = qd_matf_buf_init(&rows, slice, normed.cols, err);
    if (code == QD_OK)
        code = qd_matf_buf_init(&logits, normed.rows, slice, err);
    if (code == QD_OK)
        code = qd_alloc(normed.rows, sizeof *state, (void **)&state, err);
    for (size_t t = 0; code == QD_OK && t < normed.rows; t++)
        state[t].max = -INFINITY;
    for (size_t first = 0; code == QD_OK && first < vocabulary; first += slice) {
        size_t count = qd_min_size(slice, vocabulary - first);
        qd_matf part = qd_matf_block(logits.view, 0, 0, normed.rows, count);
        code = slice_logits(model, normed, first, rows.view, part, err);
        for (size_t t = 0; code == QD_OK && t < normed.rows; t++) {
            add_slice(&state[t], qd_matf_row(part, t), count);
            if (targets[t] >= first && targets[t] - first < count)
                state[t].target = qd_matf_row(part, t)[targets[t] - first];
        }
    }
    if (code == QD_OK)
        *out_sum = finish_nll(state, normed.rows, per_row);
    return code;
}
