/* certificate.c: the record of one layer, from what its loop saw. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"
#include "quant/certify.h"
#include "quant/chance.h"
#include "quant/identity.h"
#include "quant/refine.h"

/* H_lambda form minus lambda ||.||^2: below this fraction of the form the difference is rounding. */
#define CANCELLATION 1e-13
/* sqnr_db of a layer without any error. */
#define SQNR_CAP_DB 300.0

const char *qd_certificate_status_name(qd_certificate_status status)
{
    static const char *const names[] = { "CERTIFIED", "CERTIFIED_OVERLOAD", "NUMERIC_SUSPECT", "VIOLATED",
                                         "UNCERTIFIED" };
    return names[status];
}

const char *qd_guarantee_name(qd_guarantee guarantee)
{
    static const char *const names[] = { "holds", "does not hold", "alphabet too small for the guarantee" };
    return names[guarantee];
}

static qd_code hash_permutation(const qd_steps *steps, char *out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) void *memory = NULL;
    char hex[QD_DIGEST_HEX];
    qd_code code = qd_alloc(steps->count, 4, &memory, err);
    if (code != QD_OK)
        return code;
    unsigned char *bytes = memory;
    for (size_t t = 0; t < steps->count; t++)
        for (size_t b = 0; b < 4; b++) /* little-endian on every machine */
            bytes[4 * t + b] = (unsigned char)(steps->column[t] >> (8 * b));
    code = qd_sha256(bytes, 4 * steps->count, hex, err);
    if (code == QD_OK)
        snprintf(out, 17, "%.16s", hex);
    return code;
}

static const char *source_of(const qd_layer_input *input)
{
    if (input->factor->escalations > 0)
        return "fallback";
    if (input->factor->regularizer->value == QD_VALUE_GIVEN)
        return "user";
    return input->holdout != NULL && !isnan(input->holdout->t) ? "auto-holdout" : "fallback";
}

static qd_code fill_record(const qd_evidence *e, qd_certificate *out, qd_error *err)
{
    const qd_layer_input *input = e->input;
    const qd_factor *factor = input->factor;
    out->method = e->method;
    out->precision = e->precision;
    out->rounding = qd_rounding_name(input->rounding);
    out->order = factor == NULL ? "natural" : factor->order->name;
    out->tokens = input->tokens;
    out->in = input->w.cols;
    out->out = input->w.rows;
    out->gram_scale = input->tokens == 0 ? 1.0 : 1.0 / (double)input->tokens;
    out->lambda_source = "user";
    if (factor != NULL) {
        out->lambda = factor->lambda;
        out->lambda_relative = factor->lambda_relative;
        out->lambda_source = source_of(input);
        out->escalations = factor->escalations;
        out->dead_columns = factor->dead_columns;
    }
    return hash_permutation(e->steps, out->permutation_hash, err);
}

/* theory.md §3, T4: second moment of the ball against that of the rounding cell. */
static double gap_in_db(double n, double am_gm)
{
    int sign;
    double log_g = 2.0 / n * lgamma_r(n / 2.0 + 1.0, &sign) - log((n + 2.0) * acos(-1.0));
    return 10.0 / log(10.0) * (log(am_gm) - log(12.0) - log_g);
}

static void fill_pivots(const qd_evidence *e, qd_certificate *out)
{
    const qd_factor *factor = e->input->factor;
    double n = (double)e->steps->count, logs = 0.0;
    out->r2_min = INFINITY;
    for (size_t t = 0; t < e->steps->count; t++) {
        double r2 = e->steps->r2[t];
        out->s += r2;
        logs += log(r2);
        out->r2_max = fmax(out->r2_max, r2);
        out->r2_min = fmin(out->r2_min, r2);
    }
    out->am_gm = fmax(1.0, out->s / n / exp(logs / n)); /* AM >= GM; below 1 only by rounding */
    out->gap_db = gap_in_db(n, out->am_gm);
    out->trace_ratio = out->s / (factor == NULL ? n : factor->trace + n * factor->lambda);
}

double qd_bound_pivots(const qd_layer_input *input, const qd_steps *steps)
{
    double bound = 0.0, reach = qd_rounding_reach(input->rounding) * qd_grid_widest(input->grid);
    const double *weight = steps->path == NULL ? steps->r2 : steps->path;
    for (size_t i = 0; i < input->w.rows; i++) {
        const float *scale = qd_matf_row(input->grid->scale.view, i);
        for (size_t t = 0; t < steps->count; t++) {
            double most = reach * (double)scale[steps->group[t]];
            bound += most * most * weight[t];
        }
    }
    return bound;
}

