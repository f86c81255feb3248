/* scale_type.c: what a scale may be stored as. */
#include <string.h>

#include "linalg/half.h"
#include "quant/grid.h"

static float round_f32(float value)
{
    return value;
}

static float round_bf16(float value)
{
    return qd_bf16_to_float(qd_float_to_bf16(value));
}

static float round_f16(float value)
{
    return qd_f16_to_float(qd_float_to_f16(value));
}

static const qd_scale_type table[] = {
    { "f32", round_f32, "F32", 0x1p-126f, "IEEE binary32, 24 significant bits" },
    { "bf16", round_bf16, "BF16", 0x1p-126f, "bfloat16: range of f32, 8 significant bits" },
    { "f16", round_f16, "F16", 0x1p-24f, "IEEE binary16, 11 significant bits, at most 65504" },
};

const qd_scale_type *qd_scale_type_at(size_t index)
{
    return index < QD_LENGTH(table) ? &table[index] : NULL;
}

const qd_scale_type *qd_scale_type_find(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}
