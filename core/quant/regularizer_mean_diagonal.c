/* regularizer_mean_diagonal.c: lambda as a fraction of the mean diagonal of H over live columns.
 * Source: algorithms.md §5 (0.01 is the common default). */
#include <math.h>

#include "quant/factor_rows.h"

static const qd_param params[] = {
    { .name = "mean_diagonal",
      .type = QD_PARAM_REAL,
      .min = 0.0,
      .max = 1e12,
      .def = 0.01,
      .unit = "fraction of mean diagonal",
      .help = "damping added to the diagonal of H, relative to its mean over columns that are not dead" },
    { .name = NULL },
};

/* A negative entry is no second moment; by |H_jj| the ladder of factor.h decides about it, not a negative lambda. */
double qd_mean_diagonal(qd_cmatd hessian)
{
    double sum = 0.0;
    size_t live = 0;
    for (size_t j = 0; j < hessian.rows; j++) {
        double value = qd_cmatd_row(hessian, j)[j];
        sum += fabs(value);
        live += value != 0.0;
    }
    return live == 0 ? 1.0 : sum / (double)live;
}

qd_code qd_damping_check(const qd_param *param, double value, qd_error *err)
{
    if (value >= param->min && value <= param->max)
        return QD_OK;
    return qd_fail(err, QD_EINVAL, "regularization.%s: %g is not in %g..%g", param->name, value, param->min,
                   param->max);
}

static qd_code lambda(qd_cmatd hessian, double value, double *out_lambda, qd_error *err)
{
    qd_code code = qd_damping_check(&params[0], value, err);
    if (code == QD_OK)
        *out_lambda = value * qd_mean_diagonal(hessian);
    return code;
}

const qd_regularizer qd_regularizer_mean_diagonal = {
    .name = "mean_diagonal",
    .summary = "a fraction of the mean diagonal of H",
    .params = params,
    .lambda = lambda,
};
