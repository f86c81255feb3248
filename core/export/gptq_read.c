/* gptq_read.c: GPTQ and AWQ folders, ours or others', back to codes and their grid: see gptq.h. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "export/config_edit.h"
#include "export/gptq.h"
#include "quant/pack.h"

typedef struct packed_layer {
    const qd_model *model;
    const qd_linear *linear;
    qd_gptq_scheme scheme;
} packed_layer;

/* ---- config.json ---- */

/* -1 stands for the whole row, as 0 and null do. */
qd_code qd_gptq_numbers_read(const json_t *quantization, const char *bits_key, const char *group_key,
                             qd_gptq_scheme *out, qd_error *err)
{
    size_t bits = 0;
    const json_t *group = json_object_get(quantization, group_key);
    qd_code code = qd_json_size(quantization, bits_key, 0, &bits, err);
    if (code == QD_OK && !(json_is_integer(group) && json_integer_value(group) == -1))
        code = qd_json_size(quantization, group_key, 0, &out->group_size, err);
    out->bits = bits > 99 ? 99 : (unsigned)bits;
    return code;
}

static qd_code scheme_of(const qd_model *packed, qd_gptq_scheme *out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *config = NULL;
    qd_code code = qd_config_json_read_quantized(qd_model_borrow_path(packed), &config, err);
    if (code == QD_OK)
        code = qd_gptq_scheme_read(config, out, err);
    if (code == QD_ENOTFOUND)
        code = qd_awq_scheme_read(config, out, err);
    return code == QD_ENOTFOUND ? qd_fail(err, QD_EFORMAT, "config.json: neither of method 'gptq' nor 'awq'") : code;
}

/* ---- layers ---- */

static qd_code read_codes(const packed_layer *p, qd_stored *s, qd_error *err)
{
    size_t out = p->linear->out, in = p->linear->in;
    bool along_out = p->scheme.kind == QD_AWQ_GEMM;
    size_t rows = along_out ? in : qd_pack_words(in, p->scheme.bits), cols = along_out ? out / 8 : out;
    size_t lines = along_out ? in : out, length = along_out ? out : in, words = along_out ? cols : rows;
    const qd_tensor *t = NULL;
    QD_AUTO(qd_free_pointer) uint32_t *one = NULL;
    QD_AUTO(qd_free_pointer) uint8_t *line = NULL;
    qd_code code = qd_part_need(p->model, p->linear, "qweight", "I32", rows, cols, &t, err);
    if (code == QD_OK)
        code = qd_alloc(words, sizeof *one, (void **)&one, err);
    if (code == QD_OK)
        code = qd_alloc(length, 1, (void **)&line, err);
    for (size_t n = 0; code == QD_OK && n < lines; n++) {
        for (size_t k = 0; k < words; k++)
            one[k] = qd_part_word(t, along_out ? n * cols + k : k * cols + n);
        qd_gptq_unpack(p->scheme.kind, p->scheme.bits, one, length, line);
        for (size_t i = 0; i < length; i++)
            s->codes[along_out ? i * in + n : n * in + i] = line[i];
    }
    return code;
}

static qd_code read_zeros(const packed_layer *p, qd_stored *s, qd_error *err)
{
    size_t out = p->linear->out, groups = s->grid.groups, words = qd_pack_words(out, p->scheme.bits);
    int more = p->scheme.kind == QD_GPTQ_V1, top = (1 << p->scheme.bits) - 1;
    const qd_tensor *t = NULL;
    QD_AUTO(qd_free_pointer) uint32_t *one = NULL;
    QD_AUTO(qd_free_pointer) uint8_t *line = NULL;
    qd_code code = qd_part_need(p->model, p->linear, "qzeros", "I32", groups, words, &t, err);
    if (code == QD_OK)
        code = qd_alloc(words, sizeof *one, (void **)&one, err);
    if (code == QD_OK)
        code = qd_alloc(out, 1, (void **)&line, err);
    for (size_t g = 0; code == QD_OK && g < groups; g++) {
        for (size_t k = 0; k < words; k++)
            one[k] = qd_part_word(t, g * words + k);
        qd_gptq_unpack(p->scheme.kind, p->scheme.bits, one, out, line);
        for (size_t o = 0; o < out; o++) {
            if (line[o] + more > top)
                return qd_fail(
                    err, QD_EFORMAT,
                    "tensor '%s': the zero point of row %zu, group %zu is %d, beyond 0..%d: loaders disagree "
                    "about it",
                    t->name, o, g, line[o] + more, top);
            qd_matf_row(s->grid.zero.view, o)[g] = (float)(line[o] + more);
        }
    }
    return code;
}

static qd_code read_scales(const packed_layer *p, qd_stored *s, qd_error *err)
{
    const qd_tensor *t = NULL;
    QD_AUTO(qd_free_pointer) float *values = NULL;
    size_t out = p->linear->out, groups = s->grid.groups;
    qd_code code = qd_part_need(p->model, p->linear, "scales", NULL, groups, out, &t, err);
    if (code == QD_OK)
        code = qd_alloc(groups * out, sizeof *values, (void **)&values, err);
    if (code == QD_OK)
        code = qd_part_floats(t, values, err);
    for (size_t o = 0; code == QD_OK && o < out; o++)
        for (size_t g = 0; g < groups; g++)
            qd_matf_row(s->grid.scale.view, o)[g] = values[g * out + o];
    return code;
}

