/* fuzz_gguf.c: any bytes as a GGUF file: refused with a reason, or every key has a value and every tensor numbers within the bytes. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_ELEMENTS = 1 << 22 };

static void said(qd_code code, const qd_error *err)
{
    assert(code == QD_OK || (err->code != QD_OK && err->text[0] != '\0'));
}

/* Every way to ask for a value, right or wrong for its type. */
static void ask(const qd_gguf *file, const char *key)
{
    qd_error err = { 0 };
    size_t size = 0, count = 0;
    double real = 0;
    bool truth = false;
    const char *text = NULL;
    QD_AUTO(qd_free_pointer) qd_gguf_string *strings = NULL;
    QD_AUTO(qd_free_pointer) double *reals = NULL;
    QD_AUTO(qd_free_pointer) int64_t *integers = NULL;
    said(qd_gguf_size(file, key, 0, &size, &err), &err);
    said(qd_gguf_real(file, key, 0, &real, &err), &err);
    said(qd_gguf_bool(file, key, false, &truth, &err), &err);
    said(qd_gguf_text(file, key, "", &text, &err), &err);
    if (text != NULL && text[0] != '\0')
        assert(strlen(text) > 0);
    said(qd_gguf_strings(file, key, &strings, &count, &err), &err);
    uint64_t sum = 0;
    for (size_t i = 0; strings != NULL && i < count; i++)
        for (size_t k = 0; k < strings[i].length; k++)
            sum += (unsigned char)strings[i].data[k];
    assert(sum <= UINT64_C(255) << 40); /* and so every byte was read */
    said(qd_gguf_reals(file, key, &reals, &count, &err), &err);
    said(qd_gguf_integers(file, key, &integers, &count, &err), &err);
}

static void read_tensor(const qd_tensor *t, const uint8_t *data, size_t size)
{
    qd_error err = { 0 };
    assert(t->data >= data && t->bytes <= size && (size_t)(t->data - data) <= size - t->bytes);
    if (t->dtype->to_floats == NULL || t->elements > MOST_ELEMENTS)
        return;
    float *values = malloc((size_t)t->elements * sizeof *values);
    assert(values != NULL);
    said(qd_tensor_to_floats(t, values, &err), &err);
    said(qd_tensor_check_finite(t, &err), &err);
    if (t->rank == 2)
        said(qd_tensor_rows_to_floats(t, t->shape[0] - 1, 1, values, &err), &err);
    free(values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qd_gguf *file = NULL;
    qd_error err = { 0 };
    qd_code code = qd_gguf_parse("fuzz.gguf", data, size, &file, &err);
    said(code, &err);
    if (code != QD_OK) {
        assert(strstr(err.text, "fuzz.gguf") != NULL);
        return 0;
    }
    assert(qd_gguf_version(file) == 2 || qd_gguf_version(file) == 3);
    for (size_t i = 0; i < qd_gguf_key_count(file); i++) {
        const qd_gguf_value *value = qd_gguf_key_at(file, i);
        assert(qd_gguf_key(file, value->key) == value);
        assert(value->data >= data && (size_t)(value->data - data) + value->bytes <= size);
        ask(file, value->key);
    }
    ask(file, "no.such.key");
    for (size_t i = 0; i < qd_gguf_count(file); i++) {
        const qd_tensor *t = qd_gguf_at(file, i);
        assert(qd_gguf_find(file, t->name) == t);
        read_tensor(t, data, size);
    }
    qd_gguf_destroy(file);
    return 0;
}
