/* head.c: both ends of the model: embedding rows in, final norm and logits out, in slices of the vocabulary. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "linalg/gemm.h"
#include "linalg/vexp.h"
#include "model/block_private.h"

enum { SLICE_ROWS = 2048 }; /* vocabulary rows widened at a time */

/* Rows of a table as floats; what is not finite is an error that names the tensor. */
static qd_code finite_rows(const qd_tensor *table, size_t first, size_t count, float *out, qd_error *err)
{
    qd_code code = qd_tensor_rows_to_floats(table, first, count, out, err);
    if (code != QD_OK)
        return code;
    return qd_all_finite(out, count * (size_t)table->shape[1]) ? QD_OK : qd_tensor_check_finite(table, err);
}

/* Rows of learned positions for every row of `out`, each added. */
static qd_code add_positions(const qd_model *model, size_t position, size_t step, qd_matf out, qd_error *err)
{
    const qd_tensor *table = qd_model_ends_of(model)->positions;
    size_t offset = qd_model_decoder(model)->ops->position_offset;
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf row = { 0 };
    qd_code code = qd_matf_buf_init(&row, 1, out.cols, err);
    for (size_t t = 0; code == QD_OK && t < out.rows; t++) {
        size_t at = position + t * step;
        if (at >= table->shape[0] - offset)
            return qd_fail(err, QD_EINVAL, "position %zu: this model has learned %zu of them", at,
                           (size_t)table->shape[0] - offset);
        code = finite_rows(table, offset + at, 1, row.view.data, err);
        for (size_t i = 0; code == QD_OK && i < out.cols; i++)
            qd_matf_row(out, t)[i] += row.view.data[i];
    }
    return code;
}

static qd_code look_up(const qd_model *model, const uint32_t *ids, qd_matf out, qd_error *err)
{
    size_t vocabulary = qd_model_borrow_config(model)->vocabulary;
    float scale = qd_model_decoder(model)->embedding_scale;
    for (size_t t = 0; t < out.rows; t++) {
        if (ids[t] >= vocabulary)
            return qd_fail(err, QD_EINVAL, "token id %u at position %zu is not below the vocabulary of %zu", ids[t], t,
                           vocabulary);
        qd_code code = finite_rows(qd_model_ends_of(model)->embedding, ids[t], 1, qd_matf_row(out, t), err);
        if (code != QD_OK)
            return code;
        for (size_t i = 0; scale != 1 && i < out.cols; i++)
            qd_matf_row(out, t)[i] *= scale;
    }
    return QD_OK;
}

/* out = x W^T for a matrix that is widened whole: projections of embeddings. */
static qd_code project(const qd_tensor *matrix, qd_cmatf x, qd_matf out, qd_error *err)
{
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf w = { 0 };
    qd_code code = qd_matf_buf_init(&w, (size_t)matrix->shape[0], (size_t)matrix->shape[1], err);
    if (code == QD_OK)
        code = qd_load_finite(matrix, w.view.data, err);
    if (code == QD_OK)
        qd_gemm_f32(QD_PLAIN, QD_TRANSPOSED, 1, x, qd_matf_const(w.view), 0, out);
    return code;
}

static qd_code embed(const qd_model *model, const uint32_t *ids, size_t position, size_t step, qd_matf out,
                     qd_error *err)
{
    const qd_model_ends *ends = qd_model_ends_of(model);
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf narrow = { 0 };
    qd_code code = qd_model_need_forward(model, err);
    if (code != QD_OK)
        return code;
    if (ends->project_in == NULL)
        code = look_up(model, ids, out, err);
    else {
        code = qd_matf_buf_init(&narrow, out.rows, qd_model_decoder(model)->embedding, err);
        if (code == QD_OK)
            code = look_up(model, ids, narrow.view, err);
        if (code == QD_OK)
            code = project(ends->project_in, qd_matf_const(narrow.view), out, err);
    }
    return code == QD_OK && ends->positions != NULL ? add_positions(model, position, step, out, err) : code;
}

qd_code qd_model_embed(const qd_model *model, const uint32_t *ids, qd_matf out, qd_error *err)
{
    return embed(model, ids, 0, 1, out, err);
}

qd_code qd_model_embed_from(const qd_model *model, const uint32_t *ids, size_t first, qd_matf out, qd_error *err)
{
    return embed(model, ids, first, 1, out, err);
}

qd_code qd_model_embed_at(const qd_model *model, const uint32_t *ids, size_t position, qd_matf out, qd_error *err)
{
    return embed(model, ids, position, 0, out, err);
}

qd_code qd_model_final_norm(const qd_model *model, qd_matf hidden, qd_error *err)
{
    const qd_model_ends *ends = qd_model_ends_of(model);
    QD_AUTO(qd_norm_fini) qd_norm norm = { 0 };
    qd_code code = qd_model_need_forward(model, err);
    if (code != QD_OK || ends->final_norm == NULL)
        return code;
    code = qd_load_row(ends->final_norm, &norm.weight, err);
    if (code == QD_OK)
        code = qd_norm_finish(qd_model_decoder(model), ends->final_norm_bias, &norm, err);
    if (code == QD_OK)
        qd_norm_apply(&norm, qd_matf_const(hidden), hidden);
    return code;
}

