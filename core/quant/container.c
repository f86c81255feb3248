/* container.c: see container.h. */
#include "quant/container.h"

#include <math.h>

#include "base/mem.h"
#include "quant/container_rows.h"
#include "quant/scale.h"
#include "quant/scale_rules.h"

/* ---- what is stored ---- */

static float at(const qd_matf_buf *buf, size_t row, size_t column)
{
    return qd_matf_row(buf->view, row)[column];
}

static size_t block_of(const qd_scale_type *type, size_t group)
{
    return type->per_block == 0 ? 0 : group / type->per_block;
}

static bool has_units(const qd_scale_type *type)
{
    return type->per_block > 0 || type->layer_unit;
}

qd_code qd_container_allocate(const qd_scale_type *type, size_t rows, qd_grid *grid, qd_error *err)
{
    size_t blocks = block_of(type, grid->groups - 1) + 1;
    qd_code code = type->offset ? qd_matf_buf_init(&grid->offset, rows, grid->groups, err) : QD_OK;
    if (code == QD_OK && has_units(type))
        code = qd_matf_buf_init(&grid->unit, rows, blocks, err);
    if (code == QD_OK && type->offset_high > 0)
        code = qd_matf_buf_init(&grid->offset_unit, rows, blocks, err);
    return code;
}

static float at_least(float value, float smallest)
{
    return value < smallest ? smallest : value; /* of no number: itself */
}

float qd_container_scale(const qd_scale_type *type, const qd_grid *grid, size_t row, size_t group, double scale)
{
    if (!has_units(type) || grid->unit.view.rows == 0)
        return at_least(type->round((float)scale), type->smallest);
    float unit = at(&grid->unit, row, block_of(type, group));
    if (type->layer_unit)
        return at_least(type->round((float)(scale / (double)unit)), type->smallest) * unit;
    double k = fmin(fmax(rint(scale / (double)unit), 1.0), type->scale_high);
    return (float)k * unit;
}

static float zero_of(double offset, float scale)
{
    return (float)(offset / (double)scale);
}

float qd_container_zero(const qd_scale_type *type, const qd_grid *grid, size_t row, size_t group, float scale,
                        double zero, float *out_offset)
{
    *out_offset = 0.0f;
    if (type->offset && grid->offset.view.rows > 0) {
        double offset = zero * (double)scale;
        if (type->offset_high > 0) {
            double unit = (double)at(&grid->offset_unit, row, block_of(type, group));
            offset = unit * fmin(fmax(rint(offset / unit), 0.0), type->offset_high);
        } else
            offset = (double)type->round((float)offset);
        *out_offset = (float)offset;
        return zero_of(offset, scale);
    }
    if (grid->zero_kind != QD_ZERO_INTEGER)
        return grid->zero_kind == QD_ZERO_NONE ? 0.0f : (float)zero;
    if (!type->mirrored)
        return (float)fmin(fmax(rint(zero), grid->low), grid->high);
    double middle = (grid->high + 1) / 2;
    return (float)(zero < middle - 0.5 ? middle - 1.0 : middle);
}

/* ---- are they? ---- */

static qd_code complain(const char *what, size_t row, size_t group, float value, const qd_scale_type *type,
                        qd_error *err)
{
    return qd_fail(err, QD_EINVAL, "%s (%zu, %zu) is %.9g, which scale type '%s' does not store", what, row, group,
                   (double)value, type->name);
}

static bool is_half(float value)
{
    return value > 0.0f && (double)value == qd_fit_half((double)value);
}

static bool is_of(const qd_matf_buf *part, size_t rows, size_t cols)
{
    return part->view.rows == rows && part->view.cols == cols;
}

bool qd_container_keeps(const qd_scale_type *type, const qd_grid *grid)
{
    size_t rows = grid->scale.view.rows, blocks = block_of(type, grid->groups - 1) + 1;
    return (!type->offset || is_of(&grid->offset, rows, grid->groups)) &&
           (!has_units(type) || is_of(&grid->unit, rows, blocks)) &&
           (type->offset_high == 0 || is_of(&grid->offset_unit, rows, blocks));
}

