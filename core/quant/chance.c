/* chance.c: see chance.h. */
#include "quant/chance.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "linalg/gemm.h"

enum { COLUMNS = 64, ROWS = 32 };

/* Of every probability here. */
#define ETA 0.05

/* ---- drift: z_t - target_t = - sum_{j<t} p_jt e_j, p_jt = A_jj (A^-1)_jt for the matrix A of the feedback (theory.md I3) ---- */

typedef struct drift {
    const qd_evidence *evidence;
    size_t groups;
    double *squares; /* [group][step]: sum of p_jt^2 over the j < t of a group */
    /* Of each row: */
    double *kappa, *ratio;
    uint32_t *at;
} drift;

static void drift_fini(drift *d)
{
    free(d->squares);
    free(d->kappa);
    free(d->ratio);
    free(d->at);
}

static qd_code square_columns(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const drift *d = ctx;
    const qd_steps *steps = d->evidence->steps;
    qd_cmatd a = *d->evidence->upper;
    size_t start = index * COLUMNS, count = qd_min_size(COLUMNS, steps->count - start), depth = start + count;
    QD_AUTO(qd_matd_buf_fini) qd_matd_buf inverse = { 0 };
    (void)worker;
    qd_code code = qd_matd_buf_init(&inverse, depth, count, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; i < count; i++)
        qd_matd_row(inverse.view, start + i)[i] = 1.0;
    qd_solve_upper_f64((qd_cmatd){ depth, depth, a.ld, a.data }, inverse.view);
    for (size_t j = 0; j < depth; j++)
        for (size_t i = j < start ? 0 : j - start + 1; i < count; i++) {
            double p = qd_cmatd_row(a, j)[j] * qd_matd_row(inverse.view, j)[i];
            d->squares[steps->group[j] * steps->count + start + i] += p * p;
        }
    return QD_OK;
}

/* Hoeffding and Azuma over all neurons and steps: theory.md T10. */
static double deviation(const qd_certificate *c)
{
    return 0.5 * log(2.0 * (double)c->in * (double)c->out / ETA);
}

/* kappa: largest deviation of an argument, in steps. ratio: what all steps of the row would have to grow by to hold every argument. */
static void judge_row(const drift *d, double deviation, const double *target, size_t row)
{
    const qd_steps *steps = d->evidence->steps;
    const qd_grid *grid = d->evidence->input->grid;
    const float *scale = qd_matf_row(grid->scale.view, row), *zero = qd_matf_row(grid->zero.view, row);
    d->kappa[row] = d->ratio[row] = 0.0;
    for (size_t t = 0; t < steps->count; t++) {
        double sum = 0.0, own = (double)scale[steps->group[t]], offset = (double)zero[steps->group[t]];
        for (size_t g = 0; g < d->groups; g++)
            sum += (double)scale[g] * (double)scale[g] * d->squares[g * steps->count + t];
        double kappa = sqrt(deviation * sum) / own, at = target[t] / own, most = kappa * qd_grid_widest(grid);
        double up = qd_grid_highest(grid) - offset - most, down = offset - qd_grid_lowest(grid) - most;
        double ratio = fmax(up > 0.0 ? at / up : INFINITY, down > 0.0 ? -at / down : INFINITY);
        d->ratio[row] = fmax(d->ratio[row], ratio);
        if (kappa > d->kappa[row]) {
            d->kappa[row] = kappa;
            d->at[row] = steps->column[t];
        }
    }
}

typedef struct judging {
    const drift *drift;
    double deviation;
} judging;

static qd_code judge_rows(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const judging *j = ctx;
    const qd_evidence *e = j->drift->evidence;
    size_t start = index * ROWS, count = qd_min_size(ROWS, e->input->w.rows - start);
    uint32_t rows[ROWS];
    QD_AUTO(qd_matd_buf_fini) qd_matd_buf target = { 0 };
    (void)worker;
    qd_code code = qd_matd_buf_init(&target, count, e->steps->count, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; i < count; i++)
        rows[i] = (uint32_t)(start + i);
    qd_steps_rows(e->input, e->steps, QD_ROWS_TARGET, NULL, rows, count, target.view);
    for (size_t i = 0; i < count; i++)
        judge_row(j->drift, j->deviation, qd_matd_row(target.view, i), start + i);
    return QD_OK;
}

static qd_code allocate(drift *d, size_t rows, size_t columns, qd_error *err)
{
    qd_code code = qd_alloc(d->groups * columns, sizeof *d->squares, (void **)&d->squares, err);
    if (code == QD_OK)
        code = qd_alloc(rows, sizeof *d->kappa, (void **)&d->kappa, err);
    if (code == QD_OK)
        code = qd_alloc(rows, sizeof *d->ratio, (void **)&d->ratio, err);
    return code == QD_OK ? qd_alloc(rows, sizeof *d->at, (void **)&d->at, err) : code;
}