/* What the head reads: `normed`, or its projection to the embedding's width, made in `buf`. */
static qd_code head_input(const qd_model *model, qd_cmatf normed, qd_matf_buf *buf, qd_cmatf *out, qd_error *err)
{
    const qd_tensor *matrix = qd_model_ends_of(model)->project_out;
    *out = normed;
    qd_code code = qd_model_need_forward(model, err);
    if (code != QD_OK || matrix == NULL)
        return code;
    code = qd_matf_buf_init(buf, normed.rows, (size_t)matrix->shape[0], err);
    if (code == QD_OK)
        code = project(matrix, normed, buf->view, err);
    *out = qd_matf_const(buf->view);
    return code;
}

/* logits of the words whose rows of the head these are: T x their number. */
static void word_logits(const qd_model *model, qd_cmatf input, qd_cmatf rows, qd_matf out)
{
    const qd_decoder *d = qd_model_decoder(model);
    qd_gemm_f32(QD_PLAIN, QD_TRANSPOSED, d->logit_scale, input, rows, 0, out);
    for (size_t t = 0; d->logit_cap > 0 && t < out.rows; t++)
        qd_soft_cap(d->logit_cap, qd_matf_row(out, t), out.cols);
}

/* logits of words [first, first + out.cols) into out (T x slice); `rows` is scratch of slice x the input's width. */
static qd_code slice_logits(const qd_model *model, qd_cmatf input, size_t first, qd_matf rows, qd_matf out,
                            qd_error *err)
{
    qd_matf used = qd_matf_block(rows, 0, 0, out.cols, input.cols);
    qd_code code = finite_rows(qd_model_ends_of(model)->head, first, out.cols, used.data, err);
    if (code == QD_OK)
        word_logits(model, input, qd_matf_const(used), out);
    return code;
}

qd_code qd_model_logits(const qd_model *model, qd_cmatf normed, qd_matf out, qd_error *err)
{
    size_t vocabulary = qd_model_borrow_config(model)->vocabulary;
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf rows = { 0 }, projected = { 0 };
    qd_cmatf input;
    qd_code code = head_input(model, normed, &projected, &input, err);
    if (code == QD_OK)
        code = qd_matf_buf_init(&rows, qd_min_size(SLICE_ROWS, vocabulary), input.cols, err);
    for (size_t first = 0; code == QD_OK && first < vocabulary; first += SLICE_ROWS) {
        size_t count = qd_min_size(SLICE_ROWS, vocabulary - first);
        code = slice_logits(model, input, first, rows.view, qd_matf_block(out, 0, first, out.rows, count), err);
    }
    return code;
}

struct qd_head {
    const qd_model *model;
    qd_matf_buf rows; /* V x the width of the head's input */
};

void qd_head_destroy(qd_head *head)
{
    if (head == NULL)
        return;
    qd_matf_buf_fini(&head->rows);
    free(head);
}

qd_code qd_head_load(const qd_model *model, qd_head **out, qd_error *err)
{
    const qd_tensor *table = qd_model_ends_of(model)->head;
    qd_head *head = NULL;
    qd_code code = qd_alloc(1, sizeof *head, (void **)&head, err);
    if (code == QD_OK) {
        head->model = model;
        code = qd_matf_buf_init(&head->rows, (size_t)table->shape[0], (size_t)table->shape[1], err);
    }
    if (code == QD_OK)
        code = qd_load_finite(table, head->rows.view.data, err);
    if (code != QD_OK) {
        qd_head_destroy(head);
        return code;
    }
    *out = head;
    return QD_OK;
}

qd_code qd_head_logits(const qd_head *head, qd_cmatf normed, qd_matf out, qd_error *err)
{
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf projected = { 0 };
    qd_cmatf input;
    qd_code code = head_input(head->model, normed, &projected, &input, err);
    if (code == QD_OK)
        word_logits(head->model, input, qd_matf_const(head->rows.view), out);
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
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf rows = { 0 }, logits = { 0 }, projected = { 0 };
    qd_cmatf input;
    QD_AUTO(qd_free_pointer) running *state = NULL;
    qd_code code = check_targets(targets, normed.rows, vocabulary, err);
    if (code == QD_OK)
        code = head_input(model, normed, &projected, &input, err);
    if (code == QD_OK)
        code = qd_matf_buf_init(&rows, slice, input.cols, err);
    if (code == QD_OK)
        code = qd_matf_buf_init(&logits, normed.rows, slice, err);
    if (code == QD_OK)
        code = qd_alloc(normed.rows, sizeof *state, (void **)&state, err);
    for (size_t t = 0; code == QD_OK && t < normed.rows; t++)
        state[t].max = -INFINITY;
    for (size_t first = 0; code == QD_OK && first < vocabulary; first += slice) {
        size_t count = qd_min_size(slice, vocabulary - first);
        qd_matf part = qd_matf_block(logits.view, 0, 0, normed.rows, count);
        code = slice_logits(model, input, first, rows.view, part, err);
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
