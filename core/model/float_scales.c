/* float_scales.c: see float_scales.h. */
#include "model/float_scales.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? "" : text;
}

bool qd_model_reads_quantization(const json_t *quantization)
{
    const char *method = text_of(quantization, "quant_method");
    if (strcmp(method, "fp8") == 0)
        return true;
    return strcmp(method, "compressed-tensors") == 0 && strcmp(text_of(quantization, "format"), "float-quantized") == 0;
}

typedef struct block {
    size_t rows, cols; /* 0, 0 = none said */
} block;

static qd_code read_block(const json_t *quantization, block *out, qd_error *err)
{
    const json_t *sizes = json_object_get(quantization, "weight_block_size");
    *out = (block){ 0 };
    if (sizes == NULL || json_is_null(sizes))
        return QD_OK;
    json_int_t rows = json_integer_value(json_array_get(sizes, 0)), cols = json_integer_value(json_array_get(sizes, 1));
    if (json_array_size(sizes) != 2 || rows < 1 || cols < 1 || rows > INT32_MAX || cols > INT32_MAX)
        return qd_fail(err, QD_EFORMAT,
                       "config.json: quantization_config: 'weight_block_size': two whole numbers above 0 are wanted");
    *out = (block){ (size_t)rows, (size_t)cols };
    return QD_OK;
}

static uint64_t blocks_in(uint64_t size, uint64_t each)
{
    return (size + each - 1) / each;
}

static bool is_float8(const qd_tensor *t)
{
    return strcmp(t->dtype->name, "F8_E4M3") == 0 || strcmp(t->dtype->name, "F8_E5M2") == 0;
}

/* Rows and columns under one scale, from the shape of the scales; false when it is none of the known ones. */
static bool set_span(const block *b, qd_tensor *t)
{
    const qd_tensor *s = t->scale;
    uint64_t rows = t->shape[0], cols = t->shape[1];
    if (s->elements == 1) {
        t->scale_rows = rows;
        t->scale_cols = cols;
    } else if (s->shape[0] == rows && s->elements == rows) { /* [O] or [O, 1] */
        t->scale_rows = 1;
        t->scale_cols = cols;
    } else if (b->rows != 0 && s->rank == 2 && s->shape[0] == blocks_in(rows, b->rows) &&
               s->shape[1] == blocks_in(cols, b->cols)) {
        t->scale_rows = b->rows;
        t->scale_cols = b->cols;
    } else {
        return false;
    }
    return true;
}

static const qd_tensor *find_scale(qd_shards *shards, const qd_tensor *weight)
{
    static const char *const endings[] = { "_scale_inv", "_scale" };
    const qd_tensor *found = NULL;
    for (size_t i = 0; found == NULL && i < QD_LENGTH(endings); i++) {
        char name[640];
        snprintf(name, sizeof name, "%s%s", weight->name, endings[i]);
        found = qd_shards_find(shards, name);
    }
    return found;
}

static qd_code attach(const block *b, qd_shards *shards, qd_tensor *t, qd_error *err)
{
    t->scale = find_scale(shards, t);
    if (t->scale == NULL)
        return qd_fail(err, QD_EFORMAT, "tensor '%s' is %s, but neither '%s_scale_inv' nor '%s_scale' is there",
                       t->name, t->dtype->name, t->name, t->name);
    if (t->scale->dtype->from_floats == NULL) /* F32, F16, BF16 */
        return qd_fail(err, QD_EUNSUPPORTED, "tensor '%s': scales of dtype %s are not supported; F32, F16 and BF16 are",
                       t->scale->name, t->scale->dtype->name);
    if (t->rank != 2 || t->elements == 0 || !set_span(b, t))
        return qd_fail(err, QD_ESHAPE,
                       "tensor '%s': %llu scales of %zu dimensions fit neither the whole of '%s', nor its rows, nor "
                       "blocks of %zu x %zu",
                       t->scale->name, (unsigned long long)t->scale->elements, t->scale->rank, t->name, b->rows,
                       b->cols);
    return QD_OK;
}

static void say(const qd_tensor *t, char *out, size_t size)
{
    if (t->scale->elements == 1)
        snprintf(out, size, "fp8, one scale a tensor");
    else if (t->scale_rows == 1)
        snprintf(out, size, "fp8, one scale a row");
    else
        snprintf(out, size, "fp8, blocks of %llu x %llu", (unsigned long long)t->scale_rows,
                 (unsigned long long)t->scale_cols);
}

qd_code qd_float_scales_attach(const json_t *quantization, qd_shards *shards, char *out_words, size_t size,
                               qd_error *err)
{
    block b;
    qd_code code = read_block(quantization, &b, err);
    out_words[0] = '\0';
    for (size_t i = 0; code == QD_OK && i < shards->own_count; i++)
        if (is_float8(&shards->own[i])) {
            code = attach(&b, shards, &shards->own[i], err);
            if (code == QD_OK && out_words[0] == '\0')
                say(&shards->own[i], out_words, size);
        }
    for (size_t i = 0; code == QD_OK && i < shards->own_count; i++)
        if (shards->own[i].scale != NULL)
            qd_shards_drop(shards, shards->own[i].scale->name);
    return code;
}