static qd_code check_units(const qd_scale_type *type, const qd_grid *grid, qd_error *err)
{
    size_t rows = grid->scale.view.rows, blocks = block_of(type, grid->groups - 1) + 1;
    if (!qd_container_keeps(type, grid))
        return qd_fail(err, QD_EINVAL, "offsets or units that scale type '%s' has are missing", type->name);
    for (size_t row = 0; row < rows && has_units(type); row++)
        for (size_t b = 0; b < blocks; b++) {
            float unit = at(&grid->unit, row, b);
            int exponent;
            if (type->layer_unit &&
                (!(unit > 0.0f) || frexpf(unit, &exponent) != 0.5f || unit != at(&grid->unit, 0, 0)))
                return complain("unit", row, b, unit, type, err);
            if (type->per_block > 0 && !is_half(unit))
                return complain("unit", row, b, unit, type, err);
            if (type->offset_high > 0 && !is_half(at(&grid->offset_unit, row, b)))
                return complain("offset unit", row, b, at(&grid->offset_unit, row, b), type, err);
        }
    return QD_OK;
}

static qd_code check_group(const qd_scale_type *type, const qd_grid *grid, size_t row, size_t group, qd_error *err)
{
    float scale = at(&grid->scale, row, group), zero = at(&grid->zero, row, group), offset = 0.0f, nearest;
    if (!(scale > 0.0f) || !isfinite(scale) || scale != qd_container_scale(type, grid, row, group, (double)scale))
        return complain("scale", row, group, scale, type, err);
    nearest = qd_container_zero(type, grid, row, group, scale, (double)zero, &offset);
    if (!type->offset)
        return zero == nearest ? QD_OK : complain("zero", row, group, zero, type, err);
    float stored = at(&grid->offset, row, group);
    qd_container_zero(type, grid, row, group, scale, (double)stored / (double)scale, &offset);
    if (stored != offset || !isfinite(stored))
        return complain("offset", row, group, stored, type, err);
    return zero == zero_of((double)stored, scale) ? QD_OK : complain("zero", row, group, zero, type, err);
}

qd_code qd_container_check(const qd_scale_type *type, const qd_grid *grid, qd_error *err)
{
    qd_code code = check_units(type, grid, err);
    for (size_t row = 0; code == QD_OK && row < grid->scale.view.rows; row++)
        for (size_t group = 0; code == QD_OK && group < grid->groups; group++)
            code = check_group(type, grid, row, group, err);
    return code;
}

/* ---- a row ---- */

/* The rule's choice, beside which levels of either sign are the same. */
static qd_fit begin(const qd_grid_spec *spec, const float *weights, const double *importance, size_t count)
{
    float scale, zero;
    spec->rule->choose(spec, weights, importance, count, &scale, &zero);
    return (qd_fit){ .sign = 1.0, .scale = (double)scale, .offset = (double)zero * (double)scale };
}

/* A signed scale's levels are those of signed codes, of the weights or of their opposites. */
static void begin_signed(const qd_grid_spec *spec, qd_fit_group *group, float *reversed)
{
    qd_grid_spec bare = *spec;
    bare.zero = QD_ZERO_NONE;
    qd_fit_sums sums;
    group->start = begin(&bare, group->weights, group->importance, group->count);
    qd_fit_measure(group, &group->start, &sums);
    if (!group->mirrored)
        return;
    for (size_t i = 0; i < group->count; i++)
        reversed[i] = -group->weights[i];
    qd_fit other = begin(&bare, reversed, group->importance, group->count);
    other.sign = -1.0;
    qd_fit_measure(group, &other, &sums);
    if (other.loss < group->start.loss)
        group->start = other;
}

