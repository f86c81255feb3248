/* grid.c: see grid.h. */
#include "quant/grid.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "quant/scale.h"

enum { ROWS_PER_TASK = 32 };

void qd_grid_fini(qd_grid *grid)
{
    qd_matf_buf_fini(&grid->scale);
    qd_matf_buf_fini(&grid->zero);
    qd_matf_buf_fini(&grid->offset);
    qd_matf_buf_fini(&grid->unit);
    qd_matf_buf_fini(&grid->offset_unit);
    *grid = (qd_grid){ 0 };
}

const qd_levels *qd_grid_spec_levels(const qd_grid_spec *spec)
{
    return spec->alphabet->codes == QD_CODES_INTEGER  ? NULL
           : spec->alphabet->codes == QD_CODES_LEVELS ? spec->alphabet->levels
                                                      : &spec->levels;
}

unsigned qd_grid_code_bits(const qd_grid_spec *spec)
{
    return (unsigned)ceil(spec->bits);
}

void qd_grid_range(const qd_grid_spec *spec, int32_t *out_low, int32_t *out_high)
{
    const qd_levels *levels = qd_grid_spec_levels(spec);
    if (levels != NULL) {
        *out_low = 0;
        *out_high = (int32_t)levels->count - 1;
        return;
    }
    int32_t bits = (int32_t)qd_grid_code_bits(spec);
    int32_t narrow = spec->narrow || spec->bits == QD_BITS_THREE_LEVELS ? 1 : 0;
    assert(bits >= 1 && bits <= 8);
    *out_low = spec->zero == QD_ZERO_NONE ? -(1 << (bits - 1)) + narrow : 0;
    *out_high = spec->zero == QD_ZERO_NONE ? (1 << (bits - 1)) - 1 : (1 << bits) - 1 - narrow;
}

void qd_grid_shape(const qd_grid_spec *spec, size_t cols, qd_grid *out)
{
    const qd_levels *levels = qd_grid_spec_levels(spec);
    *out = (qd_grid){ .zero_kind = spec->zero };
    qd_grid_range(spec, &out->low, &out->high);
    if (levels != NULL)
        out->levels = *levels;
    out->group_size = spec->group_size == 0 ? cols : qd_min_size(spec->group_size, cols);
    out->groups = (cols - 1) / out->group_size + 1;
}

static qd_code check_width(const qd_grid_spec *spec, qd_error *err)
{
    const qd_alphabet *alphabet = spec->alphabet;
    char widths[100] = "";
    size_t used = 0;
    for (const double *b = alphabet->bits; *b > 0; b++) {
        if (*b == spec->bits)
            return QD_OK;
        used += (size_t)snprintf(widths + used, sizeof widths - used, "%s%g", used == 0 ? "" : ", ", *b);
    }
    if (alphabet->bits[1] == 0)
        return qd_fail(err, QD_EINVAL, "bits: %.17g does not go with alphabet '%s', which has %s bits", spec->bits,
                       alphabet->name, widths);
    return qd_fail(err, QD_EINVAL, "bits: %.17g is not in %s", spec->bits, widths);
}

static qd_code check_own_levels(const qd_grid_spec *spec, qd_error *err)
{
    size_t count = spec->levels.count;
    if (count < QD_LEVELS_MIN || count > QD_LEVELS_MAX)
        return qd_fail(err, QD_EINVAL,
                       "alphabet.levels: is missing; alphabet '%s' wants %d to %d numbers, as [-1, 0, 1]",
                       spec->alphabet->name, QD_LEVELS_MIN, QD_LEVELS_MAX);
    if (spec->bits != qd_levels_bits(count))
        return qd_fail(err, QD_EINVAL,
                       "bits: %.17g does not go with alphabet.levels of %zu numbers, which make %u bits", spec->bits,
                       count, qd_levels_bits(count));
    return QD_OK;
}

qd_code qd_grid_spec_check(const qd_grid_spec *spec, qd_error *err)
{
    const qd_alphabet *alphabet = spec->alphabet;
    qd_code code = alphabet->codes == QD_CODES_OWN_LEVELS ? check_own_levels(spec, err) : check_width(spec, err);
    if (code != QD_OK)
        return code;
    if (alphabet->codes != QD_CODES_INTEGER && spec->zero != QD_ZERO_NONE)
        return qd_fail(err, QD_EINVAL, "alphabet.zero: '%s' does not go with alphabet '%s', which has none",
                       qd_zero_kind_name(spec->zero), alphabet->name);
    if (alphabet->group_size != 0 && spec->group_size != alphabet->group_size)
        return qd_fail(err, QD_EINVAL, "group_size: %zu does not go with alphabet '%s', which has groups of %zu",
                       spec->group_size, alphabet->name, alphabet->group_size);
    if (alphabet->scale_type != NULL && strcmp(spec->scale_type->name, alphabet->scale_type) != 0)
        return qd_fail(err, QD_EINVAL, "scale.type: '%s' does not go with alphabet '%s', whose scales are %s",
                       spec->scale_type->name, alphabet->name, alphabet->scale_type);
    if (!(spec->shrink > 0.0 && spec->shrink <= 4.0))
        return qd_fail(err, QD_EINVAL, "scale.shrink: %g is not in (0, 4]", spec->shrink);
    return QD_OK;
}

