/* order_norm_descending.c: columns with the largest H_jj first (act-order), stable.
 * Source: algorithms.md §4; theory.md §4, T5: large columns first leaves less for the unprojected last pivots. */
#include <stdlib.h>

#include "base/mem.h"
#include "quant/factor_rows.h"

typedef struct key {
    double norm;
    uint32_t column;
} key;

static int larger_first(const void *a, const void *b)
{
    const key *x = a, *y = b;
    if (x->norm != y->norm)
        return x->norm > y->norm ? -1 : 1;
    return x->column < y->column ? -1 : 1; /* ties: lower index first */
}

static qd_code permute(qd_cmatd hessian, double lambda, uint32_t *out_permutation, const qd_order **out_chosen,
                       qd_error *err)
{
    (void)lambda;
    QD_AUTO(qd_free_pointer) void *memory = NULL;
    qd_code code = qd_alloc(hessian.rows, sizeof(key), &memory, err);
    if (code != QD_OK)
        return code;
    key *keys = memory;
    for (size_t j = 0; j < hessian.rows; j++)
        keys[j] = (key){ qd_cmatd_row(hessian, j)[j], (uint32_t)j };
    qsort(keys, hessian.rows, sizeof *keys, larger_first);
    for (size_t t = 0; t < hessian.rows; t++)
        out_permutation[t] = keys[t].column;
    *out_chosen = &qd_order_norm_descending;
    return QD_OK;
}

static const qd_param params[] = { { .name = NULL } };

const qd_order qd_order_norm_descending = {
    .name = "norm-descending",
    .summary = "columns with the largest diagonal of H first",
    .params = params,
    .permute = permute,
};
