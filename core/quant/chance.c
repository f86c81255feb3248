/* chance.c: see chance.h. */
#include "quant/chance.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "quant/drift.h"

enum { ROWS = 32 };

/* ---- drift ---- */

typedef struct drift {
    const qd_evidence *evidence;
    size_t groups;
    qd_matd_buf squares; /* drift.h */
    /* Of each row: */
    double *kappa, *ratio;
    uint32_t *at;
} drift;

static void drift_fini(drift *d)
{
    qd_matd_buf_fini(&d->squares);
    free(d->kappa);
    free(d->ratio);
    free(d->at);
}

/* Factors s of all steps of a row with which target / (step s) stays on one side: at / s <= room, kappa being the same. */
typedef struct factors {
    double least, most;
} factors;

static void hold(factors *f, double at, double room)
{
    if (room > 0.0)
        f->least = fmax(f->least, at / room);
    else if (at > 0.0 || (room < 0.0 && at == 0.0))
        f->most = 0.0;
    else if (room < 0.0)
        f->most = fmin(f->most, at / room);
}

/* kappa: largest deviation of an argument, in steps. ratio: what all steps of the row would have to grow by to hold every argument; at most
 * 1: they hold as they are. */
static void judge_row(const drift *d, double deviation, const double *target, size_t row)
{
    const qd_steps *steps = d->evidence->steps;
    const qd_grid *grid = d->evidence->input->grid;
    const float *scale = qd_matf_row(grid->scale.view, row), *zero = qd_matf_row(grid->zero.view, row);
    factors f = { 0.0, INFINITY };
    d->kappa[row] = 0.0;
    for (size_t t = 0; t < steps->count; t++) {
        double sum = 0.0, own = (double)scale[steps->group[t]], offset = (double)zero[steps->group[t]];
        for (size_t g = 0; g < d->groups; g++)
            sum += (double)scale[g] * (double)scale[g] * qd_matd_row(d->squares.view, g)[t];
        double kappa = sqrt(deviation * sum) / own, at = target[t] / own, most = kappa * qd_grid_widest(grid);
        hold(&f, at, qd_grid_highest(grid) - offset - most);
        hold(&f, -at, offset - qd_grid_lowest(grid) - most);
        if (kappa > d->kappa[row]) {
            d->kappa[row] = kappa;
            d->at[row] = steps->column[t];
        }
    }
    d->ratio[row] = f.least <= f.most && f.most >= 1.0 ? f.least : INFINITY;
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
    qd_code code = qd_matd_buf_init(&d->squares, d->groups, columns, err);
    if (code == QD_OK)
        code = qd_alloc(rows, sizeof *d->kappa, (void **)&d->kappa, err);
    if (code == QD_OK)
        code = qd_alloc(rows, sizeof *d->ratio, (void **)&d->ratio, err);
    return code == QD_OK ? qd_alloc(rows, sizeof *d->at, (void **)&d->at, err) : code;
}

static qd_code fill_drift(const qd_evidence *e, qd_certificate *out, qd_error *err)
{
    QD_AUTO(drift_fini) drift d = { .evidence = e, .groups = e->input->grid->groups };
    qd_code code = allocate(&d, out->out, out->in, err);
    if (code == QD_OK && e->upper != NULL) /* without feedback there is no drift */
        code = qd_drift_squares(*e->upper, e->steps->group, e->input->pool, d.squares.view, err);
    judging j = { &d, qd_drift_deviation(out->in, out->out) };
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
    chance->bits_required = qd_drift_bits(chance->kappa_max);
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
    return e->bound_sq / 4.0 + sqrt(0.5 * log(1.0 / QD_CHANCE_ETA) * fourth);
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
            double own = step * step * (e->upper != NULL ? weight[t] : e->input->factor->diagonal[t]);
            row = e->upper != NULL ? fmax(row, own) : row + own;
        }
        largest = fmax(largest, row);
    }
    return sqrt(0.5 * log(2.0 * m * (double)c->out / QD_CHANCE_ETA) * m * largest);
}

qd_code qd_chance_fill(const qd_evidence *e, qd_certificate *out, qd_error *err)
{
    const double *weight = e->steps->path == NULL ? e->steps->r2 : e->steps->path;
    out->chance.eta = QD_CHANCE_ETA;
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
