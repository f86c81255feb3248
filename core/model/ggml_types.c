/* ggml_types.c: see ggml_types.h. Rows in the order of ids. */
#include "model/ggml_types.h"

#include <string.h>

#include "base/auto.h"
#include "linalg/half.h"
#include "model/dtype_private.h"
#include "model/ggml_decode.h"

#define NONE QD_GGML_NO_FILE_TYPE

static const qd_ggml_type table[] = {
    { 0, 0, { "F32", 32, 0, 0, qd_dtype_f32_to_floats, qd_dtype_floats_to_f32 } },
    { 1, 1, { "F16", 16, 0, 0, qd_f16_to_floats, qd_dtype_floats_to_f16 } },
    { 2, 2, { "Q4_0", 0, 32, 18, qd_ggml_q4_0, NULL } },
    { 3, 3, { "Q4_1", 0, 32, 20, qd_ggml_q4_1, NULL } },
    { 6, 8, { "Q5_0", 0, 32, 22, qd_ggml_q5_0, NULL } },
    { 7, 9, { "Q5_1", 0, 32, 24, qd_ggml_q5_1, NULL } },
    { 8, 7, { "Q8_0", 0, 32, 34, qd_ggml_q8_0, NULL } },
    { 10, 10, { "Q2_K", 0, 256, 84, qd_ggml_q2_k, NULL } },
    { 11, 11, { "Q3_K", 0, 256, 110, qd_ggml_q3_k, NULL } },
    { 12, 14, { "Q4_K", 0, 256, 144, qd_ggml_q4_k, NULL } },
    { 13, 16, { "Q5_K", 0, 256, 176, qd_ggml_q5_k, NULL } },
    { 14, 18, { "Q6_K", 0, 256, 210, qd_ggml_q6_k, NULL } },
    { 20, 25, { "IQ4_NL", 0, 32, 18, qd_ggml_iq4_nl, NULL } },
    { 23, 30, { "IQ4_XS", 0, 256, 136, qd_ggml_iq4_xs, NULL } },
    { 24, NONE, { "I8", 8, 0, 0, qd_dtype_i8_to_floats, NULL } },
    { 25, NONE, { "I16", 16, 0, 0, qd_dtype_i16_to_floats, NULL } },
    { 26, NONE, { "I32", 32, 0, 0, qd_dtype_i32_to_floats, NULL } },
    { 27, NONE, { "I64", 64, 0, 0, NULL, NULL } },
    { 28, NONE, { "F64", 64, 0, 0, qd_dtype_f64_to_floats, NULL } },
    { 30, 32, { "BF16", 16, 0, 0, qd_bf16_to_floats, qd_dtype_floats_to_bf16 } },
    { 34, 36, { "TQ1_0", 0, 256, 54, qd_ggml_tq1_0, NULL } },
    { 35, 37, { "TQ2_0", 0, 256, 66, qd_ggml_tq2_0, NULL } },
    { 39, 38, { "MXFP4", 0, 32, 17, qd_ggml_mxfp4, NULL } },
    { 40, 39, { "NVFP4", 0, 64, 36, qd_ggml_nvfp4, NULL } },
    { 41, 40, { "Q1_0", 0, 128, 18, qd_ggml_q1_0, NULL } },
    { 42, 41, { "Q2_0", 0, 64, 18, qd_ggml_q2_0, NULL } },
};

const qd_ggml_type *qd_ggml_type_at(size_t index)
{
    return index < QD_LENGTH(table) ? &table[index] : NULL;
}

const qd_ggml_type *qd_ggml_type_find(uint32_t id)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (table[i].id == id)
            return &table[i];
    return NULL;
}

const qd_ggml_type *qd_ggml_type_named(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (strcmp(table[i].dtype.name, name) == 0)
            return &table[i];
    return NULL;
}

const char *qd_ggml_type_unread(uint32_t id)
{
    static const struct {
        uint32_t id;
        const char *name;
    } unread[] = { { 9, "Q8_1" },   { 15, "Q8_K" },  { 16, "IQ2_XXS" }, { 17, "IQ2_XS" }, { 18, "IQ3_XXS" },
                   { 19, "IQ1_S" }, { 21, "IQ3_S" }, { 22, "IQ2_S" },   { 29, "IQ1_M" } };
    for (size_t i = 0; i < QD_LENGTH(unread); i++)
        if (unread[i].id == id)
            return unread[i].name;
    return NULL;
}

const qd_dtype *qd_ggml_type_dtype(const qd_ggml_type *type)
{
    return type->dtype.block != 0 ? &type->dtype : qd_dtype_find(type->dtype.name);
}
