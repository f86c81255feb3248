/* regularizer_spectral.c: lambda as a fraction of the largest eigenvalue of H.
 * Source: algorithms.md §5: power iteration from a fixed random start on H over its largest entry, Rayleigh quotient at the end. */
#include <math.h>

#include "base/mem.h"
#include "base/rng.h"
#include "linalg/gemm.h"
#include "quant/factor_rows.h"

enum { MOST_STEPS = 100, START = 42 };
/* The quotient grows towards the eigenvalue; below this relative growth a step is no progress. */
#define SETTLED 1e-13

static const qd_param params[] = {
    { .name = "spectral",
      .type = QD_PARAM_REAL,
      .min = 0.0,
      .max = 1e12,
      .def = 1e-6,
      .unit = "fraction of the largest eigenvalue",
      .help = "damping added to the diagonal of H, relative to its largest eigenvalue" },
    { .name = NULL },
};

static double largest_entry(qd_cmatd h)
{
    double largest = 0.0;
    for (size_t i = 0; i < h.rows; i++)
        for (size_t j = 0; j < h.cols; j++)
            largest = fmax(largest, fabs(qd_cmatd_row(h, i)[j]));
    return largest;
}

/* v becomes a unit vector. */
static void normalize(qd_matd v)
{
    double sum = 0.0;
    for (size_t i = 0; i < v.rows; i++)
        sum += v.data[i] * v.data[i];
    for (size_t i = 0; i < v.rows; i++)
        v.data[i] /= sqrt(sum);
}

qd_code qd_spectral_norm(qd_cmatd h, double *out_norm, qd_error *err)
{
    QD_AUTO(qd_matd_buf_fini) qd_matd_buf v = { 0 }, product = { 0 };
    double largest = largest_entry(h), quotient = 0.0;
    qd_code code = qd_matd_buf_init(&v, h.rows, 1, err);
    if (code == QD_OK)
        code = qd_matd_buf_init(&product, h.rows, 1, err);
    if (code != QD_OK)
        return code;
    uint64_t key = qd_rng_key(START, 0, 0);
    for (size_t i = 0; i < h.rows; i++)
        v.view.data[i] = qd_rng_uniform(key, i) + 0x1p-53; /* never the zero vector */
    normalize(v.view);
    for (size_t step = 0; largest > 0.0 && step < MOST_STEPS; step++) {
        double last = quotient;
        qd_gemm_f64(QD_PLAIN, QD_PLAIN, 1.0 / largest, h, qd_matd_const(v.view), 0.0, product.view);
        quotient = 0.0;
        double size = 0.0;
        for (size_t i = 0; i < h.rows; i++) {
            quotient += v.view.data[i] * product.view.data[i];
            size += product.view.data[i] * product.view.data[i];
        }
        if (size == 0.0 || fabs(quotient - last) <= SETTLED * fabs(quotient))
            break;
        for (size_t i = 0; i < h.rows; i++)
            v.view.data[i] = product.view.data[i] / sqrt(size);
    }
    *out_norm = fabs(quotient) * largest;
    return QD_OK;
}

static qd_code lambda(qd_cmatd hessian, double value, double *out_lambda, qd_error *err)
{
    double norm = 0.0;
    qd_code code = qd_damping_check(&params[0], value, err);
    if (code == QD_OK)
        code = qd_spectral_norm(hessian, &norm, err);
    if (code != QD_OK)
        return code;
    *out_lambda = value * (norm > 0.0 ? norm : 1.0); /* as for the mean diagonal: H = 0 counts as I */
    return QD_OK;
}

const qd_regularizer qd_regularizer_spectral = {
    .name = "spectral",
    .summary = "a fraction of the largest eigenvalue of H",
    .params = params,
    .lambda = lambda,
};
