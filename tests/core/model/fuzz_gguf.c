/* fuzz_gguf.c: any bytes as a GGUF file: refused, or every tensor and every value can be read within the bytes, and the
 * config made of it is one that an architecture's row reads or refuses. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "model/arch_private.h"
#include "model/gguf_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_tensors(const qd_gguf *file, const uint8_t *data, size_t size)
{
    qd_error err = { 0 };
    for (size_t i = 0; i < qd_gguf_count(file); i++) {
        const qd_tensor *t = qd_gguf_at(file, i);
        uint64_t bytes = 0;
        assert(qd_gguf_find(file, t->name) == t);
        assert(t->data >= data && t->bytes <= size && (size_t)(t->data - data) <= size - t->bytes);
        assert(qd_dtype_bytes(t->dtype, t->elements, &bytes) && bytes == t->bytes);
        if (t->dtype->to_floats == NULL)
            continue;
        float *values = malloc((size_t)t->elements * sizeof *values);
        assert(values != NULL && qd_tensor_to_floats(t, values, &err) == QD_OK);
        bool finite = true;
        for (uint64_t k = 0; k < t->elements; k++)
            finite &= isfinite(values[k]) != 0;
        assert((qd_tensor_check_finite(t, &err) == QD_OK) == finite);
        free(values);
    }
}

static void read_values(const qd_gguf *file, const uint8_t *data, size_t size)
{
    qd_error err = { 0 };
    for (size_t i = 0; i < qd_gguf_key_count(file); i++) {
        const qd_gguf_value *value = qd_gguf_key_at(file, i);
        size_t number, count = 0;
        double real;
        bool truth;
        const char *text;
        qd_gguf_string *strings = NULL;
        double *reals = NULL;
        int64_t *integers = NULL;
        assert(qd_gguf_key(file, value->key) == value);
        assert(value->data >= data && value->bytes <= size && (size_t)(value->data - data) <= size - value->bytes);
        if (qd_gguf_real(file, value->key, 0, &real, &err) == QD_OK)
            assert(isfinite(real));
        qd_gguf_size(file, value->key, 0, &number, &err);
        qd_gguf_bool(file, value->key, false, &truth, &err);
        qd_gguf_text(file, value->key, "", &text, &err);
        if (qd_gguf_strings(file, value->key, &strings, &count, &err) == QD_OK)
            for (size_t k = 0; k < count; k++)
                assert((const uint8_t *)strings[k].data + strings[k].length <= data + size);
        qd_gguf_reals(file, value->key, &reals, &count, &err);
        qd_gguf_integers(file, value->key, &integers, &count, &err);
        free(strings);
        free(reals);
        free(integers);
    }
}

static void make_config(const qd_gguf *file)
{
    json_t *config = NULL;
    qd_error err = { 0 };
    if (qd_gguf_config(file, &config, &err) != QD_OK) {
        assert(err.text[0] != '\0');
        return;
    }
    const qd_arch *arch =
        qd_arch_find_class(json_string_value(json_array_get(json_object_get(config, "architectures"), 0)));
    qd_decoder decoder = { 0 };
    assert(arch != NULL);
    assert(qd_decoder_read(arch, config, config, &decoder, &err) == QD_OK || err.text[0] != '\0');
    qd_decoder_fini(&decoder);
    json_decref(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qd_gguf *file = NULL;
    qd_error err = { 0 };
    if (qd_gguf_parse("fuzz", data, size, &file, &err) != QD_OK) {
        assert(err.code != QD_OK && err.text[0] != '\0');
        return 0;
    }
    read_tensors(file, data, size);
    read_values(file, data, size);
    make_config(file);
    qd_gguf_destroy(file);
    return 0;
}
