/* tensor.c: see tensor.h. */
#include "model/tensor.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/pages.h"
#include "model/gguf_names.h"

enum {
    TILE = 64,
    CHUNK = 4096 /* values widened at a time when looking for NaN: a multiple of every block */,
    CHUNKS_AT_ONCE = 1024 /* resident */
};
#define LARGEST_SCALE 1e30f /* times the largest F8 number it still is a float */

bool qd_tensor_is_plain(const qd_tensor *tensor)
{
    return !tensor->transposed && tensor->head_rows == 0 && tensor->scale == NULL;
}

void qd_tensor_release(const qd_tensor *tensor, const unsigned char *from, size_t bytes)
{
    if (tensor->mapped)
        qd_pages_release(from, bytes);
}

static qd_code check_readable(const qd_tensor *tensor, qd_error *err)
{
    if (tensor->dtype->to_floats != NULL)
        return QD_OK;
    return qd_fail(err, QD_EUNSUPPORTED, "tensor '%s': dtype %s cannot be read as numbers", tensor->name,
                   tensor->dtype->name);
}

/* Element i of a scale tensor; its type was found to be one that is stored one by one. */
static float scale_at(const qd_tensor *scale, size_t i)
{
    float value;
    scale->dtype->to_floats(scale->data + qd_dtype_size(scale->dtype, i), 1, &value);
    return value;
}

static void scale_row(const qd_tensor *tensor, size_t row, size_t cols, float *out)
{
    size_t width = (size_t)tensor->scale_cols, across = (cols + width - 1) / width;
    size_t first = row / (size_t)tensor->scale_rows * across;
    for (size_t start = 0; start < cols; start += width) {
        float scale = scale_at(tensor->scale, first + start / width);
        for (size_t i = start; i < start + width && i < cols; i++)
            out[i] *= scale;
    }
}

/* Rows of a matrix whose transpose is stored, of one plain type: a row of the file is a column here. */
static void read_transposed(const qd_tensor *tensor, size_t row, size_t count, float *out)
{
    size_t rows = (size_t)tensor->shape[0], cols = (size_t)tensor->shape[1];
    for (size_t at = 0; at < count; at += TILE)
        for (size_t c = 0; c < cols; c++) {
            float values[TILE];
            size_t n = qd_min_size(TILE, count - at);
            tensor->dtype->to_floats(tensor->data + qd_dtype_size(tensor->dtype, c * rows + row + at), n, values);
            for (size_t i = 0; i < n; i++)
                out[(at + i) * cols + c] = values[i];
        }
}

/* Rows one by one: where they come from, and what they are multiplied by. */
static void read_rows(const qd_tensor *tensor, size_t cols, size_t row, size_t count, float *out)
{
    size_t stride = qd_dtype_size(tensor->dtype, cols);
    for (size_t i = 0; i < count; i++) {
        size_t place = tensor->head_rows == 0 ? row + i : qd_gguf_row_place(row + i, tensor->head_rows);
        tensor->dtype->to_floats(tensor->data + place * stride, cols, out + i * cols);
        if (tensor->scale != NULL)
            scale_row(tensor, row + i, cols, out + i * cols);
    }
}

qd_code qd_tensor_to_floats(const qd_tensor *tensor, float *out, qd_error *err)
{
    qd_code code = check_readable(tensor, err);
    if (code != QD_OK)
        return code;
    if (qd_tensor_is_plain(tensor) || tensor->elements == 0)
        tensor->dtype->to_floats(tensor->data, (size_t)tensor->elements, out);
    else if (tensor->transposed)
        read_transposed(tensor, 0, (size_t)tensor->shape[0], out);
    else if (tensor->rank == 1) /* a bias: an element a row */
        read_rows(tensor, 1, 0, (size_t)tensor->elements, out);
    else
        read_rows(tensor, (size_t)tensor->shape[tensor->rank - 1], 0,
                  (size_t)(tensor->elements / tensor->shape[tensor->rank - 1]), out);
    qd_tensor_release(tensor, tensor->data, tensor->bytes);
    return QD_OK;
}

qd_code qd_tensor_rows_to_floats(const qd_tensor *tensor, size_t row, size_t count, float *out, qd_error *err)
{
    qd_code code = check_readable(tensor, err);
    if (code != QD_OK)
        return code;
    if (tensor->rank != 2 || row > tensor->shape[0] || count > tensor->shape[0] - row)
        return qd_fail(err, QD_ESHAPE, "tensor '%s': rows %zu..%zu are not in it", tensor->name, row, row + count);
    size_t cols = (size_t)tensor->shape[1];
    const unsigned char *data = tensor->data + qd_dtype_size(tensor->dtype, row * cols);
    if (tensor->transposed)
        read_transposed(tensor, row, count, out);
    else if (!qd_tensor_is_plain(tensor))
        read_rows(tensor, cols, row, count, out);
    else
        tensor->dtype->to_floats(data, count * cols, out);
    if (tensor->transposed)
        qd_tensor_release(tensor, tensor->data, tensor->bytes);
    else
        qd_tensor_release(tensor, data, qd_dtype_size(tensor->dtype, count * cols));
    return QD_OK;
}

qd_code qd_tensor_check_finite(const qd_tensor *tensor, qd_error *err)
{
    float values[CHUNK];
    if (tensor->dtype->to_floats == NULL)
        return QD_OK;
    for (size_t at = 0; at < tensor->elements; at += CHUNK) {
        size_t count = qd_min_size(CHUNK, (size_t)tensor->elements - at);
        tensor->dtype->to_floats(tensor->data + qd_dtype_size(tensor->dtype, at), count, values);
        for (size_t i = 0; i < count; i++)
            if (!isfinite(values[i]))
                return qd_fail(err, QD_ENUMERIC, "tensor '%s': element %zu is %f", tensor->name, at + i,
                               (double)values[i]);
        if (at / CHUNK % CHUNKS_AT_ONCE == CHUNKS_AT_ONCE - 1)
            qd_tensor_release(tensor, tensor->data, qd_dtype_size(tensor->dtype, at + count));
    }
    qd_tensor_release(tensor, tensor->data, tensor->bytes);
    for (size_t i = 0; tensor->scale != NULL && i < tensor->scale->elements; i++) {
        float scale = scale_at(tensor->scale, i);
        if (!(fabsf(scale) <= LARGEST_SCALE))
            return qd_fail(err, QD_ENUMERIC, "tensor '%s': element %zu is %g, the scale of '%s'", tensor->scale->name,
                           i, (double)scale, tensor->name);
    }
    return QD_OK;
}
