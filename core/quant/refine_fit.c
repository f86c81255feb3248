/* refine_fit.c: scale and zero of each group of a row by least squares in the metric H_lambda, with the codes fixed.
 * Source: algorithms.md §13.4. With levels l, q = s (l - z). Another scale s + x and zero z + y / (s + x) change q by x (l - z) - y u, u = 1 on the
 * group, so the energy changes by
 *   -2 x alpha + 2 y beta + x^2 A - 2 x y B + y^2 U,    alpha = (error H_lambda)(l - z)^T, beta the same with u,
 *   A = (l - z) H_lambda (l - z)^T, B = (l - z) H_lambda u^T, U = u H_lambda u^T.
 * Groups take turns (block coordinate descent): one product (l - z) H_lambda a row and round serves all of them, where solving for all groups at
 * once would want a G x G system a row, and one group's exact minimum is the same either way. What a stored scale and zero make of the
 * minimum is judged by the same formula, and kept only if the energy falls. Units of a container's grid stay: their multiples are fitted. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "linalg/gemm.h"
#include "quant/container.h"
#include "quant/refine_rows.h"

/* A float zero further out than this is not taken: scale_minmax.c. */
#define FARTHEST_ZERO 0x1p20
/* Determinants below this share of A U: the group has one level only, and its zero does the work of its scale. */
#define SINGULAR 1e-12

/* Of one group: which steps, and products of some rows' levels with H_lambda. */
typedef struct fit {
    const qd_refine_rows *rows;
    qd_refine_some *some;
    size_t group, size;
    const size_t *step; /* size of them */
    qd_matd product;    /* (l - z) H_lambda, a row for each of `some`; and u H_lambda */
} fit;

static const double *ones_of(const fit *f)
{
    return qd_matd_row(f->product, f->some->count);
}

/* Quadratic model of one row's group. */
typedef struct model {
    size_t row; /* of the grid */
    double s, z, alpha, beta, a, b, u;
} model;

typedef struct choice {
    double gain; /* the energy falls by that; 0 = none is better */
    float scale, zero, offset;
} choice;

static double rise(const model *m, double x, double y)
{
    return -2.0 * x * m->alpha + 2.0 * y * m->beta + x * x * m->a - 2.0 * x * y * m->b + y * y * m->u;
}

static float stored(const fit *f, const model *m, double scale)
{
    const qd_scale_type *type = f->rows->input->refine.scale_type;
    return type == NULL ? (float)scale : qd_container_scale(type, f->rows->grid, m->row, f->group, scale);
}

/* With the zero as it is stored beside the scale. */
static void consider(const fit *f, const model *m, float scale, double zero, choice *best)
{
    const qd_scale_type *type = f->rows->input->refine.scale_type;
    choice found = { .scale = scale, .zero = (float)zero };
    if (!(scale > 0.0f) || !isfinite(scale) || !(fabs(zero) <= FARTHEST_ZERO))
        return;
    if (type != NULL)
        found.zero = qd_container_zero(type, f->rows->grid, m->row, f->group, scale, zero, &found.offset);
    double x = (double)scale - m->s, y = (double)scale * ((double)found.zero - m->z);
    found.gain = -rise(m, x, y);
    if (found.gain > best->gain && isfinite(found.zero))
        *best = found;
}

/* An integer zero is a code: every one that is stored is tried, each with its best scale (y = (s + x) zeta). */
static void choose_integer(const fit *f, const model *m, choice *best)
{
    const qd_grid *grid = f->rows->grid;
    const qd_scale_type *type = f->rows->input->refine.scale_type;
    int32_t middle = (grid->high + 1) / 2;
    bool mirrored = type != NULL && type->mirrored;
    for (int32_t z = mirrored ? middle - 1 : grid->low; z <= (mirrored ? middle : grid->high); z++) {
        double zeta = z - m->z, curve = m->a - 2.0 * m->b * zeta + m->u * zeta * zeta;
        if (curve > 0.0)
            consider(
                f, m,
                stored(f, m,
                       m->s + (m->alpha - zeta * m->beta + m->b * zeta * m->s - m->u * zeta * zeta * m->s) / curve),
                z, best);
    }
}

/* Beside a stored scale, the zero of least energy. */
static void choose_beside(const fit *f, const model *m, float scale, choice *best)
{
    double y = (((double)scale - m->s) * m->b - m->beta) / m->u;
    if (scale > 0.0f)
        consider(f, m, scale, m->z + y / (double)scale, best);
}

/* Of multiples, those around the best number, too: their zeros are as coarse, and do not always suit it. */
static void choose_float(const fit *f, const model *m, choice *best)
{
    const qd_scale_type *type = f->rows->input->refine.scale_type;
    double determinant = m->a * m->u - m->b * m->b, x = 0.0;
    if (!(m->u > 0.0))
        return;
    if (determinant > SINGULAR * m->a * m->u)
        x = (m->alpha * m->u - m->b * m->beta) / determinant;
    choose_beside(f, m, stored(f, m, m->s + x), best);
    if (type == NULL || type->per_block == 0)
        return;
    double unit = (double)qd_matf_row(f->rows->grid->unit.view, m->row)[f->group / type->per_block];
    choose_beside(f, m, stored(f, m, m->s + x - unit), best);
    choose_beside(f, m, stored(f, m, m->s + x + unit), best);
}

