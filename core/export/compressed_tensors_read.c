/* compressed_tensors_read.c: packed tensors back to codes and their grid, trusting neither config nor shapes: see
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
} packed_layer;

static qd_code check_shape(const packed_layer *p, qd_error *err)
{
    const qd_tensor *t = qd_part_find(p->model, p->linear, "weight_shape");
    int64_t shape[2];
    if (t == NULL || strcmp(t->dtype->name, "I64") != 0 || t->rank != 1 || t->elements != 2)
        return qd_fail(err, QD_EFORMAT, "tensor '%s.weight_shape': I64 [2] is wanted", p->linear->name);
    memcpy(shape, t->data, sizeof shape);
    if (shape[0] < 0 || shape[1] < 0 || (uint64_t)shape[0] != p->linear->out || (uint64_t)shape[1] != p->linear->in)
        return qd_fail(err, QD_EFORMAT, "tensor '%s': %lld x %lld, the config wants %zu x %zu", t->name,
                       (long long)shape[0], (long long)shape[1], p->linear->out, p->linear->in);
    return QD_OK;
}

/* Of each packed layer one tensor tells the shape: weight_shape, the bytes of an int8 weight, or those of nibbles. */
bool qd_packed_find_layer(void *ctx, const qd_tensor *t, uint64_t vocabulary, qd_linear *out, size_t *out_length)
{
    static const struct {
        const char *part, *dtype;
        size_t rank;
        enum { SAYS, HAS, HAS_HALF } shape;
    } kinds[] = { { ".weight_shape", "I64", 1, SAYS },
                  { ".weight", "I8", 2, HAS },
                  { ".weight_packed", "U8", 2, HAS_HALF } };
    size_t length = strlen(t->name);
    (void)ctx;
    (void)vocabulary;
    for (size_t i = 0; i < QD_LENGTH(kinds); i++) {
        size_t part = strlen(kinds[i].part);
        int64_t said[2] = { 0, 0 };
        if (length <= part || strcmp(t->name + length - part, kinds[i].part) != 0 ||
            strcmp(t->dtype->name, kinds[i].dtype) != 0 || t->rank != kinds[i].rank || t->elements < 2)
            continue;
        if (kinds[i].shape == SAYS)
            memcpy(said, t->data, sizeof said);
        out->out = (size_t)(kinds[i].shape == SAYS ? (uint64_t)said[0] : t->shape[0]);
        out->in = (size_t)(kinds[i].shape == SAYS ? (uint64_t)said[1] : t->shape[1] * (kinds[i].shape == HAS ? 1 : 2));
        *out_length = length - part;
        enum { LONGEST = INT32_MAX };
        return out->out > 0 && out->in > 0 && out->out <= LONGEST && out->in <= LONGEST;
    }
    return false;
}

/* [O, G]; of a whole tensor [1]. */
static qd_code read_scales(const packed_layer *p, qd_stored *s, qd_error *err)
{
    const qd_tensor *t = qd_part_find(p->model, p->linear, "weight_scale");
    bool single = t != NULL && p->scheme.strategy == QD_STRATEGY_TENSOR;
    size_t rows = single ? 1 : p->linear->out;
    qd_code code = qd_part_need(p->model, p->linear, "weight_scale", NULL, rows,
                                single && t->rank == 1 ? 0 : s->grid.groups, &t, err);
    if (code == QD_OK)
        code = qd_part_floats(t, s->grid.scale.view.data, err);
    for (size_t o = 1; code == QD_OK && single && o < p->linear->out; o++)
        s->grid.scale.view.data[o] = s->grid.scale.view.data[0];
    return code;
}

/* ---- zero points ---- */

/* As loaders before the packing of zero points had them, and those of 8-bit codes have them still: signed, one by one. */
static void unpack_signed_zeros(const packed_layer *p, const qd_tensor *t, qd_stored *s)
{
    for (size_t i = 0; i < t->elements; i++)
        s->grid.zero.view.data[i] = (float)(((const int8_t *)t->data)[i] + (1 << (p->scheme.bits - 1)));
}

/* Dense, or as versions before 0.18.0 pack 3, 5, 6 and 7 bits: whole codes in a word, high bits unused (formats.md §4.2). */
typedef enum layout { LAYOUT_DENSE, LAYOUT_PADDED } layout;

static size_t words_of(size_t count, unsigned bits, layout how)
{
    size_t each = 32 / bits;
    return how == LAYOUT_DENSE ? qd_pack_words(count, bits) : (count + each - 1) / each;
}

static void unpack(const uint32_t *words, size_t count, unsigned bits, layout how, uint8_t *out)
{
    if (how == LAYOUT_DENSE) {
        qd_unpack_row(words, count, bits, out);
        return;
    }
    size_t each = 32 / bits;
    for (size_t i = 0; i < count; i++)
        out[i] = (uint8_t)(words[i / each] >> (i % each * bits) & ((1u << bits) - 1));
}

