/* stored.c: see stored.h. */
#include "export/stored.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "quant/scale.h"

qd_code qd_stored_init(qd_stored *stored, const qd_grid_spec *spec, const qd_linear *linear, qd_error *err)
{
    *stored = (qd_stored){ 0 };
    qd_grid_shape(spec, linear->in, &stored->grid);
    qd_code code = qd_matf_buf_init(&stored->grid.scale, linear->out, stored->grid.groups, err);
    if (code == QD_OK)
        code = qd_matf_buf_init(&stored->grid.zero, linear->out, stored->grid.groups, err);
    if (code == QD_OK)
        code = qd_alloc(linear->out, linear->in, (void **)&stored->codes, err);
    return code;
}

void qd_stored_fini(qd_stored *stored)
{
    qd_grid_fini(&stored->grid);
    free(stored->codes);
    free(stored->group_of);
    *stored = (qd_stored){ 0 };
}

qd_code qd_stored_order(qd_stored *stored, const qd_tensor *order, qd_error *err)
{
    QD_AUTO(qd_free_pointer) uint32_t *groups = NULL;
    size_t in = (size_t)order->elements, unset = 0, elsewhere = 0;
    qd_code code = qd_alloc(in, sizeof *groups, (void **)&groups, err);
    for (size_t i = 0; code == QD_OK && i < in; i++) {
        groups[i] = qd_part_word(order, i);
        unset += groups[i] == UINT32_MAX;
        elsewhere += groups[i] != i / stored->grid.group_size;
    }
    if (code != QD_OK || unset == in || elsewhere == 0)
        return code;
    for (size_t i = 0; i < in; i++)
        if (groups[i] >= stored->grid.groups)
            return qd_fail(err, QD_EFORMAT, "tensor '%s': feature %zu is in group %d; there are 0..%zu", order->name, i,
                           (int)groups[i], stored->grid.groups - 1);
    stored->group_of = groups;
    groups = NULL;
    return QD_OK;
}

void qd_stored_weights(const qd_stored *stored, qd_matf w)
{
    const qd_grid *grid = &stored->grid;
    if (stored->group_of == NULL) {
        qd_grid_dequantize(grid, stored->codes, w);
        return;
    }
    for (size_t o = 0; o < w.rows; o++)
        for (size_t i = 0; i < w.cols; i++) {
            size_t g = stored->group_of[i];
            float level = (float)qd_grid_level(grid, stored->codes[o * w.cols + i]);
            qd_matf_row(w, o)[i] = (level - qd_matf_row(grid->zero.view, o)[g]) * qd_matf_row(grid->scale.view, o)[g];
        }
}

qd_code qd_stored_take(qd_stored *stored, const qd_linear *linear, qd_grid *grid, uint8_t **out_codes, qd_error *err)
{
    if (stored->group_of != NULL)
        return qd_fail(err, QD_EUNSUPPORTED,
                       "layer '%s': its groups are no runs of features (act-order); format 'safetensors' "
                       "(dequantized) takes that",
                       linear->name);
    *grid = stored->grid;
    *out_codes = stored->codes;
    *stored = (qd_stored){ 0 };
    return QD_OK;
}

const qd_tensor *qd_part_find(const qd_model *model, const qd_linear *linear, const char *part)
{
    char name[QD_PART_NAME];
    snprintf(name, sizeof name, "%s.%s", linear->name, part);
    return qd_model_tensor(model, name);
}

static void print_shape(size_t rank, const uint64_t *shape, char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "[");
    for (size_t i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%llu", i == 0 ? "" : ", ", (unsigned long long)shape[i]);
    if (used < size)
        snprintf(out + used, size - used, "]");
}

qd_code qd_part_need(const qd_model *model, const qd_linear *linear, const char *part, const char *dtype, size_t rows,
                     size_t cols, const qd_tensor **out, qd_error *err)
{
    const qd_tensor *t = qd_part_find(model, linear, part);
    const uint64_t shape[] = { rows, cols };
    size_t rank = cols == 0 ? 1 : 2;
    char found[200], wanted[60];
    if (t == NULL)
        return qd_fail(err, QD_EFORMAT, "tensor '%s.%s' is missing", linear->name, part);
    if (t->rank != rank || memcmp(t->shape, shape, rank * sizeof *shape) != 0) {
        print_shape(t->rank, t->shape, found, sizeof found);
        print_shape(rank, shape, wanted, sizeof wanted);
        return qd_fail(err, QD_EFORMAT, "tensor '%s': its shape is %s; by config.json it is %s", t->name, found,
                       wanted);
    }
    if (dtype == NULL ? t->dtype->from_floats == NULL : strcmp(t->dtype->name, dtype) != 0)
        return qd_fail(err, QD_EFORMAT, "tensor '%s': dtype %s is not %s", t->name, t->dtype->name,
                       dtype == NULL ? "F32, BF16 or F16" : dtype);
    *out = t;
    return QD_OK;
}

uint32_t qd_part_word(const qd_tensor *tensor, size_t index)
{
    uint32_t word;
    memcpy(&word, tensor->data + sizeof word * index, sizeof word);
    return word;
}

qd_code qd_part_floats(const qd_tensor *tensor, float *out, qd_error *err)
{
    qd_code code = qd_tensor_check_finite(tensor, err);
    return code == QD_OK ? qd_tensor_to_floats(tensor, out, err) : code;
}

qd_code qd_plain_weight(const qd_linear *linear, qd_matf w, qd_error *err)
{
    if (linear->weight == NULL)
        return qd_fail(err, QD_EFORMAT, "tensor '%s.weight' is missing", linear->name);
    qd_code code = qd_tensor_check_finite(linear->weight, err);
    for (size_t o = 0; code == QD_OK && o < linear->out; o++)
        code = qd_tensor_rows_to_floats(linear->weight, o, 1, qd_matf_row(w, o), err);
    return code;
}

qd_grid_spec qd_stored_spec(const char *alphabet, double bits, size_t group_size, const char *scale_dtype)
{
    static const struct {
        const char *dtype, *type;
    } types[] = { { "F32", "f32" }, { "BF16", "bf16" }, { "F16", "f16" }, { "U8", "e8m0" }, { "F8_E4M3", "e4m3" } };
    const qd_alphabet *row = qd_alphabet_find(alphabet);
    qd_grid_spec spec = { .alphabet = row,
                          .zero = row->zero,
                          .bits = bits,
                          .group_size = group_size,
                          .rule = qd_scale_rule_find("minmax"),
                          .shrink = 1.0 };
    for (size_t i = 0; i < QD_LENGTH(types); i++)
        if (strcmp(types[i].dtype, scale_dtype) == 0)
            spec.scale_type = qd_scale_type_find(types[i].type);
    return spec;
}

bool qd_scale_type_is_free(const qd_scale_type *type)
{
    return !type->offset && type->per_block == 0 && type != qd_scale_type_find("e4m3");
}

bool qd_scale_type_is_f16(const qd_scale_type *type)
{
    return type == qd_scale_type_find("half") || (qd_scale_type_is_free(type) && strcmp(type->dtype, "F16") == 0);
}
