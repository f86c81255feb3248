/* form.c: quadratic forms of the rows of a layer, cut into fixed panels over the pool. */
#include <string.h>

#include "base/mem.h"
#include "quant/certify.h"
#include "quant/quadratic.h"

enum { PANEL = 128 }; /* rows of a task */

typedef struct run {
    const qd_form_job *job;
    const uint32_t *rows;
    double *scratch; /* a worker: PANEL x I rows, PANEL x QD_QUADRATIC_BLOCK products */
    qd_cmatf narrow; /* the matrix where products are in float32, else empty */
    double *out;
} run;

bool qd_form_in_float32(const qd_layer_input *input, qd_products products)
{
    double size = (double)input->w.rows * (double)input->w.cols * (double)input->w.cols;
    return products == QD_PRODUCTS_FAST && size > QD_ALL_FLOAT64;
}

typedef struct narrowing {
    qd_cmatd from;
    qd_matf to;
} narrowing;

static qd_code narrow_rows(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const narrowing *n = ctx;
    (void)worker;
    (void)err;
    for (size_t i = index * PANEL; i < qd_min_size((index + 1) * PANEL, n->from.rows); i++)
        for (size_t j = 0; j < n->from.cols; j++)
            qd_matf_row(n->to, i)[j] = (float)qd_cmatd_row(n->from, i)[j];
    return QD_OK;
}

qd_code qd_form_narrow(qd_cmatd h, qd_pool *pool, qd_matf_buf *out, qd_error *err)
{
    qd_code code = qd_matf_buf_init(out, h.rows, h.cols, err);
    narrowing n = { h, out->view };
    return code == QD_OK ? qd_pool_for(pool, (h.rows - 1) / PANEL + 1, narrow_rows, &n, err) : code;
}

/* Rows in place: a float lies where its double lay or before it. */
static qd_matf narrow_in_place(qd_matd x)
{
    float *to = (float *)(void *)x.data;
    for (size_t i = 0; i < x.rows * x.cols; i++) {
        float value = (float)x.data[i];
        memcpy(to + i, &value, sizeof value);
    }
    return qd_matf_view(to, x.rows, x.cols);
}

static qd_cmatd matrix_of(const qd_form_job *job)
{
    return job->matrix != NULL ? *job->matrix : qd_matd_const(job->input->factor->hessian.view);
}

static qd_code run_panel(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const run *r = ctx;
    const qd_form_job *job = r->job;
    (void)err;
    size_t features = job->steps->count, start = index * PANEL, count = qd_min_size(PANEL, job->count - start);
    double *memory = r->scratch + worker * PANEL * (features + QD_QUADRATIC_BLOCK);
    qd_matd x = { count, features, features, memory };
    qd_matd product = { count, QD_QUADRATIC_BLOCK, QD_QUADRATIC_BLOCK, memory + PANEL * features };
    qd_steps_rows(job->input, job->steps, job->kind, job->codes, r->rows + start, count, x);
    const qd_factor *factor = job->input->factor;
    if (factor == NULL) {
        for (size_t i = 0; i < count; i++) {
            r->out[start + i] = 0.0;
            for (size_t t = 0; t < features; t++)
                r->out[start + i] += qd_matd_row(x, i)[t] * qd_matd_row(x, i)[t];
        }
    } else if (job->form == QD_FORM_FACTOR) {
        qd_quadratic_factor(qd_matd_const(factor->c.view), qd_matd_const(x), product, r->out + start);
    } else {
        double shift = job->shift == QD_SHIFT_LAMBDA ? job->steps->damping : 0.0;
        if (r->narrow.rows == 0)
            qd_quadratic_direct(matrix_of(job), shift, qd_matd_const(x), product, r->out + start);
        else
            qd_quadratic_direct_f32(r->narrow, shift, qd_matf_const(narrow_in_place(x)),
                                    qd_matf_view((float *)(void *)product.data, count, QD_QUADRATIC_BLOCK),
                                    r->out + start);
    }
    return QD_OK;
}

qd_code qd_form_run(const qd_form_job *job, double *out, qd_error *err)
{
    if (job->count == 0)
        return QD_OK;
    QD_AUTO(qd_free_pointer) void *scratch = NULL;
    QD_AUTO(qd_free_pointer) void *all = NULL;
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf narrow = { 0 };
    size_t threads = qd_pool_threads(job->input->pool);
    qd_code code = qd_alloc(threads * PANEL * (job->steps->count + QD_QUADRATIC_BLOCK), sizeof(double), &scratch, err);
    if (code == QD_OK && job->rows == NULL)
        code = qd_alloc(job->count, sizeof(uint32_t), &all, err);
    if (code == QD_OK && job->input->factor != NULL && job->form == QD_FORM_DIRECT &&
        qd_form_in_float32(job->input, job->products))
        code = qd_form_narrow(matrix_of(job), job->input->pool, &narrow, err);
    if (code != QD_OK)
        return code;
    uint32_t *rows = all;
    for (size_t i = 0; job->rows == NULL && i < job->count; i++)
        rows[i] = (uint32_t)i;
    run r = { job, job->rows == NULL ? rows : job->rows, scratch, qd_matf_const(narrow.view), out };
    return qd_pool_for(job->input->pool, (job->count - 1) / PANEL + 1, run_panel, &r, err);
}
