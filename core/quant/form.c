/* form.c: quadratic forms of the rows of a layer, cut into fixed panels over the pool. */
#include "base/mem.h"
#include "quant/certify.h"
#include "quant/quadratic.h"

enum { PANEL = 128 }; /* rows of a task */

typedef struct run {
    const qd_form_job *job;
    const uint32_t *rows;
    double *scratch; /* a worker: PANEL x I rows, PANEL x QD_QUADRATIC_BLOCK products */
    double *out;
} run;

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
        qd_cmatd h = job->matrix != NULL ? *job->matrix : qd_matd_const(factor->hessian.view);
        double shift = job->shift == QD_SHIFT_LAMBDA ? job->steps->damping : 0.0;
        qd_quadratic_direct(h, shift, qd_matd_const(x), product, r->out + start);
    }
    return QD_OK;
}

qd_code qd_form_run(const qd_form_job *job, double *out, qd_error *err)
{
    if (job->count == 0)
        return QD_OK;
    QD_AUTO(qd_free_pointer) void *scratch = NULL;
    QD_AUTO(qd_free_pointer) void *all = NULL;
    size_t threads = qd_pool_threads(job->input->pool);
    qd_code code = qd_alloc(threads * PANEL * (job->steps->count + QD_QUADRATIC_BLOCK), sizeof(double), &scratch, err);
    if (code == QD_OK && job->rows == NULL)
        code = qd_alloc(job->count, sizeof(uint32_t), &all, err);
    if (code != QD_OK)
        return code;
    uint32_t *rows = all;
    for (size_t i = 0; job->rows == NULL && i < job->count; i++)
        rows[i] = (uint32_t)i;
    run r = { job, job->rows == NULL ? rows : job->rows, scratch, out };
    return qd_pool_for(job->input->pool, (job->count - 1) / PANEL + 1, run_panel, &r, err);
}
