/* ggml_encode.c: see ggml_encode.h: the way into blocks. */
#include "export/ggml_encode.h"

#include <string.h>

#include "base/mem.h"

/* One block of a row, on its way. */
typedef struct place {
    const qd_ggml_encoder *encoder;
    const qd_grid *grid;
    size_t row, at;       /* first weight */
    const uint8_t *codes; /* of the block */
} place;

static float value_at(const qd_matf_buf *values, size_t row, size_t column, float otherwise)
{
    return values->view.rows == 0 ? otherwise : qd_matf_row(values->view, row)[column];
}

/* Units of a row are for equally many groups each. */
static size_t unit_of(const place *p, const qd_matf_buf *units, size_t group)
{
    return units->view.rows == 0 ? 0 : group / ((p->grid->groups - 1) / units->view.cols + 1);
}

/* The group of a span; QD_EUNSUPPORTED when it is of several. */
static qd_code group_of(const place *p, size_t span, size_t *out, qd_error *err)
{
    size_t first = p->at + span * p->encoder->layout->span, last = first + p->encoder->layout->span - 1;
    *out = first / p->grid->group_size;
    if (last / p->grid->group_size != *out)
        return qd_fail(err, QD_EUNSUPPORTED, "groups of %zu weights, blocks have a scale for every %zu",
                       p->grid->group_size, p->encoder->layout->span);
    return QD_OK;
}

typedef enum sign { POSITIVE = 1, NEGATIVE = -1 } sign;

static bool in_range(const qd_ggml_encoder *e, int least, int largest, sign s)
{
    return s == POSITIVE ? least >= e->low && largest <= e->high : -largest >= e->low && -least <= e->high;
}

/* The sign by which all codes of the grid fit, if there is one; else by which those of this span do. */
static qd_code choose_sign(const place *p, size_t span, int zero, sign *out, qd_error *err)
{
    const qd_ggml_encoder *e = p->encoder;
    const uint8_t *code = p->codes + span * e->layout->span;
    int least = p->grid->low - zero, largest = p->grid->high - zero;
    if (in_range(e, least, largest, POSITIVE) || in_range(e, least, largest, NEGATIVE)) {
        *out = in_range(e, least, largest, POSITIVE) ? POSITIVE : NEGATIVE;
        return QD_OK;
    }
    least = largest = p->grid->low + code[0] - zero;
    for (size_t i = 1; i < e->layout->span; i++) {
        int multiple = p->grid->low + code[i] - zero;
        least = multiple < least ? multiple : least;
        largest = multiple > largest ? multiple : largest;
    }
    *out = in_range(e, least, largest, POSITIVE) ? POSITIVE : NEGATIVE;
    if (!in_range(e, least, largest, *out))
        return qd_fail(err, QD_EUNSUPPORTED, "codes from %d to %d around the zero; the type holds %d to %d", least,
                       largest, e->low, e->high);
    return QD_OK;
}

static qd_code centre(const place *p, size_t span, size_t group, qd_ggml_block *block, qd_error *err)
{
    const qd_ggml_encoder *e = p->encoder;
    size_t length = e->layout->span;
    float zero = qd_matf_row(p->grid->zero.view, p->row)[group];
    sign s = POSITIVE;
    if (p->grid->levels.count > 0 || p->grid->offset.view.rows > 0 || zero != rintf(zero))
        return qd_fail(err, QD_EUNSUPPORTED, "codes are no integers around a zero that is one");
    qd_code code = choose_sign(p, span, (int)zero, &s, err);
    for (size_t i = span * length; code == QD_OK && i < (span + 1) * length; i++)
        block->code[i] = (uint8_t)(s * (p->grid->low + p->codes[i] - (int)zero) - e->low);
    block->scale[span] *= (float)s;
    return code;
}

