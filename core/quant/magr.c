/* magr.c: see magr.h. */
#include "quant/magr.h"

#include <math.h>

#include "base/mem.h"
#include "linalg/gemm.h"
#include "quant/factor_rows.h"

enum { PANEL = 64 };

/* t with sum over the values above `least` of (|y_i| - t) = tau, and how many they are. */
static double threshold(const double *y, size_t count, double least, double tau, size_t *out_above)
{
    double sum = 0.0;
    size_t above = 0;
    for (size_t i = 0; i < count; i++)
        if (fabs(y[i]) > least) {
            sum += fabs(y[i]);
            above++;
        }
    *out_above = above;
    return above == 0 ? least : (sum - tau) / (double)above;
}

/* Values below t count as negative in the threshold of all values, so it is at most the one that is wanted; leaving them out raises it
 * (Michelot 1986). When none is left out it is the solution, the same that sorting finds. */
void qd_magr_prox(double *y, size_t count, double tau)
{
    double t = -1.0; /* below every |y_i| */
    size_t above = 0, before = 0;
    if (tau <= 0.0)
        return;
    do {
        before = above;
        t = fmax(t, threshold(y, count, t, tau, &above));
    } while (above != before && t > 0.0); /* sum |y_i| <= tau: everything goes to 0 */
    t = fmax(t, 0.0);
    for (size_t i = 0; i < count; i++)
        y[i] = fmin(t, fmax(-t, y[i]));
}

typedef struct magnitude_run {
    const qd_magr *magr;
    qd_cmatf w;
    qd_cmatd hessian;
    double eta, tau;
    size_t group_size;
    double *scratch;
    qd_matf out;
    qd_magr_report *rows; /* O of them */
} magnitude_run;

/* Rows of one task: v, v - w, its product with H. */
typedef struct panel {
    size_t start, count;
    qd_matd v, difference, product;
} panel;

static panel panel_at(const magnitude_run *r, size_t index, size_t worker)
{
    size_t n = r->w.cols, start = index * PANEL, count = qd_min_size(PANEL, r->w.rows - start);
    double *memory = r->scratch + worker * 3 * PANEL * n;
    return (panel){ start,
                    count,
                    { count, n, n, memory },
                    { count, n, n, memory + PANEL * n },
                    { count, n, n, memory + 2 * PANEL * n } };
}

static double largest(const double *x, size_t count)
{
    double most = 0.0;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, fabs(x[i]));
    return most;
}

/* product = difference H; a form of every row. */
static void forms(const magnitude_run *r, const panel *p, double *out)
{
    qd_gemm_f64(QD_PLAIN, QD_PLAIN, 1.0, qd_matd_const(p->difference), r->hessian, 0.0, p->product);
    for (size_t i = 0; i < p->count; i++) {
        out[i] = 0.0;
        for (size_t j = 0; j < r->w.cols; j++)
            out[i] += qd_matd_row(p->product, i)[j] * qd_matd_row(p->difference, i)[j];
    }
}

static void subtract(const magnitude_run *r, const panel *p)
{
    for (size_t i = 0; i < p->count; i++)
        for (size_t j = 0; j < r->w.cols; j++)
            qd_matd_row(p->difference, i)[j] = qd_matd_row(p->v, i)[j] - (double)qd_cmatf_row(r->w, p->start + i)[j];
}

static void step(const magnitude_run *r, const panel *p)
{
    subtract(r, p);
    qd_gemm_f64(QD_PLAIN, QD_PLAIN, 1.0, qd_matd_const(p->difference), r->hessian, 0.0, p->product);
    for (size_t i = 0; i < p->count; i++) {
        double *v = qd_matd_row(p->v, i);
        for (size_t j = 0; j < r->w.cols; j++)
            v[j] -= r->eta * qd_matd_row(p->product, i)[j];
        for (size_t j = 0; j < r->w.cols; j += r->group_size)
            qd_magr_prox(v + j, qd_min_size(r->group_size, r->w.cols - j), r->tau);
    }
}