typedef struct build {
    const qd_grid_spec *spec;
    qd_cmatf w;
    const double *diagonal;
    qd_grid *grid;
} build;

static qd_code build_row(const build *b, size_t row, qd_error *err)
{
    const float *w = qd_cmatf_row(b->w, row);
    for (size_t j = 0; j < b->w.cols; j++)
        if (!isfinite(w[j]))
            return qd_fail(err, QD_ENUMERIC, "weight (%zu, %zu) is not finite", row, j);
    for (size_t g = 0; g < b->grid->groups; g++) {
        size_t start = g * b->grid->group_size, count = qd_min_size(b->grid->group_size, b->w.cols - start);
        float *scale = qd_matf_row(b->grid->scale.view, row) + g, *zero = qd_matf_row(b->grid->zero.view, row) + g;
        b->spec->rule->choose(b->spec, w + start, b->diagonal == NULL ? NULL : b->diagonal + start, count, scale, zero);
        if (!isfinite(*scale) || !isfinite(*zero))
            return qd_fail(err, QD_ENUMERIC, "scale of row %zu, group %zu does not fit %s", row, g,
                           b->spec->scale_type->name);
    }
    return QD_OK;
}

static qd_code build_rows(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const build *b = ctx;
    (void)worker;
    size_t end = qd_min_size((index + 1) * ROWS_PER_TASK, b->w.rows);
    for (size_t row = index * ROWS_PER_TASK; row < end; row++) {
        qd_code code = build_row(b, row, err);
        if (code != QD_OK)
            return code;
    }
    return QD_OK;
}

qd_code qd_grid_build(const qd_grid_spec *spec, qd_cmatf w, const double *diagonal, qd_pool *pool, qd_grid *out,
                      qd_error *err)
{
    qd_code code = qd_grid_spec_check(spec, err);
    if (code != QD_OK)
        return code;
    if (w.rows == 0 || w.cols == 0)
        return qd_fail(err, QD_ESHAPE, "a grid for %zu x %zu weights", w.rows, w.cols);
    QD_AUTO(qd_grid_fini) qd_grid grid = { 0 };
    qd_grid_shape(spec, w.cols, &grid);
    code = qd_matf_buf_init(&grid.scale, w.rows, grid.groups, err);
    if (code == QD_OK)
        code = qd_matf_buf_init(&grid.zero, w.rows, grid.groups, err);
    build b = { spec, w, diagonal, &grid };
    if (code == QD_OK)
        code = qd_pool_for(pool, (w.rows - 1) / ROWS_PER_TASK + 1, build_rows, &b, err);
    if (code != QD_OK)
        return code;
    *out = grid;
    grid = (qd_grid){ 0 };
    return QD_OK;
}

void qd_grid_dequantize(const qd_grid *grid, const uint8_t *codes, qd_matf out)
{
    assert(out.rows == grid->scale.view.rows && (out.cols - 1) / grid->group_size + 1 == grid->groups);
    for (size_t i = 0; i < out.rows; i++) {
        const float *scale = qd_matf_row(grid->scale.view, i), *zero = qd_matf_row(grid->zero.view, i);
        const float *offset = grid->offset.view.rows == 0 ? NULL : qd_matf_row(grid->offset.view, i);
        float *to = qd_matf_row(out, i);
        for (size_t j = 0; j < out.cols; j++) {
            size_t g = j / grid->group_size;
            float level = (float)qd_grid_level(grid, codes[i * out.cols + j]);
            to[j] = offset == NULL ? (level - zero[g]) * scale[g] : level * scale[g] - offset[g];
        }
    }
}

int32_t qd_grid_nearest(const qd_grid *grid, size_t row, size_t column, double value)
{
    size_t g = column / grid->group_size;
    double scale = (double)qd_matf_row(grid->scale.view, row)[g], zero = (double)qd_matf_row(grid->zero.view, row)[g];
    if (grid->levels.count > 0)
        return (int32_t)qd_levels_nearest(&grid->levels, value / scale + zero);
    double code = qd_grid_code(value / scale + zero);
    return code < grid->low ? grid->low : code > grid->high ? grid->high : (int32_t)code;
}
