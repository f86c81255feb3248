/* order_natural.c: columns as they come. */
#include "quant/factor_rows.h"

static qd_code permute(qd_cmatd hessian, double lambda, uint32_t *out_permutation, const qd_order **out_chosen,
                       qd_error *err)
{
    (void)lambda;
    (void)err;
    for (size_t j = 0; j < hessian.rows; j++)
        out_permutation[j] = (uint32_t)j;
    *out_chosen = &qd_order_natural;
    return QD_OK;
}

static const qd_param params[] = { { .name = NULL } };

const qd_order qd_order_natural = {
    .name = "natural",
    .summary = "columns in the order of the weights",
    .params = params,
    .permute = permute,
};
