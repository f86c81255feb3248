/* regularizer_auto.c: lambda as the fraction of the mean diagonal that held-out inputs ask for. Source: theory.md §8.3; holdout.h finds it. */
#include "quant/factor_rows.h"

static const qd_param params[] = { { .name = NULL } };

static qd_code lambda(qd_cmatd hessian, double value, double *out_lambda, qd_error *err)
{
    return qd_regularizer_mean_diagonal.lambda(hessian, value, out_lambda, err);
}

const qd_regularizer qd_regularizer_auto = {
    .name = "auto",
    .summary = "the fraction of the mean diagonal, 1e-5 to 1, with the least error expected on held-out sequences",
    .params = params,
    .value = QD_VALUE_HELD_OUT,
    .lambda = lambda,
};
