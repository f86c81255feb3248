/* ggml_decode.c: see ggml_encode.h: the way back from blocks, to the grid the type has where a job names none. */
#include <string.h>

#include "base/mem.h"
#include "export/ggml_encode.h"

void qd_ggml_encoder_grid(const qd_ggml_encoder *encoder, qd_grid_spec *spec)
{
    const qd_ggml_grid *grid = &encoder->grid;
    spec->alphabet = qd_alphabet_find(grid->alphabet);
    spec->scale_type = qd_scale_type_find(grid->scale_type);
    assert(spec->alphabet != NULL && spec->scale_type != NULL);
    spec->zero = grid->zero;
    spec->narrow = false;
    spec->bits = grid->bits;
    spec->group_size = grid->group_size;
}

qd_code qd_ggml_grid_init(const qd_ggml_encoder *encoder, size_t rows, size_t cols, qd_grid *out, qd_error *err)
{
    QD_AUTO(qd_grid_fini) qd_grid grid = { 0 };
    const qd_grid_spec spec = { .alphabet = qd_alphabet_find(encoder->grid.alphabet),
                                .zero = encoder->grid.zero,
                                .bits = encoder->grid.bits,
                                .group_size = encoder->grid.group_size };
    qd_grid_shape(&spec, cols, &grid);
    size_t blocks = cols / encoder->layout->block;
    struct {
        qd_matf_buf *buf;
        size_t cols;
    } const wanted[] = {
        { &grid.scale, grid.groups },
        { &grid.zero, grid.groups },
        { &grid.offset, encoder->kind == QD_GGML_OFFSET ? grid.groups : 0 },
        { &grid.unit, encoder->units                    ? blocks
                      : qd_ggml_has_layer_unit(encoder) ? 1
                                                        : 0 },
        { &grid.offset_unit, encoder->units && encoder->kind == QD_GGML_OFFSET ? blocks : 0 },
    };
    for (size_t i = 0; i < QD_LENGTH(wanted); i++) {
        qd_code code = wanted[i].cols == 0 ? QD_OK : qd_matf_buf_init(wanted[i].buf, rows, wanted[i].cols, err);
        if (code != QD_OK)
            return code;
    }
    *out = grid;
    grid = (qd_grid){ 0 };
    return QD_OK;
}

typedef struct target {
    const qd_ggml_encoder *encoder;
    qd_grid *grid;
    size_t row, at;
    uint8_t *codes; /* of the block */
} target;

/* The smallest scale that a span can have: f16's, or E4M3's times the unit of the layer. It stands for a stored 0. */
static float smallest_scale(const target *t, const qd_ggml_block *block)
{
    if (t->encoder->units && block->unit != 0)
        return fabsf(block->unit);
    return qd_ggml_has_layer_unit(t->encoder) ? 0x1p-9f * block->unit : 0x1p-24f;
}

static float *cell(const qd_matf_buf *values, const target *t, size_t column)
{
    return &qd_matf_row(values->view, t->row)[column];
}

/* A scale of 0 holds zeros only; a negative one mirrors the codes. */
static qd_code decode_centred(const target *t, size_t span, const qd_ggml_block *block, float *scale, float *zero,
                              qd_error *err)
{
    const qd_ggml_encoder *e = t->encoder;
    size_t length = e->layout->span;
    int middle = t->grid->zero_kind == QD_ZERO_NONE ? 0 : (t->grid->high + 1) / 2;
    int sign = *scale < 0 ? -1 : 1;
    bool longer_below = -e->low > e->high, longer_above = -e->low < e->high; /* of a positive scale */
    *zero = (float)(middle == 0 ? 0 : middle - ((longer_below && sign < 0) || (longer_above && sign > 0)));
    for (size_t i = span * length; i < (span + 1) * length; i++) {
        int multiple = *scale == 0 ? 0 : sign * (block->code[i] + e->low), code = multiple + (int)*zero;
        if (code < t->grid->low || code > t->grid->high)
            return qd_fail(err, QD_EUNSUPPORTED, "weight %zu is %d times its scale, beyond codes %d to %d", t->at + i,
                           multiple, t->grid->low, t->grid->high);
        t->codes[i] = (uint8_t)(code - t->grid->low);
    }
    *scale = fabsf(*scale);
    return QD_OK;
}

