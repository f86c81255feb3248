/* stored.c: see stored.h. */
#include "model/stored.h"

#include <stdio.h>
#include <string.h>

#include "base/auto.h"
#include "model/arch_private.h"
#include "model/ggml_types.h"

static uint64_t elements_of(const qd_model *model, const qd_dtype *dtype)
{
    uint64_t elements = 0;
    for (size_t i = 0; i < qd_model_linear_count(model); i++) {
        const qd_tensor *weight = qd_model_linear_at(model, i)->weight;
        elements += weight != NULL && weight->dtype == dtype ? weight->elements : 0;
    }
    return elements;
}

/* The type of a model whose tensors are of `dtype`. */
static const char *model_dtype(const qd_dtype *dtype)
{
    if (dtype->block != 0)
        return "F32";
    return dtype->from_floats == NULL ? "BF16" : dtype->name;
}

/* Where no linear weight is stored as it is: the embedding's, or what is most like one. */
static const qd_dtype *other_dtype(const qd_model *model)
{
    const qd_tensor *embedding = qd_model_ends_of(model)->embedding, *largest = NULL;
    for (size_t i = 0; embedding == NULL && i < qd_model_tensor_count(model); i++) {
        const qd_tensor *t = qd_model_tensor_at(model, i);
        if (t->dtype->from_floats != NULL && (largest == NULL || t->elements > largest->elements))
            largest = t;
    }
    embedding = embedding == NULL ? largest : embedding;
    return embedding == NULL ? qd_dtype_find("BF16") : embedding->dtype;
}

const char *qd_stored_dtype(const qd_model *model)
{
    const qd_dtype *best = other_dtype(model);
    uint64_t most = 0, elements;
    for (size_t row = 0; qd_dtype_at(row) != NULL; row++)
        if ((elements = elements_of(model, qd_dtype_at(row))) > most) {
            most = elements;
            best = qd_dtype_at(row);
        }
    for (size_t row = 0; qd_ggml_type_at(row) != NULL; row++) {
        const qd_dtype *dtype = qd_ggml_type_dtype(qd_ggml_type_at(row));
        if ((elements = elements_of(model, dtype)) > most) {
            most = elements;
            best = dtype;
        }
    }
    return model_dtype(best);
}

void qd_stored_words(const qd_model *model, char *out, size_t size)
{
    const char *separator = "GGUF ";
    uint64_t above = UINT64_MAX;
    for (size_t used = 0; used < size;) { /* the next most common, until there is none */
        const qd_dtype *best = NULL;
        uint64_t most = 0;
        for (size_t row = 0; qd_ggml_type_at(row) != NULL; row++) {
            const qd_dtype *dtype = qd_ggml_type_dtype(qd_ggml_type_at(row));
            uint64_t elements = dtype->block == 0 ? 0 : elements_of(model, dtype);
            if (elements > most && elements < above) {
                most = elements;
                best = dtype;
            }
        }
        if (best == NULL)
            return;
        used += (size_t)snprintf(out + used, size - used, "%s%s", separator, best->name);
        separator = ", ";
        above = most;
    }
}