static void begin_group(const qd_grid_spec *spec, const float *weights, const double *importance, size_t count,
                        float *reversed, qd_fit_group *out)
{
    bool offset = spec->scale_type->offset;
    int32_t low, high;
    qd_grid_spec bare = *spec;
    bare.zero = offset ? spec->zero : QD_ZERO_NONE;
    qd_grid_range(&bare, &low, &high);
    *out = (qd_fit_group){ .weights = weights,
                           .importance = spec->rule->candidate == NULL ? NULL : importance,
                           .count = count,
                           .low = low,
                           .high = high,
                           .mirrored = spec->zero == QD_ZERO_INTEGER,
                           .has_offset = offset,
                           .lowest_offset = !offset || spec->scale_type->offset_high > 0 ? 0.0 : -INFINITY };
    if (!offset) {
        begin_signed(spec, out, reversed);
        return;
    }
    qd_fit_sums sums;
    out->start = begin(spec, weights, importance, count);
    if (spec->scale_type->offset_high == 0) /* as it is stored */
        out->start.offset = (double)spec->scale_type->round((float)out->start.offset);
    qd_fit_measure(out, &out->start, &sums);
}

static void put(const qd_grid_spec *spec, const qd_fit *fit, size_t row, size_t group, qd_grid *grid)
{
    float scale = (float)fit->scale;
    qd_matf_row(grid->scale.view, row)[group] = scale;
    float zero = 0.0f;
    if (spec->scale_type->offset) {
        qd_matf_row(grid->offset.view, row)[group] = (float)fit->offset;
        zero = zero_of(fit->offset, scale);
    } else if (spec->zero == QD_ZERO_INTEGER)
        zero = (float)((grid->high + 1) / 2 - (fit->sign < 0.0 ? 1 : 0));
    qd_matf_row(grid->zero.view, row)[group] = zero;
}

static void fit_block(const qd_grid_spec *spec, const qd_fit_group *groups, size_t count, size_t row, size_t first,
                      qd_grid *grid)
{
    if (spec->scale_type->per_block == 0) {
        qd_fit fit;
        qd_fit_store_half(groups, &fit);
        put(spec, &fit, row, first, grid);
        return;
    }
    qd_fit_block plan;
    size_t block = block_of(spec->scale_type, first);
    qd_fit_units(spec->scale_type, groups, count, &plan);
    for (size_t g = 0; g < count; g++)
        put(spec, &plan.at[g].fit, row, first + g, grid);
    qd_matf_row(grid->unit.view, row)[block] = (float)plan.unit;
    if (spec->scale_type->offset_high > 0)
        qd_matf_row(grid->offset_unit.view, row)[block] = (float)plan.offset_unit;
}

void qd_container_row(const qd_grid_spec *spec, qd_cmatf w, const double *importance, size_t row, float *reversed,
                      qd_grid *grid)
{
    qd_fit_group groups[QD_CONTAINER_BLOCK];
    size_t together = qd_max_size(spec->scale_type->per_block, 1);
    for (size_t first = 0; first < grid->groups; first += together) {
        size_t count = qd_min_size(together, grid->groups - first);
        for (size_t g = 0; g < count; g++) {
            size_t start = (first + g) * grid->group_size, size = qd_min_size(grid->group_size, w.cols - start);
            begin_group(spec, qd_cmatf_row(w, row) + start, importance == NULL ? NULL : importance + start, size,
                        reversed, &groups[g]);
            qd_fit_search(&groups[g]);
        }
        fit_block(spec, groups, count, row, first, grid);
    }
}

float qd_container_layer_unit(const qd_grid_spec *spec, qd_cmatf w)
{
    size_t size = spec->group_size == 0 ? w.cols : spec->group_size;
    double most = 0.0, top = qd_grid_spec_levels(spec)->top;
    for (size_t row = 0; row < w.rows; row++)
        for (size_t start = 0; start < w.cols; start += size) {
            qd_group_stat stat =
                qd_group_measure(spec, qd_cmatf_row(w, row) + start, qd_min_size(size, w.cols - start));
            most = fmax(most, stat.range / top);
        }
    int exponent; /* 448 = 0.875 * 2^9 */
    double part = frexp(most, &exponent);
    return ldexpf(1.0f, part <= 0.875 ? exponent - 9 : exponent - 8);
}
