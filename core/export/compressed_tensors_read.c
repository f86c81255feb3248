/* compressed_tensors_read.c: packed tensors back to weights, trusting neither config nor shapes: see
 * compressed_tensors.h. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "export/compressed_tensors.h"
#include "export/config_edit.h"
#include "quant/pack.h"

typedef struct packed_layer {
    const qd_model *model;
    const qd_linear *linear;
    qd_packed_scheme scheme;
    size_t groups, group_size;
    const qd_tensor *codes;
    float *scales;  /* O x G */
    uint8_t *zeros; /* O x G, as codes */
} packed_layer;

static void packed_layer_fini(packed_layer *p)
{
    free(p->scales);
    free(p->zeros);
}

static const qd_tensor *part_of(const packed_layer *p, const char *part)
{
    char name[QD_PACKED_NAME];
    snprintf(name, sizeof name, "%s.%s", p->linear->name, part);
    return qd_model_tensor(p->model, name);
}

/* A part with the shape it must have; dtype NULL = any that widens to float. */
static qd_code find_part(const packed_layer *p, const char *part, const char *dtype, size_t rows, size_t cols,
                         const qd_tensor **out, qd_error *err)
{
    const qd_tensor *t = part_of(p, part);
    if (t == NULL)
        return qd_fail(err, QD_EFORMAT, "tensor '%s.%s' is missing", p->linear->name, part);
    if (t->rank != 2 || t->shape[0] != rows || t->shape[1] != cols)
        return qd_fail(err, QD_EFORMAT, "tensor '%s': the shape is not [%zu, %zu], as %u bits in groups of %zu need",
                       t->name, rows, cols, p->scheme.bits, p->group_size);
    if (dtype == NULL ? t->dtype->from_floats == NULL : strcmp(t->dtype->name, dtype) != 0)
        return qd_fail(err, QD_EFORMAT, "tensor '%s': dtype %s is not %s", t->name, t->dtype->name,
                       dtype == NULL ? "F32, BF16 or F16" : dtype);
    *out = t;
    return QD_OK;
}

static qd_code check_shape(const packed_layer *p, qd_error *err)
{
    const qd_tensor *t = part_of(p, "weight_shape");
    int64_t shape[2];
    if (t == NULL || strcmp(t->dtype->name, "I64") != 0 || t->rank != 1 || t->elements != 2)
        return qd_fail(err, QD_EFORMAT, "tensor '%s.weight_shape': I64 [2] is wanted", p->linear->name);
    memcpy(shape, t->data, sizeof shape);
    if (shape[0] < 0 || shape[1] < 0 || (uint64_t)shape[0] != p->linear->out || (uint64_t)shape[1] != p->linear->in)
        return qd_fail(err, QD_EFORMAT, "tensor '%s': %lld x %lld, the config wants %zu x %zu", t->name,
                       (long long)shape[0], (long long)shape[1], p->linear->out, p->linear->in);
    return QD_OK;
}

static qd_code read_scales(packed_layer *p, qd_error *err)
{
    const qd_tensor *scale = NULL;
    qd_code code = find_part(p, "weight_scale", NULL, p->linear->out, p->groups, &scale, err);
    if (code == QD_OK)
        code = qd_tensor_check_finite(scale, err);
    if (code == QD_OK)
        code = qd_alloc((size_t)scale->elements, sizeof *p->scales, (void **)&p->scales, err);
    return code == QD_OK ? qd_tensor_to_floats(scale, p->scales, err) : code;
}

