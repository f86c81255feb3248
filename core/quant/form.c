/* form.c: quadratic forms of the rows of a layer, cut into fixed panels over the pool. */
#include "base/mem.h"
#include "quant/certify.h"
#include "quant/quadratic.h"

/* Rows of a task: a product reads all of H for them. In float32 twice as many fit where they are put, half of them at a time. */
enum { PANEL = 128, PANEL_FLOAT32 = 2 * PANEL };

typedef struct run {
    const qd_form_job *job;
    const uint32_t *rows;
    double *scratch; /* a worker: PANEL x I rows, twice in float32, and PANEL x QD_QUADRATIC_BLOCK products */
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
    const qd_matd_buf *away; /* what `from` is a view of, where it need not stay resident; or NULL */
    qd_matf to;
} narrowing;

static qd_code narrow_rows(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const narrowing *n = ctx;
    (void)worker;
    (void)err;
    size_t start = index * PANEL, count = qd_min_size(PANEL, n->from.rows - start);
    for (size_t i = start; i < start + count; i++)
        for (size_t j = 0; j < n->from.cols; j++)
            qd_matf_row(n->to, i)[j] = (float)qd_cmatd_row(n->from, i)[j];
    if (n->away != NULL)
        qd_matd_buf_release_rows(n->away, start, count);
    return QD_OK;
}

static qd_code narrow_matrix(qd_cmatd h, const qd_matd_buf *away, qd_pool *pool, qd_matf_buf *out, qd_error *err)
{
    qd_code code = qd_matf_buf_init(out, h.rows, h.cols, err);
    narrowing n = { h, away, out->view };
    return code == QD_OK ? qd_pool_for(pool, (h.rows - 1) / PANEL + 1, narrow_rows, &n, err) : code;
}

qd_code qd_form_narrow(qd_cmatd h, qd_pool *pool, qd_matf_buf *out, qd_error *err)
{
    return narrow_matrix(h, NULL, pool, out, err);
}

qd_code qd_form_narrow_away(const qd_matd_buf *h, qd_pool *pool, qd_matf_buf *out, qd_error *err)
{
    return narrow_matrix(qd_matd_const(h->view), h, pool, out, err);
}

static qd_cmatd matrix_of(const qd_form_job *job)
{
    return job->matrix != NULL ? *job->matrix : qd_matd_const(job->input->factor->hessian.view);
}

static size_t scratch_size(const qd_form_job *job, bool narrow)
{
    return PANEL * ((narrow ? 2 : 1) * job->steps->count + QD_QUADRATIC_BLOCK);
}

static double shift_of(const qd_form_job *job)
{
    return job->shift == QD_SHIFT_LAMBDA ? job->steps->damping : 0.0;
}

static qd_code run_panel_f32(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const run *r = ctx;
    const qd_form_job *job = r->job;
    (void)err;
    size_t features = job->steps->count, start = index * PANEL_FLOAT32,
           count = qd_min_size(PANEL_FLOAT32, job->count - start);
    double *memory = r->scratch + worker * scratch_size(job, true);
    float *narrow = (float *)(void *)(memory + PANEL * features);
    float *product = (float *)(void *)(memory + 2 * PANEL * features);
    for (size_t at = 0; at < count; at += PANEL) {
        size_t part = qd_min_size(PANEL, count - at);
        qd_matd x = { part, features, features, memory };
        qd_steps_rows(job->input, job->steps, job->kind, job->codes, r->rows + start + at, part, x);
        for (size_t i = 0; i < part * features; i++)
            narrow[at * features + i] = (float)x.data[i];
    }
    qd_quadratic_direct_f32(r->narrow, shift_of(job), qd_cmatf_view(narrow, count, features),
                            qd_matf_view(product, count, QD_QUADRATIC_BLOCK), r->out + start);
    return QD_OK;
}

static void add_squares(qd_matd x, double *out)
{
    for (size_t i = 0; i < x.rows; i++) {
        out[i] = 0.0;
        for (size_t t = 0; t < x.cols; t++)
            out[i] += qd_matd_row(x, i)[t] * qd_matd_row(x, i)[t];
    }
}

static qd_code run_panel(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const run *r = ctx;
    const qd_form_job *job = r->job;
    (void)err;
    size_t features = job->steps->count, start = index * PANEL, count = qd_min_size(PANEL, job->count - start);
    double *memory = r->scratch + worker * scratch_size(job, false);
    qd_matd x = { count, features, features, memory };
    qd_matd product = { count, QD_QUADRATIC_BLOCK, QD_QUADRATIC_BLOCK, memory + PANEL * features };
    qd_steps_rows(job->input, job->steps, job->kind, job->codes, r->rows + start, count, x);
    const qd_factor *factor = job->input->factor;
    if (factor == NULL)
        add_squares(x, r->out + start);
    else if (job->form == QD_FORM_FACTOR)
        qd_quadratic_factor(qd_matd_const(factor->c.view), qd_matd_const(x), product, r->out + start);
    else
        qd_quadratic_direct(matrix_of(job), shift_of(job), qd_matd_const(x), product, r->out + start);
    return QD_OK;
}

qd_code qd_form_run(const qd_form_job *job, double *out, qd_error *err)
{
    if (job->count == 0)
        return QD_OK;
    QD_AUTO(qd_free_pointer) void *scratch = NULL;
    QD_AUTO(qd_free_pointer) void *all = NULL;
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf float32 = { 0 };
    size_t threads = qd_pool_threads(job->input->pool);
    bool in_f32 =
        job->input->factor != NULL && job->form == QD_FORM_DIRECT && qd_form_in_float32(job->input, job->products);
    qd_code code = qd_alloc(threads * scratch_size(job, in_f32), sizeof(double), &scratch, err);
    if (code == QD_OK && job->rows == NULL)
        code = qd_alloc(job->count, sizeof(uint32_t), &all, err);
    if (code == QD_OK && in_f32)
        code = narrow_matrix(matrix_of(job), job->matrix == NULL ? &job->input->factor->hessian : NULL,
                             job->input->pool, &float32, err);
    if (code != QD_OK)
        return code;
    uint32_t *rows = all;
    for (size_t i = 0; job->rows == NULL && i < job->count; i++)
        rows[i] = (uint32_t)i;
    run r = { job, job->rows == NULL ? rows : job->rows, scratch, qd_matf_const(float32.view), out };
    size_t rows_of_task = in_f32 ? PANEL_FLOAT32 : PANEL;
    return qd_pool_for(job->input->pool, (job->count - 1) / rows_of_task + 1, in_f32 ? run_panel_f32 : run_panel, &r,
                       err);
}