/* Without offsets, that of the zero: exact in float32 for zeros of 8 bits and scales of 16. */
static qd_code lift(const place *p, size_t span, size_t group, qd_ggml_block *block, qd_error *err)
{
    const qd_ggml_encoder *e = p->encoder;
    size_t length = e->layout->span;
    int centre_of = (e->high + 1) / 2, lift_by = p->grid->zero_kind == QD_ZERO_NONE ? centre_of : 0;
    float zero = qd_matf_row(p->grid->zero.view, p->row)[group];
    if (p->grid->levels.count > 0)
        return qd_fail(err, QD_EUNSUPPORTED, "codes are no integers");
    if (p->grid->offset.view.rows == 0 && zero != rintf(zero))
        return qd_fail(err, QD_EUNSUPPORTED, "zero %.9g is neither an integer nor stored as an offset", (double)zero);
    block->offset[span] = p->grid->offset.view.rows > 0 ? qd_matf_row(p->grid->offset.view, p->row)[group]
                                                        : block->scale[span] * (zero + (float)lift_by);
    for (size_t i = span * length; i < (span + 1) * length; i++) {
        int code = p->grid->low + p->codes[i] + lift_by;
        if (code < 0 || code > e->high)
            return qd_fail(err, QD_EUNSUPPORTED, "a code is %d; the type holds 0 to %d", code, e->high);
        block->code[i] = (uint8_t)code;
    }
    return QD_OK;
}

static qd_code name_levels(const place *p, size_t span, qd_ggml_block *block, qd_error *err)
{
    const qd_ggml_encoder *e = p->encoder;
    const qd_levels *wanted = qd_alphabet_find(e->grid.alphabet)->levels;
    size_t length = e->layout->span;
    if (p->grid->levels.count != wanted->count ||
        memcmp(p->grid->levels.value, wanted->value, wanted->count * sizeof *wanted->value) != 0)
        return qd_fail(err, QD_EUNSUPPORTED, "levels are not those of alphabet '%s'", e->grid.alphabet);
    for (size_t i = span * length; i < (span + 1) * length; i++)
        block->code[i] = e->stored == NULL ? p->codes[i] : e->stored[p->codes[i]];
    return QD_OK;
}

static qd_code fill_span(const place *p, size_t span, qd_ggml_block *block, qd_error *err)
{
    size_t group = 0;
    qd_code code = group_of(p, span, &group, err);
    if (code != QD_OK)
        return code;
    block->scale[span] = qd_matf_row(p->grid->scale.view, p->row)[group];
    switch (p->encoder->kind) {
    case QD_GGML_CENTRED:
        return centre(p, span, group, block, err);
    case QD_GGML_OFFSET:
        return lift(p, span, group, block, err);
    case QD_GGML_LEVELS:
        return name_levels(p, span, block, err);
    }
    return qd_fail(err, QD_EINTERNAL, "a kind of blocks that does not exist");
}

/* Where the grid has no units, one scale fills the block and is the unit; offsets are then whole zeros of it. */
static void fill_units(const place *p, qd_ggml_block *block)
{
    size_t group = p->at / p->grid->group_size;
    float otherwise = p->encoder->units ? fabsf(block->scale[0]) : 1.0f;
    block->unit = value_at(&p->grid->unit, p->row, unit_of(p, &p->grid->unit, group), otherwise);
    float per_zero = p->grid->zero_kind == QD_ZERO_NONE ? (float)(p->encoder->high + 1) / 2 : 1.0f;
    block->offset_unit =
        value_at(&p->grid->offset_unit, p->row, unit_of(p, &p->grid->offset_unit, group), block->unit * per_zero);
}

static qd_code encode_block(const place *p, unsigned char *out, qd_error *err)
{
    qd_ggml_block block;
    const qd_ggml_layout *layout = p->encoder->layout;
    qd_code code = QD_OK;
    for (size_t span = 0; code == QD_OK && span < layout->block / layout->span; span++)
        code = fill_span(p, span, &block, err);
    if (code == QD_OK) {
        fill_units(p, &block);
        code = qd_ggml_pack(layout, &block, out, err);
    }
    return code == QD_OK
               ? QD_OK
               : qd_within(err, code, "%s cannot hold row %zu from weight %zu on", p->encoder->type, p->row, p->at);
}

qd_code qd_ggml_encode_row(const qd_ggml_encoder *encoder, const qd_grid *grid, size_t row, const uint8_t *codes,
                           size_t cols, unsigned char *out, qd_error *err)
{
    const qd_ggml_layout *layout = encoder->layout;
    assert(cols % layout->block == 0);
    for (size_t at = 0; at < cols; at += layout->block, out += layout->bytes) {
        const place p = { encoder, grid, row, at, codes + at };
        qd_code code = encode_block(&p, out, err);
        if (code != QD_OK)
            return code;
    }
    return QD_OK;
}