static qd_code read_zeros(packed_layer *p, qd_error *err)
{
    size_t out = p->linear->out, words = qd_pack_words(out, p->scheme.bits);
    const qd_tensor *t = NULL;
    QD_AUTO(qd_free_pointer) uint32_t *one = NULL;
    QD_AUTO(qd_free_pointer) uint8_t *column = NULL;
    qd_code code = qd_alloc(out * p->groups, 1, (void **)&p->zeros, err);
    if (code == QD_OK && p->scheme.symmetric) {
        memset(p->zeros, 1 << (p->scheme.bits - 1), out * p->groups);
        return part_of(p, "weight_zero_point") == NULL
                   ? QD_OK
                   : qd_fail(err, QD_EFORMAT, "tensor '%s.weight_zero_point': the config says symmetric",
                             p->linear->name);
    }
    if (code == QD_OK)
        code = find_part(p, "weight_zero_point", "I32", words, p->groups, &t, err);
    if (code == QD_OK)
        code = qd_alloc(words, sizeof *one, (void **)&one, err);
    if (code == QD_OK)
        code = qd_alloc(out, 1, (void **)&column, err);
    for (size_t g = 0; code == QD_OK && g < p->groups; g++) {
        for (size_t k = 0; k < words; k++)
            memcpy(&one[k], t->data + 4 * (k * p->groups + g), 4);
        qd_unpack_row(one, out, p->scheme.bits, column);
        for (size_t o = 0; o < out; o++)
            p->zeros[o * p->groups + g] = column[o];
    }
    return code;
}

static qd_code read_parts(packed_layer *p, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *config = NULL;
    size_t in = p->linear->in;
    qd_code code = qd_config_json_read(qd_model_borrow_path(p->model), &config, err);
    if (code == QD_OK)
        code = qd_packed_scheme_read(config, &p->scheme, err);
    if (code != QD_OK)
        return code;
    p->group_size = p->scheme.group_size == 0 ? in : p->scheme.group_size;
    if (in % p->group_size != 0)
        return qd_fail(err, QD_EFORMAT, "'%s': groups of %zu do not divide %zu input features", p->linear->name,
                       p->group_size, in);
    p->groups = in / p->group_size;
    code = check_shape(p, err);
    if (code == QD_OK && p->linear->weight != NULL)
        code = qd_fail(err, QD_EFORMAT, "tensor '%s.weight' stands beside its packed form", p->linear->name);
    if (code == QD_OK)
        code = find_part(p, "weight_packed", "I32", p->linear->out, qd_pack_words(in, p->scheme.bits), &p->codes, err);
    if (code == QD_OK && part_of(p, "weight_g_idx") != NULL)
        code = qd_fail(err, QD_EUNSUPPORTED, "tensor '%s.weight_g_idx': columns out of order are not supported",
                       p->linear->name);
    if (code == QD_OK)
        code = read_scales(p, err);
    return code == QD_OK ? read_zeros(p, err) : code;
}

static void dequantize_row(const packed_layer *p, size_t o, const uint8_t *codes, float *out)
{
    for (size_t g = 0; g < p->groups; g++) {
        float scale = p->scales[o * p->groups + g];
        int zero = p->zeros[o * p->groups + g];
        for (size_t i = g * p->group_size; i < (g + 1) * p->group_size; i++)
            out[i] = (float)(codes[i] - zero) * scale;
    }
}

static qd_code unpack_rows(const packed_layer *p, qd_matf w, qd_error *err)
{
    size_t in = p->linear->in, words = qd_pack_words(in, p->scheme.bits);
    QD_AUTO(qd_free_pointer) uint32_t *row = NULL;
    QD_AUTO(qd_free_pointer) uint8_t *codes = NULL;
    qd_code code = qd_alloc(words, sizeof *row, (void **)&row, err);
    if (code == QD_OK)
        code = qd_alloc(in, 1, (void **)&codes, err);
    for (size_t o = 0; code == QD_OK && o < p->linear->out; o++) {
        memcpy(row, p->codes->data + 4 * o * words, 4 * words); /* the file may hold it at any address */
        qd_unpack_row(row, in, p->scheme.bits, codes);
        dequantize_row(p, o, codes, qd_matf_row(w, o));
    }
    return code;
}

qd_code qd_packed_read(const qd_model *packed, const qd_linear *linear, qd_matf w, qd_error *err)
{
    assert(w.rows == linear->out && w.cols == linear->in);
    QD_AUTO(packed_layer_fini) packed_layer p = { .model = packed, .linear = linear };
    qd_code code = read_parts(&p, err);
    return code == QD_OK ? unpack_rows(&p, w, err) : code;
}