/* Folders without it have groups in order. */
static qd_code read_order(const packed_layer *p, qd_stored *s, qd_error *err)
{
    const qd_tensor *t = qd_part_find(p->model, p->linear, "g_idx");
    if (t == NULL && p->scheme.ordered)
        return qd_fail(err, QD_EFORMAT, "tensor '%s.g_idx' is missing: desc_act says that columns are out of order",
                       p->linear->name);
    if (t == NULL)
        return QD_OK;
    qd_code code = qd_part_need(p->model, p->linear, "g_idx", "I32", p->linear->in, 0, &t, err);
    return code == QD_OK ? qd_stored_order(s, t, err) : code;
}

/* Every zero point 2^(b-1) is none: signed codes. Values are the same. */
static void settle_zero(const packed_layer *p, qd_stored *s)
{
    size_t count = p->linear->out * s->grid.groups;
    float middle = (float)(1 << (p->scheme.bits - 1)), *zero = s->grid.zero.view.data;
    for (size_t i = 0; i < count; i++)
        if (zero[i] != middle)
            return;
    memset(zero, 0, count * sizeof *zero);
    s->grid.zero_kind = QD_ZERO_NONE;
    s->grid.low = -(1 << (p->scheme.bits - 1));
    s->grid.high = -s->grid.low - 1;
}

static qd_code check_sizes(const packed_layer *p, qd_error *err)
{
    unsigned multiple = p->scheme.bits == 3 ? 32 : 32 / p->scheme.bits;
    size_t in = p->linear->in, out = p->linear->out;
    if ((p->scheme.kind != QD_AWQ_GEMM && in % multiple != 0) || out % multiple != 0)
        return qd_fail(err, QD_EFORMAT, "'%s': %zu x %zu codes of %u bits are not packed whole", p->linear->name, out,
                       in, p->scheme.bits);
    if (p->linear->weight != NULL)
        return qd_fail(err, QD_EFORMAT, "tensor '%s.weight' stands beside its packed form", p->linear->name);
    return QD_OK;
}

static qd_code read_stored(const packed_layer *p, qd_stored *s, qd_error *err)
{
    const qd_grid_spec spec = qd_stored_spec("int-asymmetric", p->scheme.bits, p->scheme.group_size, "F16");
    qd_code code = check_sizes(p, err);
    if (code == QD_OK)
        code = qd_stored_init(s, &spec, p->linear, err);
    if (code == QD_OK)
        code = read_codes(p, s, err);
    if (code == QD_OK)
        code = read_zeros(p, s, err);
    if (code == QD_OK)
        code = read_scales(p, s, err);
    if (code == QD_OK)
        code = read_order(p, s, err);
    if (code == QD_OK && (p->scheme.kind == QD_AWQ_GEMM || p->scheme.symmetric))
        settle_zero(p, s);
    return code;
}

/* Others leave layers out, by several members of the config; the tensors tell. */
static bool is_plain(const qd_model *packed, const qd_linear *linear)
{
    return linear->weight != NULL && qd_part_find(packed, linear, "qweight") == NULL;
}

qd_code qd_gptq_read_weight(const qd_model *packed, const qd_linear *linear, qd_matf w, qd_error *err)
{
    assert(w.rows == linear->out && w.cols == linear->in);
    packed_layer p = { .model = packed, .linear = linear };
    QD_AUTO(qd_stored_fini) qd_stored stored = { 0 };
    if (is_plain(packed, linear))
        return qd_plain_weight(linear, w, err);
    qd_code code = scheme_of(packed, &p.scheme, err);
    if (code == QD_OK)
        code = read_stored(&p, &stored, err);
    if (code == QD_OK)
        qd_stored_weights(&stored, w);
    return code;
}

qd_code qd_gptq_read_rounded(const qd_model *packed, const qd_linear *linear, qd_grid *grid, uint8_t **out_codes,
                             qd_error *err)
{
    packed_layer p = { .model = packed, .linear = linear };
    QD_AUTO(qd_stored_fini) qd_stored stored = { 0 };
    if (is_plain(packed, linear))
        return qd_fail(err, QD_EUNSUPPORTED, "layer '%s' is not quantized in this folder", linear->name);
    qd_code code = scheme_of(packed, &p.scheme, err);
    if (code == QD_OK)
        code = read_stored(&p, &stored, err);
    return code == QD_OK ? qd_stored_take(&stored, linear, grid, out_codes, err) : code;
}

qd_code qd_gptq_read_spec(const qd_model *packed, qd_grid_spec *out, qd_error *err)
{
    qd_gptq_scheme s;
    qd_code code = scheme_of(packed, &s, err);
    if (code == QD_OK)
        *out = qd_stored_spec(s.symmetric ? "int" : "int-asymmetric", s.bits, s.group_size, "F16");
    return code;
}