/* Padded only if the tensor has as many columns (or, of zeros, rows) as that takes and dense packing does not. */
static layout layout_of(const qd_tensor *t, size_t dimension, size_t count, unsigned bits)
{
    bool padded = t != NULL && t->rank == 2 && t->shape[dimension] != words_of(count, bits, LAYOUT_DENSE) &&
                  t->shape[dimension] == words_of(count, bits, LAYOUT_PADDED);
    return padded ? LAYOUT_PADDED : LAYOUT_DENSE;
}

static qd_code unpack_zeros(const packed_layer *p, qd_stored *s, qd_error *err)
{
    size_t out = p->linear->out, groups = s->grid.groups;
    const qd_tensor *t = qd_part_find(p->model, p->linear, "weight_zero_point");
    layout how = layout_of(t, 0, out, p->scheme.bits);
    size_t words = words_of(out, p->scheme.bits, how);
    QD_AUTO(qd_free_pointer) uint32_t *one = NULL;
    QD_AUTO(qd_free_pointer) uint8_t *column = NULL;
    qd_code code = qd_part_need(p->model, p->linear, "weight_zero_point", "I32", words, groups, &t, err);
    if (code == QD_OK)
        code = qd_alloc(words, sizeof *one, (void **)&one, err);
    if (code == QD_OK)
        code = qd_alloc(out, 1, (void **)&column, err);
    for (size_t g = 0; code == QD_OK && g < groups; g++) {
        for (size_t k = 0; k < words; k++)
            one[k] = qd_part_word(t, k * groups + g);
        unpack(one, out, p->scheme.bits, how, column);
        for (size_t o = 0; o < out; o++)
            s->grid.zero.view.data[o * groups + g] = (float)column[o];
    }
    return code;
}

static qd_code read_zeros(const packed_layer *p, qd_stored *s, qd_error *err)
{
    const qd_tensor *t = qd_part_find(p->model, p->linear, "weight_zero_point");
    if (p->scheme.symmetric && t != NULL)
        return qd_fail(err, QD_EFORMAT, "tensor '%s': the config says symmetric", t->name);
    if (p->scheme.symmetric)
        return QD_OK;
    if (p->scheme.strategy == QD_STRATEGY_TENSOR)
        return qd_fail(err, QD_EUNSUPPORTED, "layer '%s': strategy 'tensor' with zero points is not supported",
                       p->linear->name);
    if (t == NULL || strcmp(t->dtype->name, "I8") != 0)
        return unpack_zeros(p, s, err);
    qd_code code =
        qd_part_need(p->model, p->linear, "weight_zero_point", "I8", p->linear->out, s->grid.groups, &t, err);
    if (code != QD_OK)
        return code;
    unpack_signed_zeros(p, t, s);
    for (size_t i = 0; i < t->elements; i++)
        if (s->grid.zero.view.data[i] < 0 || s->grid.zero.view.data[i] > (float)((1 << p->scheme.bits) - 1))
            return qd_fail(err, QD_EFORMAT, "tensor '%s': zero point %d is not a code of %u bits", t->name,
                           ((const int8_t *)t->data)[i], p->scheme.bits);
    return QD_OK;
}

/* ---- codes ---- */

static qd_code read_packed_codes(const packed_layer *p, qd_stored *s, qd_error *err)
{
    size_t out = p->linear->out, in = p->linear->in;
    const qd_tensor *t = qd_part_find(p->model, p->linear, "weight_packed");
    layout how = layout_of(t, 1, in, p->scheme.bits);
    size_t words = words_of(in, p->scheme.bits, how);
    QD_AUTO(qd_free_pointer) uint32_t *row = NULL;
    qd_code code = check_shape(p, err);
    if (code == QD_OK)
        code = qd_part_need(p->model, p->linear, "weight_packed", "I32", out, words, &t, err);
    if (code == QD_OK)
        code = qd_alloc(words, sizeof *row, (void **)&row, err);
    for (size_t o = 0; code == QD_OK && o < out; o++) {
        memcpy(row, t->data + 4 * o * words, 4 * words); /* the file may hold it at any address */
        unpack(row, in, p->scheme.bits, how, s->codes + o * in);
    }
    return code;
}

static qd_code read_byte_codes(const packed_layer *p, qd_stored *s, qd_error *err)
{
    const qd_tensor *t = NULL;
    qd_code code = qd_part_need(p->model, p->linear, "weight", "I8", p->linear->out, p->linear->in, &t, err);
    for (size_t i = 0; code == QD_OK && i < t->elements; i++)
        s->codes[i] = t->data[i] ^ 0x80;
    return code;
}

static qd_code read_order(const packed_layer *p, qd_stored *s, qd_error *err)
{
    const qd_tensor *t = qd_part_find(p->model, p->linear, "weight_g_idx");
    if (t == NULL && p->scheme.ordered)
        return qd_fail(err, QD_EFORMAT,
                       "tensor '%s.weight_g_idx' is missing: actorder says that columns are out of order",
                       p->linear->name);
    if (t == NULL)
        return QD_OK;
    qd_code code = qd_part_need(p->model, p->linear, "weight_g_idx", "I32", p->linear->in, 0, &t, err);
    return code == QD_OK ? qd_stored_order(s, t, err) : code;
}

