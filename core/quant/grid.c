/* grid.c: see grid.h. */
#include "quant/grid.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "quant/container.h"
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

const qd_matf_buf *qd_grid_part(const qd_grid *grid, size_t index, const char **out_name)
{
    static const char *const names[] = { "scale", "zero", "offset", "unit", "offset_unit" };
    const qd_matf_buf *const parts[] = { &grid->scale, &grid->zero, &grid->offset, &grid->unit, &grid->offset_unit };
    if (index >= QD_LENGTH(parts))
        return NULL;
    *out_name = names[index];
    return parts[index];
}

qd_code qd_grid_copy(const qd_grid *from, qd_grid *out, qd_error *err)
{
    QD_AUTO(qd_grid_fini) qd_grid grid = *from;
    qd_matf_buf *const to[] = { &grid.scale, &grid.zero, &grid.offset, &grid.unit, &grid.offset_unit };
    const char *name;
    qd_code code = QD_OK;
    for (size_t i = 0; i < QD_LENGTH(to); i++)
        *to[i] = (qd_matf_buf){ 0 };
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(to); i++) {
        qd_cmatf part = qd_matf_const(qd_grid_part(from, i, &name)->view);
        if (part.rows > 0)
            code = qd_matf_buf_init(to[i], part.rows, part.cols, err);
        for (size_t row = 0; code == QD_OK && row < part.rows; row++)
            memcpy(qd_matf_row(to[i]->view, row), qd_cmatf_row(part, row), part.cols * sizeof(float));
    }
    if (code != QD_OK)
        return code;
    *out = grid;
    grid = (qd_grid){ 0 };
    return QD_OK;
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

typedef struct build {
    const qd_grid_spec *spec;
    qd_cmatf w;
    const double *diagonal;
    qd_grid *grid;
} build;

/* In units of the layer, where the type has one: the rule then sees the type's own values. A power of two changes no digit. */
static void choose_group(const build *b, size_t row, size_t g, float *scaled)
{
    size_t start = g * b->grid->group_size, count = qd_min_size(b->grid->group_size, b->w.cols - start);
    const float *w = qd_cmatf_row(b->w, row) + start;
    float *scale = qd_matf_row(b->grid->scale.view, row) + g, *zero = qd_matf_row(b->grid->zero.view, row) + g;
    float unit = b->spec->scale_type->layer_unit ? qd_matf_row(b->grid->unit.view, row)[0] : 1.0f;
    if (b->spec->scale_type->layer_unit) {
        for (size_t i = 0; i < count; i++)
            scaled[i] = w[i] / unit;
        w = scaled;
    }
    b->spec->rule->choose(b->spec, w, b->diagonal == NULL ? NULL : b->diagonal + start, count, scale, zero);
    *scale *= unit;
}

static qd_code build_row(const build *b, size_t row, float *scratch, qd_error *err)
{
    const float *w = qd_cmatf_row(b->w, row);
    for (size_t j = 0; j < b->w.cols; j++)
        if (!isfinite(w[j]))
            return qd_fail(err, QD_ENUMERIC, "weight (%zu, %zu) is not finite", row, j);
    if (qd_scale_type_searches(b->spec->scale_type))
        qd_container_row(b->spec, b->w, b->diagonal, row, scratch, b->grid);
    else
        for (size_t g = 0; g < b->grid->groups; g++)
            choose_group(b, row, g, scratch);
    for (size_t g = 0; g < b->grid->groups; g++)
        if (!isfinite(qd_matf_row(b->grid->scale.view, row)[g]) || !isfinite(qd_matf_row(b->grid->zero.view, row)[g]))
            return qd_fail(err, QD_ENUMERIC, "scale of row %zu, group %zu does not fit %s", row, g,
                           b->spec->scale_type->name);
    return QD_OK;
}

static qd_code build_rows(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const build *b = ctx;
    (void)worker;
    size_t end = qd_min_size((index + 1) * ROWS_PER_TASK, b->w.rows);
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf scratch = { 0 };
    qd_code code = qd_matf_buf_init(&scratch, 1, b->grid->group_size, err);
    for (size_t row = index * ROWS_PER_TASK; code == QD_OK && row < end; row++)
        code = build_row(b, row, scratch.view.data, err);
    return code;
}

qd_code qd_grid_allocate(const qd_scale_type *type, size_t rows, qd_grid *grid, qd_error *err)
{
    qd_code code = qd_matf_buf_init(&grid->scale, rows, grid->groups, err);
    if (code == QD_OK)
        code = qd_matf_buf_init(&grid->zero, rows, grid->groups, err);
    return code == QD_OK ? qd_container_allocate(type, rows, grid, err) : code;
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
    code = qd_grid_allocate(spec->scale_type, w.rows, &grid, err);
    if (code == QD_OK && spec->scale_type->layer_unit) {
        float unit = qd_container_layer_unit(spec, w);
        for (size_t row = 0; row < w.rows; row++)
            qd_matf_row(grid.unit.view, row)[0] = unit;
    }
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