static void report(const magnitude_run *r, const panel *p)
{
    double change[PANEL], output[PANEL];
    subtract(r, p);
    forms(r, p, change);
    for (size_t i = 0; i < p->count; i++)
        for (size_t j = 0; j < r->w.cols; j++)
            qd_matd_row(p->difference, i)[j] = (double)qd_cmatf_row(r->w, p->start + i)[j];
    forms(r, p, output);
    for (size_t i = 0; i < p->count; i++)
        r->rows[p->start + i] =
            (qd_magr_report){ change[i], output[i], largest(qd_matd_row(p->difference, i), r->w.cols),
                              largest(qd_matd_row(p->v, i), r->w.cols) };
}

static qd_code panel_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const magnitude_run *r = ctx;
    const panel p = panel_at(r, index, worker);
    for (size_t i = 0; i < p.count; i++)
        for (size_t j = 0; j < r->w.cols; j++)
            qd_matd_row(p.v, i)[j] = (double)qd_cmatf_row(r->w, p.start + i)[j];
    for (size_t k = 0; r->tau > 0.0 && k < r->magr->iterations; k++)
        step(r, &p);
    for (size_t i = 0; i < p.count; i++)
        for (size_t j = 0; j < r->w.cols; j++) {
            float *to = qd_matf_row(r->out, p.start + i) + j;
            *to = (float)qd_matd_row(p.v, i)[j];
            qd_matd_row(p.v, i)[j] = (double)*to;
            if (!isfinite(*to))
                return qd_fail(err, QD_ENUMERIC, "magr: weight (%zu, %zu) is not finite", p.start + i, j);
        }
    report(r, &p);
    return QD_OK;
}

/* Largest column sum of |H|, which is symmetric. */
static double column_norm(qd_cmatd h)
{
    double most = 0.0;
    for (size_t i = 0; i < h.rows; i++) {
        double sum = 0.0;
        for (size_t j = 0; j < h.cols; j++)
            sum += fabs(qd_cmatd_row(h, i)[j]);
        most = fmax(most, sum);
    }
    return most;
}

static qd_code run_rows(magnitude_run *r, qd_pool *pool, qd_magr_report *out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) void *scratch = NULL;
    QD_AUTO(qd_free_pointer) void *rows = NULL;
    qd_code code = qd_alloc(qd_pool_threads(pool) * 3 * PANEL * r->w.cols, sizeof(double), &scratch, err);
    if (code == QD_OK)
        code = qd_alloc(r->w.rows, sizeof *r->rows, &rows, err);
    if (code != QD_OK)
        return code;
    r->scratch = scratch;
    r->rows = rows;
    code = qd_pool_for(pool, (r->w.rows + PANEL - 1) / PANEL, panel_task, r, err);
    *out = (qd_magr_report){ 0 };
    for (size_t i = 0; code == QD_OK && i < r->w.rows; i++) {
        out->change_sq += r->rows[i].change_sq;
        out->output_sq += r->rows[i].output_sq;
        out->range_before += r->rows[i].range_before;
        out->range_after += r->rows[i].range_after;
    }
    return code;
}

qd_code qd_magr_run(const qd_magr *magr, qd_cmatf w, qd_cmatd hessian, qd_pool *pool, qd_matf out,
                    qd_magr_report *out_report, qd_error *err)
{
    double norm = 0.0;
    if (hessian.rows != w.cols || hessian.cols != w.cols || out.rows != w.rows || out.cols != w.cols)
        return qd_fail(err, QD_ESHAPE, "magr: weights of %zu x %zu, moments of %zu x %zu", w.rows, w.cols, hessian.rows,
                       hessian.cols);
    qd_code code = qd_spectral_norm(hessian, &norm, err);
    if (code != QD_OK)
        return code;
    magnitude_run r = { .magr = magr, .w = w, .hessian = hessian, .group_size = w.cols, .out = out };
    if (norm > 0.0) {
        r.eta = 1.0 / norm;
        r.tau = magr->alpha * (magr->normalization == QD_MAGR_BREVITAS ? norm / column_norm(hessian) : 1.0);
    }
    if (magr->normalization == QD_MAGR_PUBLISHED && magr->group_size > 0)
        r.group_size = qd_min_size(magr->group_size, w.cols);
    return run_rows(&r, pool, out_report, err);
}