double qd_expected_pivots(const qd_layer_input *input, const qd_steps *steps, double bound)
{
    double sum = 0.0, variance = qd_rounding_variance(input->rounding), reach = qd_rounding_reach(input->rounding);
    if (input->grid->levels.count == 0) /* all steps are the bound's */
        return bound * variance;
    for (size_t i = 0; i < input->w.rows; i++)
        for (size_t t = 0; t < steps->count; t++) {
            double most = reach * qd_steps_expected(input, steps, i, t);
            sum += most * most * steps->r2[t];
        }
    return sum * variance;
}

double qd_expected_columns(const qd_layer_input *input, const double *column, size_t stride)
{
    double sum = 0.0;
    for (size_t i = 0; i < input->w.rows; i++)
        for (size_t j = 0; j < input->w.cols; j++) {
            double w = (double)qd_cmatf_row(input->w, i)[j];
            double step = qd_grid_step_at(input->grid, i, j / input->grid->group_size, w);
            sum += step * step * column[j * stride];
        }
    double reach = qd_rounding_reach(input->rounding);
    return reach * reach * qd_rounding_variance(input->rounding) * sum;
}

/* x H x^T from x H_lambda x^T and lambda ||x||^2. */
static double undamped(double damped, double shift)
{
    double difference = damped - shift;
    return fabs(difference) <= CANCELLATION * damped ? 0.0 : difference;
}

/* The error of the layer's output against the float stream: theory.md §7, from the objective of the shrunken problem (target.h). */
static void fill_measure(const qd_evidence *e, qd_certificate *out)
{
    const qd_measure *m = e->measure;
    out->mismatched = true;
    out->start = m->start;
    out->share = m->share;
    out->mismatch_sq = m->mismatch_sq;
    out->cross_sq = m->cross_sq;
    out->base_sq = m->base_sq;
    out->total_sq = m->total_sq;
    out->shift_max = m->shift_max;
    out->weight_error_sq = m->weight_error_sq;
    out->residual = e->input->mismatch->residual.outputs > 0;
    out->residual_sq = m->residual_sq;
    out->residual_cross = m->residual_cross;
    double stream = m->total_sq - e->steps->damping * m->weight_error_sq +
                    (1.0 - m->share * m->share) * m->mismatch_sq + 2.0 * (1.0 - m->share) * m->cross_sq;
    out->error_sq = stream - m->residual_sq - 2.0 * m->residual_cross; /* without E: of the layer's own output */
}

/* The sweep's energies bound what became of them: refine.h. */
static void fill_refined(const qd_refined *r, qd_certificate *out)
{
    out->refined = true;
    out->energy_sq = out->weight_error_sq = 0.0;
    for (size_t i = 0; i < out->out; i++) {
        out->swept_sq += r->swept[i];
        out->searched_sq += r->searched[i];
        out->energy_sq += r->energy[i];
        out->weight_error_sq += r->weight_error[i];
    }
    out->codes_changed = r->codes_changed;
    out->scales_fitted = r->scales_fitted;
    out->refine_rounds = r->rounds;
}

static void fill_sums(const qd_evidence *e, qd_certificate *out)
{
    for (size_t i = 0; i < out->out; i++) {
        const qd_neuron *neuron = &e->neurons[i];
        out->energy_sq += neuron->energy;
        out->overload_bound_sq += neuron->overload;
        out->weight_error_sq += neuron->weight_error;
        out->clip_count += neuron->clips;
        out->clip_neurons += neuron->clips > 0;
        out->max_excess = fmax(out->max_excess, neuron->max_excess);
    }
    out->bound_sq = e->bound_sq;
    out->expected_sq = e->expected_sq;
    if (e->refined != NULL && e->refined->energy != NULL)
        fill_refined(e->refined, out);
    out->error_sq = undamped(out->energy_sq, out->lambda * out->weight_error_sq);
    if (e->measure != NULL)
        fill_measure(e, out);
    out->ratio = out->bound_sq > 0.0 ? sqrt(out->energy_sq / out->bound_sq) : 0.0;
}

/* The layer's output, where its weights are what was rounded: out_targets, the form of each row with H_lambda. */
static qd_code measure_output(const qd_evidence *e, double *out_targets, qd_certificate *out, qd_error *err)
{
    qd_form_job job = { .input = e->input,
                        .steps = e->steps,
                        .kind = QD_ROWS_TARGET,
                        .form = QD_FORM_DIRECT,
                        .products = QD_PRODUCTS_FAST,
                        .count = out->out };
    qd_code code = qd_form_run(&job, out_targets, err);
    double damped = 0.0, norm = 0.0;
    for (size_t i = 0; code == QD_OK && i < out->out; i++) {
        const float *w = qd_cmatf_row(e->input->w, i);
        damped += out_targets[i];
        for (size_t t = 0; t < e->steps->count; t++) {
            double value = (double)(w[e->steps->column[t]] * e->steps->live[t]);
            norm += value * value;
        }
    }
    out->output_sq = fmax(0.0, undamped(damped, out->lambda * norm));
    return code;
}

