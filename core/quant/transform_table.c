/* transform_table.c: the registered transforms, and lists of them. */
#include <string.h>

#include "quant/transform_rows.h"

static const qd_transform *const table[] = { &qd_transform_hadamard, &qd_transform_magr };

const qd_transform *qd_transform_at(size_t index)
{
    return index < QD_LENGTH(table) ? table[index] : NULL;
}

const qd_transform *qd_transform_find(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (strcmp(table[i]->name, name) == 0)
            return table[i];
    return NULL;
}

qd_transform_use qd_transform_default(const qd_transform *row)
{
    qd_transform_use use = { .row = row };
    for (size_t i = 0; row->params[i].name != NULL; i++)
        use.values[i] = row->params[i].def;
    return use;
}

const qd_transform_use *qd_transforms_turning(const qd_transforms *transforms)
{
    for (size_t i = 0; i < transforms->count; i++)
        if (transforms->items[i].row->turn != NULL)
            return &transforms->items[i];
    return NULL;
}

const qd_transform_use *qd_transforms_shaping(const qd_transforms *transforms)
{
    for (size_t i = 0; i < transforms->count; i++)
        if (transforms->items[i].row->shape != NULL)
            return &transforms->items[i];
    return NULL;
}
