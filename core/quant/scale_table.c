/* scale_table.c: the registered scale rules. */
#include <string.h>

#include "quant/scale.h"
#include "quant/scale_rules.h"

static const qd_scale_rule *const table[] = { &qd_scale_minmax, &qd_scale_mse, &qd_scale_hessian_mse };

const qd_scale_rule *qd_scale_rule_at(size_t index)
{
    return index < QD_LENGTH(table) ? table[index] : NULL;
}

const qd_scale_rule *qd_scale_rule_find(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (strcmp(table[i]->name, name) == 0)
            return table[i];
    return NULL;
}
