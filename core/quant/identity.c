/* identity.c: see identity.h. */
#include "quant/identity.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "quant/refine.h"

/* All neurons are checked while O I^2 stays below this (about 0.1 s of one core); else at least SAMPLE of them. */
#define CHECK_ALL_LIMIT 2e8
enum { SAMPLE = 8 };
/* Energies below this fraction of the output are rounding noise of the weights themselves: no relative residual
 * there. */
#define NOISE_FLOOR_FLOAT64 1e-12
#define NOISE_FLOOR_FLOAT32 1e-10

/* The rows of a residual, with what their targets weigh; `targets` NULL: that is not known, and mostly not wanted. */
typedef struct checked {
    const qd_evidence *e;
    const uint32_t *rows; /* NULL: all */
    size_t count;
    const double *targets; /* of each row of the layer */
    double floor;
} checked;

static size_t row_of(const checked *c, size_t i)
{
    return c->rows == NULL ? i : c->rows[i];
}

/* At least x H_lambda x^T of all those targets: tr H_lambda times their squares. */
static double most_of_targets(const checked *c)
{
    const qd_factor *factor = c->e->input->factor;
    size_t features = c->e->steps->count;
    double square = 0.0;
    if (c->e->steps->target == NULL || factor == NULL)
        return INFINITY;
    for (size_t i = 0; i < c->count; i++)
        for (size_t t = 0; t < features; t++) {
            double value = c->e->steps->target[row_of(c, i) * features + t];
            square += value * value;
        }
    return square * (factor->trace + (double)features * factor->lambda);
}

/* What a difference of energies is divided by: they, or what is rounding noise of the targets; these are made only where they can matter. */
static qd_code scale_of(const checked *c, double energy, double *out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) void *memory = NULL;
    double target = 0.0;
    *out = energy;
    if (c->targets == NULL && energy > c->floor * most_of_targets(c))
        return QD_OK;
    if (c->targets == NULL) {
        qd_form_job job = { .input = c->e->input,
                            .steps = c->e->steps,
                            .kind = QD_ROWS_TARGET,
                            .form = QD_FORM_DIRECT,
                            .products = QD_PRODUCTS_FAST,
                            .rows = c->rows,
                            .count = c->count };
        qd_code code = qd_alloc(c->count, sizeof(double), &memory, err);
        if (code == QD_OK)
            code = qd_form_run(&job, memory, err);
        if (code != QD_OK)
            return code;
    }
    for (size_t i = 0; i < c->count; i++)
        target += memory != NULL ? ((const double *)memory)[i] : c->targets[row_of(c, i)];
    *out = fmax(energy, c->floor * target);
    return QD_OK;
}

/* Of a refined row the factor's form, which the sweep's energies must agree with too. */
static double energy_of(const qd_evidence *e, size_t row)
{
    return e->refined != NULL && e->refined->energy != NULL ? e->refined->energy[row] : e->neurons[row].energy;
}

/* What the loop counted of its codes against ||(target - q) C||^2 of them, before anything was refined: all rows. */
static qd_code swept_residual(const checked *c, double *out, qd_error *err)
{
    const qd_evidence *e = c->e;
    const checked all = { e, NULL, e->input->w.rows, c->targets, c->floor };
    double difference = 0.0, energy = 0.0, scale;
    for (size_t i = 0; i < all.count; i++) {
        difference += fabs(e->refined->swept[i] - e->neurons[i].energy);
        energy += e->neurons[i].energy;
    }
    qd_code code = scale_of(&all, energy, &scale, err);
    if (code == QD_OK)
        *out = scale > 0.0 ? difference / scale : 0.0;
    return code;
}

/* What the target leaves and what rounding adds against the whole: theory.md T9, where the target is the best there is; on a path the whole is at most
 * that (triangle inequality). */
static double parts_residual(const qd_evidence *e, const qd_certificate *out, double floor)
{
    double parts = out->base_sq + out->energy_sq, whole = fmax(parts, floor * out->output_sq);
    double off = fabs(out->total_sq - parts);
    if (e->steps->path != NULL) {
        parts = sqrt(out->base_sq) + sqrt(out->energy_sq);
        whole = fmax(parts, sqrt(floor * out->output_sq));
        off = fmax(0.0, sqrt(fmax(0.0, out->total_sq)) - parts);
    }
    return whole > 0.0 ? off / whole : 0.0;
}

/* Compares the loop's energies with quadratic forms of w - q, over all neurons or fixed ones. */
qd_code qd_identity_check(const qd_evidence *e, const double *targets, const qd_certificate *record, double *out,
                          qd_error *err)
{
    double cost = (double)record->out * (double)record->in * (double)record->in;
    size_t stride = cost <= CHECK_ALL_LIMIT ? 1 : qd_max_size(1, record->out / SAMPLE);
    size_t count = (record->out - 1) / stride + 1;
    QD_AUTO(qd_free_pointer) void *rows_memory = NULL;
    QD_AUTO(qd_free_pointer) void *forms_memory = NULL;
    qd_code code = qd_alloc(count, sizeof(uint32_t), &rows_memory, err);
    if (code == QD_OK)
        code = qd_alloc(count, sizeof(double), &forms_memory, err);
    if (code != QD_OK)
        return code;
    uint32_t *rows = rows_memory;
    double *forms = forms_memory;
    for (size_t i = 0; i < count; i++)
        rows[i] = (uint32_t)(i * stride);
    qd_form_job job = { .input = e->input,
                        .steps = e->steps,
                        .kind = QD_ROWS_ERROR,
                        .form = QD_FORM_DIRECT,
                        .codes = e->codes,
                        .rows = rows,
                        .count = count };
    code = qd_form_run(&job, forms, err);
    if (code != QD_OK)
        return code;
    const checked c = { e, rows, count, targets,
                        strcmp(e->precision, "float32") == 0 ? NOISE_FLOOR_FLOAT32 : NOISE_FLOOR_FLOAT64 };
    double difference = 0.0, energy = 0.0, scale, swept = 0.0;
    for (size_t i = 0; i < count; i++) {
        difference += fabs(forms[i] - energy_of(e, rows[i]));
        energy += energy_of(e, rows[i]);
    }
    code = scale_of(&c, energy, &scale, err);
    if (code == QD_OK && record->refined)
        code = swept_residual(&c, &swept, err);
    if (code != QD_OK)
        return code;
    *out = fmax(scale > 0.0 ? difference / scale : 0.0, swept);
    if (e->measure != NULL)
        *out = fmax(*out, parts_residual(e, record, c.floor));
    return QD_OK;
}