/* A scale of 0 holds the offset only. */
static qd_code decode_offset(const target *t, size_t span, const qd_ggml_block *block, float *scale, qd_error *err)
{
    size_t length = t->encoder->layout->span;
    if (*scale < 0)
        return qd_fail(err, QD_EUNSUPPORTED, "scale %.9g of weight %zu is negative", (double)*scale,
                       t->at + span * length);
    for (size_t i = span * length; i < (span + 1) * length; i++)
        t->codes[i] = *scale == 0 ? 0 : block->code[i];
    return QD_OK;
}

/* Levels are not the same with the other sign, and some have no 0. */
static qd_code decode_levels(const target *t, size_t span, const qd_ggml_block *block, const float *scale,
                             qd_error *err)
{
    const qd_ggml_encoder *e = t->encoder;
    size_t length = e->layout->span, count = t->grid->levels.count, zero = t->grid->levels.anchor;
    if (*scale < 0 || (*scale == 0 && t->grid->levels.value[zero] != 0))
        return qd_fail(err, QD_EUNSUPPORTED, "scale %.9g of weight %zu is not positive", (double)*scale,
                       t->at + span * length);
    for (size_t i = span * length; i < (span + 1) * length; i++) {
        size_t code = e->stored == NULL ? block->code[i] : 0;
        /* A stored code that is no level's is the negative zero. */
        while (e->stored != NULL && code < count && e->stored[code] != block->code[i])
            code++;
        t->codes[i] = (uint8_t)(code == count || *scale == 0 ? zero : code);
    }
    return QD_OK;
}

static qd_code decode_span(const target *t, size_t span, const qd_ggml_block *block, qd_error *err)
{
    size_t group = (t->at + span * t->encoder->layout->span) / t->grid->group_size;
    float *scale = cell(&t->grid->scale, t, group), *zero = cell(&t->grid->zero, t, group);
    qd_code code = QD_OK;
    *scale = block->scale[span];
    if (t->encoder->kind == QD_GGML_CENTRED)
        code = decode_centred(t, span, block, scale, zero, err);
    else if (t->encoder->kind == QD_GGML_OFFSET)
        code = decode_offset(t, span, block, scale, err);
    else
        code = decode_levels(t, span, block, scale, err);
    if (code == QD_OK && *scale == 0)
        *scale = smallest_scale(t, block);
    if (code == QD_OK && t->encoder->kind == QD_GGML_OFFSET) {
        *cell(&t->grid->offset, t, group) = block->offset[span];
        *zero = block->offset[span] / *scale;
    }
    return code;
}

static qd_code decode_block(const target *t, const unsigned char *bytes, float unit, qd_error *err)
{
    const qd_ggml_layout *layout = t->encoder->layout;
    qd_ggml_block block = { .unit = unit };
    qd_ggml_unpack(layout, bytes, &block);
    for (size_t span = 0; span < layout->block / layout->span; span++) {
        if (!isfinite(block.scale[span]) || !isfinite(block.offset[span]))
            return qd_fail(err, QD_ENUMERIC, "scale or offset of weight %zu is not finite",
                           t->at + span * layout->span);
        qd_code code = decode_span(t, span, &block, err);
        if (code != QD_OK)
            return code;
    }
    size_t number = t->at / layout->block;
    if (t->encoder->units)
        *cell(&t->grid->unit, t, number) = block.unit == 0 ? 0x1p-24f : fabsf(block.unit);
    else if (qd_ggml_has_layer_unit(t->encoder))
        *cell(&t->grid->unit, t, 0) = unit;
    if (t->encoder->units && t->encoder->kind == QD_GGML_OFFSET)
        *cell(&t->grid->offset_unit, t, number) = block.offset_unit;
    return QD_OK;
}

qd_code qd_ggml_decode_row(const qd_ggml_encoder *encoder, const unsigned char *bytes, float unit, qd_grid *grid,
                           size_t row, uint8_t *codes, size_t cols, qd_error *err)
{
    const qd_ggml_layout *layout = encoder->layout;
    assert(cols % layout->block == 0);
    for (size_t at = 0; at < cols; at += layout->block, bytes += layout->bytes) {
        const target t = { encoder, grid, row, at, codes + at };
        qd_code code = decode_block(&t, bytes, unit, err);
        if (code != QD_OK)
            return qd_within(err, code, "%s, row %zu", encoder->type, row);
    }
    return QD_OK;
}
