/* factor_table.c: the registered orders and regularizers. */
#include <string.h>

#include "quant/factor_rows.h"

static const qd_order *const orders[] = { &qd_order_auto, &qd_order_natural, &qd_order_norm_descending,
                                          &qd_order_min_pivot };
static const qd_regularizer *const regularizers[] = { &qd_regularizer_mean_diagonal, &qd_regularizer_spectral,
                                                      &qd_regularizer_absolute, &qd_regularizer_auto };

const qd_order *qd_order_at(size_t index)
{
    return index < QD_LENGTH(orders) ? orders[index] : NULL;
}

const qd_order *qd_order_find(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(orders); i++)
        if (strcmp(orders[i]->name, name) == 0)
            return orders[i];
    return NULL;
}

const qd_regularizer *qd_regularizer_at(size_t index)
{
    return index < QD_LENGTH(regularizers) ? regularizers[index] : NULL;
}

const qd_regularizer *qd_regularizer_find(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(regularizers); i++)
        if (strcmp(regularizers[i]->name, name) == 0)
            return regularizers[i];
    return NULL;
}