static qd_code read_integers(const packed_layer *p, qd_stored *s, qd_error *err)
{
    const qd_packed_scheme *scheme = &p->scheme;
    const qd_grid_spec spec =
        qd_stored_spec(scheme->symmetric ? "int" : "int-asymmetric", scheme->bits, scheme->group_size, "F32");
    qd_code code = qd_stored_init(s, &spec, p->linear, err);
    if (code == QD_OK)
        code = scheme->packing == QD_PACK_INT8 ? read_byte_codes(p, s, err) : read_packed_codes(p, s, err);
    if (code == QD_OK)
        code = read_scales(p, s, err);
    if (code == QD_OK)
        code = read_zeros(p, s, err);
    return code == QD_OK ? read_order(p, s, err) : code;
}

/* ---- layers ---- */

static qd_code read_stored(const packed_layer *p, qd_stored *s, qd_error *err)
{
    size_t in = p->linear->in, size = p->scheme.group_size;
    if (p->linear->weight != NULL)
        return qd_fail(err, QD_EFORMAT,
                       "tensor '%s.weight' stands beside its packed form, or config.json should ignore it",
                       p->linear->name);
    if (size != 0 && in % size != 0)
        return qd_fail(err, QD_EFORMAT, "'%s': groups of %zu do not divide %zu input features", p->linear->name, size,
                       in);
    bool is_float = p->scheme.packing == QD_PACK_MXFP4 || p->scheme.packing == QD_PACK_NVFP4;
    return is_float ? qd_packed_read_fp4(p->model, p->linear, &p->scheme, s, err) : read_integers(p, s, err);
}

/* QD_ENOTFOUND (err untouched): the folder leaves this layer as it was. */
static qd_code open_layer(const qd_model *packed, const qd_linear *linear, packed_layer *out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *config = NULL;
    *out = (packed_layer){ .model = packed, .linear = linear };
    qd_code code = qd_config_json_read(qd_model_borrow_path(packed), &config, err);
    return code == QD_OK ? qd_packed_scheme_of(config, linear->name, &out->scheme, err) : code;
}

qd_code qd_packed_read_weight(const qd_model *packed, const qd_linear *linear, qd_matf w, qd_error *err)
{
    assert(w.rows == linear->out && w.cols == linear->in);
    packed_layer p;
    QD_AUTO(qd_stored_fini) qd_stored stored = { 0 };
    qd_code code = open_layer(packed, linear, &p, err);
    if (code == QD_ENOTFOUND)
        return qd_plain_weight(linear, w, err);
    if (code == QD_OK)
        code = read_stored(&p, &stored, err);
    if (code == QD_OK)
        qd_stored_weights(&stored, w);
    return code;
}

qd_code qd_packed_read_rounded(const qd_model *packed, const qd_linear *linear, qd_grid *grid, uint8_t **out_codes,
                               qd_error *err)
{
    packed_layer p;
    QD_AUTO(qd_stored_fini) qd_stored stored = { 0 };
    qd_code code = open_layer(packed, linear, &p, err);
    if (code == QD_ENOTFOUND)
        return qd_fail(err, QD_EUNSUPPORTED, "layer '%s' is not quantized in this folder", linear->name);
    if (code == QD_OK)
        code = read_stored(&p, &stored, err);
    return code == QD_OK ? qd_stored_take(&stored, linear, grid, out_codes, err) : code;
}

/* Scales of the first layer that has any tell the type. */
static const char *scale_dtype_of(const qd_model *packed)
{
    for (size_t i = 0; i < qd_model_linear_count(packed); i++) {
        const qd_tensor *t = qd_part_find(packed, qd_model_linear_at(packed, i), "weight_scale");
        if (t != NULL)
            return t->dtype->name;
    }
    return "F32";
}

qd_code qd_packed_read_spec(const qd_model *packed, qd_grid_spec *out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *config = NULL;
    qd_packed_scheme s;
    qd_code code = qd_config_json_read(qd_model_borrow_path(packed), &config, err);
    if (code == QD_OK)
        code = qd_packed_scheme_read(config, &s, err);
    if (code != QD_OK)
        return code;
    const char *alphabet = s.packing == QD_PACK_MXFP4   ? "mxfp4"
                           : s.packing == QD_PACK_NVFP4 ? "nvfp4"
                           : s.symmetric                ? "int"
                                                        : "int-asymmetric";
    *out = qd_stored_spec(alphabet, s.bits, s.group_size, scale_dtype_of(packed));
    return out->scale_type == NULL
               ? qd_fail(err, QD_EUNSUPPORTED, "scales of dtype %s are not supported", scale_dtype_of(packed))
               : QD_OK;
}