/* Smallest b with 2^(b-1) - 1 > kappa. */
static unsigned bits_for(double kappa)
{
    return 1U + (unsigned)ceil(log2(floor(kappa) + 2.0));
}

static qd_code fill_drift(const qd_evidence *e, qd_certificate *out, qd_error *err)
{
    QD_AUTO(drift_fini) drift d = { .evidence = e, .groups = e->input->grid->groups };
    qd_code code = allocate(&d, out->out, out->in, err);
    if (code == QD_OK && e->upper != NULL) /* without feedback there is no drift */
        code = qd_pool_for(e->input->pool, (out->in - 1) / COLUMNS + 1, square_columns, &d, err);
    judging j = { &d, deviation(out) };
    if (code == QD_OK)
        code = qd_pool_for(e->input->pool, (out->out - 1) / ROWS + 1, judge_rows, &j, err);
    if (code != QD_OK)
        return code;
    qd_chance *chance = &out->chance;
    for (size_t i = 0; i < out->out; i++) {
        if (d.kappa[i] > chance->kappa_max) {
            chance->kappa_max = d.kappa[i];
            chance->kappa_column = d.at[i];
        }
        chance->step_ratio = fmax(chance->step_ratio, d.ratio[i]);
    }
    chance->steps_required = floor(chance->kappa_max) + 1.0;
    chance->bits_required = bits_for(chance->kappa_max);
    chance->guarantee = chance->step_ratio <= 1.0      ? QD_GUARANTEED
                        : isfinite(chance->step_ratio) ? QD_NOT_GUARANTEED
                                                       : QD_ALPHABET_TOO_SMALL;
    return QD_OK;
}

/* ---- bounds ---- */

/* step^2 / 4 instead of the step^2 / 6 that is expected. Feedback may carry an argument into the widest step there is. */
static double mean_bound(const qd_evidence *e, const qd_certificate *c)
{
    return e->input->grid->levels.count > 0 && e->upper != NULL ? e->bound_sq / 4.0 : 1.5 * c->expected_sq;
}

/* Squared errors e_t^2 w_t lie in [0, step^2 w_t] and are step^2 w_t / 4 in the mean at most: Azuma and Hoeffding over the whole layer. */
static double probable_bound(const qd_evidence *e, const double *weight)
{
    double fourth = 0.0, widest = qd_grid_widest(e->input->grid);
    for (size_t i = 0; i < e->input->w.rows; i++) {
        const float *scale = qd_matf_row(e->input->grid->scale.view, i);
        for (size_t t = 0; t < e->steps->count; t++) {
            double step = widest * (double)scale[e->steps->group[t]], square = step * step * weight[t];
            fourth += square * square;
        }
    }
    return e->bound_sq / 4.0 + sqrt(0.5 * log(1.0 / ETA) * fourth);
}

/* theory.md T6: |X~ (target - q)| of every token and neuron; with v_i at most the largest step^2 w_t of the layer (feedback), or the sum of
 * step^2 H_jj (no feedback), times m because H is a mean. */
static double largest_output(const qd_evidence *e, const qd_certificate *c, const double *weight)
{
    double largest = 0.0, m = (double)c->tokens, widest = qd_grid_widest(e->input->grid);
    for (size_t i = 0; i < c->out; i++) {
        const float *scale = qd_matf_row(e->input->grid->scale.view, i);
        double row = 0.0;
        for (size_t t = 0; t < c->in; t++) {
            double step = widest * (double)scale[e->steps->group[t]];
            double own = e->upper != NULL ? step * step * weight[t]
                                          : step * step * qd_matd_row(e->input->factor->hessian.view, t)[t];
            row = e->upper != NULL ? fmax(row, own) : row + own;
        }
        largest = fmax(largest, row);
    }
    return sqrt(0.5 * log(2.0 * m * (double)c->out / ETA) * m * largest);
}

qd_code qd_chance_fill(const qd_evidence *e, qd_certificate *out, qd_error *err)
{
    const double *weight = e->steps->path == NULL ? e->steps->r2 : e->steps->path;
    out->chance.eta = ETA;
    out->chance.mean_bound_sq = mean_bound(e, out);
    out->chance.probable_bound_sq = e->upper == NULL ? NAN : probable_bound(e, weight);
    out->chance.output_bound = out->tokens == 0 ? NAN : largest_output(e, out, weight);
    if (e->steps->first != NULL) { /* the first step aims elsewhere than the target: none of this is about it */
        out->chance.mean_bound_sq = out->chance.probable_bound_sq = out->chance.output_bound = NAN;
        out->chance.kappa_max = out->chance.step_ratio = NAN;
        out->chance.guarantee = QD_NOT_GUARANTEED;
        return QD_OK;
    }
    return fill_drift(e, out, err);
}
