/* fuzz_safetensors.c: any bytes as a safetensors file: refused, or every tensor can be read within the bytes. Once as
 * they are, once with a true length word put before them, so that mutations reach behind the first check. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(const uint8_t *data, size_t size)
{
    qd_safetensors *file = NULL;
    qd_error err = { 0 };
    if (qd_safetensors_parse("fuzz", data, size, &file, &err) != QD_OK) {
        assert(err.code != QD_OK && err.text[0] != '\0');
        return;
    }
    size_t total = 0;
    for (size_t i = 0; i < qd_safetensors_count(file); i++) {
        const qd_tensor *t = qd_safetensors_at(file, i);
        assert(qd_safetensors_find(file, t->name) == t);
        assert(t->data >= data && t->bytes <= size && (size_t)(t->data - data) <= size - t->bytes);
        total += t->bytes;
        float *values = t->dtype->to_floats == NULL ? NULL : malloc((size_t)t->elements * sizeof *values + 1);
        if (values != NULL)
            assert(qd_tensor_to_floats(t, values, &err) == QD_OK);
        free(values);
        qd_tensor_check_finite(t, &err);
    }
    assert(total <= size);
    qd_safetensors_metadata(file, "format");
    qd_safetensors_destroy(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_all(data, size);
    uint64_t header = size; /* up to the last brace */
    while (header > 0 && data[header - 1] != '}')
        header--;
    uint8_t *framed = malloc(size + 8);
    if (framed == NULL)
        return 0;
    memcpy(framed, &header, 8);
    if (size > 0)
        memcpy(framed + 8, data, size);
    read_all(framed, size + 8);
    free(framed);
    return 0;
}
