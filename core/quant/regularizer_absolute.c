/* regularizer_absolute.c: lambda in units of H, which is a mean over tokens. Source: api.md "regularization". */
#include "quant/factor_rows.h"

static const qd_param params[] = {
    { .name = "absolute",
      .type = QD_PARAM_REAL,
      .min = 0.0,
      .max = 1e12,
      .def = 0.5,
      .unit = "squared input per token",
      .help = "damping added to the diagonal of H as it is, whatever the size of the inputs" },
    { .name = NULL },
};

static qd_code lambda(qd_cmatd hessian, double value, double *out_lambda, qd_error *err)
{
    (void)hessian;
    qd_code code = qd_damping_check(&params[0], value, err);
    if (code == QD_OK)
        *out_lambda = value;
    return code;
}

const qd_regularizer qd_regularizer_absolute = {
    .name = "absolute",
    .summary = "a number in units of H",
    .params = params,
    .lambda = lambda,
};
