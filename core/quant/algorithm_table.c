/* algorithm_table.c: the registered algorithms, and the checks around every one of them. */
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "quant/algorithm_rows.h"
#include "quant/guarantee.h"

static const qd_algorithm *const table[] = { &qd_algorithm_rtn, &qd_algorithm_optq, &qd_algorithm_gpfq,
                                             &qd_algorithm_qronos };
static const char *const roundings[] = { "nearest", "stochastic" };

const char *qd_rounding_name(size_t index)
{
    return index < QD_LENGTH(roundings) ? roundings[index] : NULL;
}

int qd_rounding_find(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(roundings); i++)
        if (strcmp(roundings[i], name) == 0)
            return (int)i;
    return -1;
}

double qd_rounding_reach(qd_rounding rounding)
{
    static const double reaches[] = { QD_HALF_STEP, 1.0 };
    return reaches[rounding];
}

double qd_rounding_variance(qd_rounding rounding)
{
    /* nearest: uniform in a step, theory.md C1b; stochastic: f (1 - f) in the mean over fractions f, §6 */
    static const double variances[] = { 1.0 / 3.0, 1.0 / 6.0 };
    return variances[rounding];
}

double qd_rounding_grace(qd_rounding rounding)
{
    static const double graces[] = { QD_HALF_STEP, 1e-9 };
    return graces[rounding];
}

double qd_rounding_dither(uint64_t seed, size_t row, size_t column)
{
    uint64_t bits = qd_rng_bits(qd_rng_key(seed, row, 0), column) >> 24;
    return ((double)bits + 0.5) * 0x1p-40 - 0.5;
}

const qd_algorithm *qd_algorithm_at(size_t index)
{
    return index < QD_LENGTH(table) ? table[index] : NULL;
}

const qd_algorithm *qd_algorithm_find(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (strcmp(table[i]->name, name) == 0 || (table[i]->alias != NULL && strcmp(table[i]->alias, name) == 0))
            return table[i];
    return NULL;
}

static qd_code check_shapes(const qd_algorithm *algorithm, const qd_layer_input *input, qd_error *err)
{
    const qd_grid *grid = input->grid;
    size_t rows = input->w.rows, cols = input->w.cols;
    if (rows == 0 || cols == 0 || rows > UINT32_MAX || cols > UINT32_MAX)
        return qd_fail(err, QD_ESHAPE, "weights of %zu x %zu", rows, cols);
    if (grid->group_size == 0 || (cols - 1) / grid->group_size + 1 != grid->groups)
        return qd_fail(err, QD_ESHAPE, "grid: %zu groups of %zu for %zu columns", grid->groups, grid->group_size, cols);
    if (grid->scale.view.rows != rows || grid->scale.view.cols != grid->groups || grid->zero.view.rows != rows ||
        grid->zero.view.cols != grid->groups)
        return qd_fail(err, QD_ESHAPE, "grid: scales of %zu x %zu, %zu x %zu were wanted", grid->scale.view.rows,
                       grid->scale.view.cols, rows, grid->groups);
    if (grid->high < grid->low || grid->high - grid->low > 255)
        return qd_fail(err, QD_ESHAPE, "grid: codes %d..%d do not fit a byte", grid->low, grid->high);
    if (input->factor != NULL && input->factor->features != cols)
        return qd_fail(err, QD_ESHAPE, "factor: %zu features, %zu were wanted", input->factor->features, cols);
    if (input->factor == NULL && (input->tokens > 0 || algorithm->needs != QD_NEEDS_NOTHING))
        return qd_fail(err, QD_EINVAL, "algorithm '%s' was given no factor for %zu tokens", algorithm->name,
                       input->tokens);
    if (algorithm->needs == QD_NEEDS_MISMATCH && (input->mismatch == NULL || input->mismatch->cross.view.rows != cols))
        return qd_fail(err, QD_EINVAL, "algorithm '%s' was given no moments of two streams for %zu features",
                       algorithm->name, cols);
    if (input->mismatch != NULL && input->mismatch->residual.outputs != 0 && input->mismatch->residual.outputs != rows)
        return qd_fail(err, QD_ESHAPE, "moments of a residual of %zu features for a layer of %zu outputs",
                       input->mismatch->residual.outputs, rows);
    return QD_OK;
}

static qd_code check_values(const qd_layer_input *input, qd_error *err)
{
    for (size_t i = 0; i < input->w.rows; i++) {
        for (size_t j = 0; j < input->w.cols; j++)
            if (!isfinite(qd_cmatf_row(input->w, i)[j]))
                return qd_fail(err, QD_ENUMERIC, "weight (%zu, %zu) is not finite", i, j);
        for (size_t g = 0; g < input->grid->groups; g++) {
            float scale = qd_matf_row(input->grid->scale.view, i)[g], zero = qd_matf_row(input->grid->zero.view, i)[g];
            if (!(scale > 0.0f && isfinite(scale)))
                return qd_fail(err, QD_ENUMERIC, "scale (%zu, %zu) is %g, not positive and finite", i, g,
                               (double)scale);
            if (!isfinite(zero))
                return qd_fail(err, QD_ENUMERIC, "zero (%zu, %zu) is not finite", i, g);
        }
    }
    return QD_OK;
}

qd_code qd_layer_guarantee(const qd_algorithm *algorithm, const qd_layer_input *input, const qd_scale_type *type,
                           qd_grid *grid, qd_growth *out, qd_error *err)
{
    assert(input->grid == grid);
    if (input->rounding != QD_ROUND_STOCHASTIC)
        return qd_fail(err, QD_EINVAL, "no guarantee for rounding '%s'", qd_rounding_name(input->rounding));
    if (grid->levels.count > 0)
        return qd_fail(err, QD_EINVAL, "no guarantee for an alphabet of unequal steps");
    if (!qd_scale_type_raises(type))
        return qd_fail(err, QD_EINVAL, "no guarantee for scale type '%s', whose scales are not each its own",
                       type->name);
    qd_code code = check_shapes(algorithm, input, err);
    if (code == QD_OK)
        code = check_values(input, err);
    return code == QD_OK ? algorithm->raise(input, type, grid, out, err) : code;
}

qd_code qd_layer_round(const qd_algorithm *algorithm, const qd_layer_input *input, uint8_t *out_codes,
                       qd_certificate *out, qd_error *err)
{
    qd_certificate certificate;
    qd_code code = check_shapes(algorithm, input, err);
    if (code == QD_OK)
        code = check_values(input, err);
    if (code == QD_OK)
        code = algorithm->round(input, out_codes, &certificate, err);
    if (code != QD_OK)
        return code;
    int span = input->grid->high - input->grid->low;
    for (size_t i = 0; i < input->w.rows * input->w.cols; i++)
        if (out_codes[i] > span)
            return qd_fail(err, QD_EINTERNAL, "algorithm '%s': code %d of 0..%d at %zu", algorithm->name, out_codes[i],
                           span, i);
    if (!isfinite(certificate.energy_sq) || !isfinite(certificate.overload_bound_sq) ||
        !isfinite(certificate.output_sq)) /* values too large for the arithmetic, not a broken bound */
        return qd_fail(err, QD_ENUMERIC, "algorithm '%s': error %g (bound %g) of output %g is not finite",
                       algorithm->name, certificate.energy_sq, certificate.overload_bound_sq, certificate.output_sq);
    if (certificate.status == QD_VIOLATED)
        return qd_fail(err, QD_EINTERNAL, "algorithm '%s': energy %g is over its bound %g", algorithm->name,
                       certificate.energy_sq, certificate.overload_bound_sq);
    *out = certificate;
    return QD_OK;
}