/* targets: NULL where the measure has the output. */
static qd_code fill_output(const qd_evidence *e, double *targets, qd_certificate *out, qd_error *err)
{
    qd_code code = QD_OK;
    if (e->measure != NULL)
        out->output_sq = e->measure->output_sq;
    else
        code = measure_output(e, targets, out, err);
    if (code != QD_OK)
        return code;
    if (out->output_sq > 0.0)
        out->relative_error = sqrt(fmax(0.0, out->error_sq) / out->output_sq);
    out->sqnr_db = SQNR_CAP_DB;
    if (out->relative_error > 0.0)
        out->sqnr_db = fmin(SQNR_CAP_DB, -20.0 * log10(out->relative_error));
    else if (out->output_sq == 0.0)
        out->sqnr_db = 0.0;
    return QD_OK;
}

/* The error on inputs that lambda was chosen by, beside what was expected of it: theory.md §5 T8', §8.2. */
static qd_code fill_heldout(const qd_evidence *e, double *forms, qd_certificate *out, qd_error *err)
{
    const qd_holdout *holdout = e->input->holdout;
    if (holdout == NULL || e->input->factor == NULL)
        return QD_OK;
    out->heldout_tokens = holdout->tokens;
    out->heldout_t = holdout->t;
    out->heldout_expected_sq = e->heldout_expected_sq;
    if (e->measure != NULL) {
        out->heldout_sq = e->measure->heldout_sq;
        if (e->measure->heldout_output_sq > 0.0)
            out->heldout_relative_error = sqrt(fmax(0.0, out->heldout_sq) / e->measure->heldout_output_sq);
        return QD_OK;
    }
    QD_AUTO(qd_matd_buf_fini) qd_matd_buf held = { 0 };
    qd_code code = qd_matd_buf_init_in(&held, out->in, out->in, holdout->hessian.file.folder, err);
    if (code == QD_OK)
        code = qd_factor_gather(qd_matd_const(holdout->hessian.view), e->steps->column, e->input->pool, held.view, err);
    qd_matd_buf_release(&holdout->hessian);
    qd_cmatd matrix = qd_matd_const(held.view);
    qd_form_job job = { .input = e->input,
                        .steps = e->steps,
                        .kind = QD_ROWS_ERROR,
                        .form = QD_FORM_DIRECT,
                        .matrix = &matrix,
                        .shift = QD_SHIFT_NONE,
                        .products = QD_PRODUCTS_FAST,
                        .codes = e->codes,
                        .count = out->out };
    if (code == QD_OK)
        code = qd_form_run(&job, forms, err);
    for (size_t i = 0; code == QD_OK && i < out->out; i++)
        out->heldout_sq += forms[i];
    job.kind = QD_ROWS_TARGET;
    if (code == QD_OK)
        code = qd_form_run(&job, forms, err);
    double output = 0.0;
    for (size_t i = 0; code == QD_OK && i < out->out; i++)
        output += forms[i];
    if (output > 0.0)
        out->heldout_relative_error = sqrt(fmax(0.0, out->heldout_sq) / output);
    return code;
}

static qd_certificate_status judge(const qd_certificate *c, double tolerance)
{
    /* written so that NaN is a violation */
    if (!(c->energy_sq <= c->overload_bound_sq * (1.0 + tolerance)))
        return QD_VIOLATED;
    if (!(c->identity_residual <= tolerance))
        return QD_NUMERIC_SUSPECT;
    if (c->tokens == 0)
        return QD_UNCERTIFIED;
    if (c->clip_count > 0)
        return QD_CERTIFIED_OVERLOAD;
    return c->energy_sq <= c->bound_sq * (1.0 + tolerance) ? QD_CERTIFIED : QD_VIOLATED;
}

qd_code qd_certify(const qd_evidence *e, qd_certificate *out, qd_error *err)
{
    qd_certificate c = { 0 };
    qd_code code = fill_record(e, &c, err);
    if (code != QD_OK)
        return code;
    fill_pivots(e, &c);
    fill_sums(e, &c);
    QD_AUTO(qd_free_pointer) void *forms = NULL;
    code = qd_alloc(c.out, sizeof(double), &forms, err);
    double *targets = e->measure == NULL ? forms : NULL;
    if (code == QD_OK)
        code = fill_output(e, targets, &c, err);
    if (code == QD_OK)
        code = qd_identity_check(e, targets, &c, &c.identity_residual, err);
    if (code == QD_OK && e->input->rounding == QD_ROUND_STOCHASTIC)
        code = qd_chance_fill(e, &c, err);
    if (code == QD_OK)
        code = fill_heldout(e, forms, &c, err); /* targets are not wanted any more */
    if (code != QD_OK)
        return qd_within(err, code, "certificate");
    c.status = judge(&c, e->tolerance);
    *out = c;
    return QD_OK;
}