static choice choose(const fit *f, const model *m)
{
    choice best = { .gain = 0.0 };
    if (f->rows->grid->zero_kind == QD_ZERO_INTEGER)
        choose_integer(f, m, &best);
    else if (f->rows->grid->zero_kind == QD_ZERO_FLOAT)
        choose_float(f, m, &best);
    if (f->rows->grid->zero_kind != QD_ZERO_INTEGER && m->a > 0.0)
        consider(f, m, stored(f, m, m->s + m->alpha / m->a), m->z, &best);
    return best;
}

static double centred(const fit *f, size_t row, size_t step, double zero)
{
    return qd_grid_level(f->rows->grid, f->rows->codes[row * f->rows->steps->count + step]) - zero;
}

static model model_of(const fit *f, size_t k)
{
    const qd_grid *grid = f->rows->grid;
    const double *ones = ones_of(f);
    size_t row = f->some->row[k];
    model m = { .row = f->rows->start + row,
                .s = (double)qd_matf_row(grid->scale.view, f->rows->start + row)[f->group],
                .z = (double)qd_matf_row(grid->zero.view, f->rows->start + row)[f->group] };
    for (size_t i = 0; i < f->size; i++) {
        size_t t = f->step[i];
        double level = centred(f, row, t, m.z), gradient = qd_matd_row(f->rows->gradient, row)[t],
               product = qd_matd_row(f->product, k)[t];
        m.alpha += gradient * level;
        m.beta += gradient;
        m.a += product * level;
        m.b += product;
        m.u += ones[t];
    }
    return m;
}

static void apply(const fit *f, size_t k, const model *m, const choice *best)
{
    const qd_refine_rows *rows = f->rows;
    size_t row = f->some->row[k];
    double x = (double)best->scale - m->s, y = (double)best->scale * ((double)best->zero - m->z);
    for (size_t i = 0; i < f->size; i++)
        qd_matd_row(rows->error, row)[f->step[i]] -= x * centred(f, row, f->step[i], m->z) - y;
    qd_axpy_f64(-x, qd_matd_row(f->product, k), qd_matd_row(rows->gradient, row), rows->steps->count);
    qd_axpy_f64(y, ones_of(f), qd_matd_row(rows->gradient, row), rows->steps->count);
    qd_matf_row(rows->grid->scale.view, rows->start + row)[f->group] = best->scale;
    qd_matf_row(rows->grid->zero.view, rows->start + row)[f->group] = best->zero;
    if (rows->grid->offset.view.rows > 0)
        qd_matf_row(rows->grid->offset.view, rows->start + row)[f->group] = best->offset;
}

/* Levels of a step: of each row, and 1. */
static void load_levels(const fit *f, size_t t, size_t stride, double *levels)
{
    for (size_t k = 0; k < f->some->count; k++)
        levels[k * stride] =
            centred(f, f->some->row[k], t,
                    (double)qd_matf_row(f->rows->grid->zero.view, f->rows->start + f->some->row[k])[f->group]);
    levels[f->some->count * stride] = 1.0;
}

/* product += levels of some of the group's steps times their rows of H_lambda, which are copied to be side by side. */
static void multiply_part(const fit *f, size_t from, size_t count, double *copied, double *levels)
{
    const qd_refine_rows *rows = f->rows;
    size_t features = rows->steps->count;
    for (size_t i = 0; i < count; i++) {
        size_t t = f->step[from + i];
        memcpy(copied + i * features, qd_matd_row(rows->input->factor->hessian.view, t), features * sizeof *copied);
        copied[i * features + t] += rows->steps->damping;
        load_levels(f, t, count, levels + i);
    }
    qd_gemm_f64(QD_PLAIN, QD_PLAIN, 1.0, (qd_cmatd){ f->product.rows, count, count, levels },
                (qd_cmatd){ count, features, features, copied }, from == 0 ? 0.0 : 1.0, f->product);
}

static void fit_group(const fit *f, double *copied, double *levels)
{
    for (size_t from = 0; from < f->size; from += QD_REFINE_BLOCK)
        multiply_part(f, from, qd_min_size(f->size - from, QD_REFINE_BLOCK), copied, levels);
    for (size_t k = 0; k < f->some->count; k++) {
        model m = model_of(f, k);
        choice best = choose(f, &m);
        if (!(best.gain > QD_REFINE_GAIN * f->rows->energy[f->some->row[k]]))
            continue;
        apply(f, k, &m, &best);
        f->some->changed[k]++;
    }
}

size_t qd_fit_scratch(size_t features)
{
    return (QD_REFINE_ROWS + 1 + QD_REFINE_BLOCK + 1) * features + (QD_REFINE_ROWS + 1) * QD_REFINE_BLOCK;
}

void qd_fit_scales(const qd_refine_rows *rows, qd_refine_some *some, double *scratch)
{
    size_t features = rows->steps->count;
    double *copied = scratch + (QD_REFINE_ROWS + 1) * features, *steps = copied + QD_REFINE_BLOCK * features;
    double *levels = steps + features;
    size_t *step = (size_t *)(void *)steps;
    static_assert(sizeof *step <= sizeof *steps, "steps fit where numbers do");
    fit f = { .rows = rows, .some = some, .step = step, .product = { some->count + 1, features, features, scratch } };
    for (f.group = 0; f.group < rows->grid->groups; f.group++) {
        f.size = 0;
        for (size_t t = 0; t < features; t++)
            if (rows->steps->group[t] == f.group)
                step[f.size++] = t;
        fit_group(&f, copied, levels);
    }
}
