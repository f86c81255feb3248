/* steps.c: see steps.h. */
#include "quant/steps.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

void qd_steps_fini(qd_steps *steps)
{
    free(steps->column);
    free(steps->group);
    free(steps->r2);
    free(steps->live);
    *steps = (qd_steps){ 0 };
}

static qd_code allocate(qd_steps *steps, size_t count, qd_error *err)
{
    steps->count = count;
    qd_code code = qd_alloc(count, sizeof *steps->column, (void **)&steps->column, err);
    if (code == QD_OK)
        code = qd_alloc(count, sizeof *steps->group, (void **)&steps->group, err);
    if (code == QD_OK)
        code = qd_alloc(count, sizeof *steps->r2, (void **)&steps->r2, err);
    if (code == QD_OK)
        code = qd_alloc(count, sizeof *steps->live, (void **)&steps->live, err);
    return code;
}

qd_code qd_steps_init(const qd_layer_input *input, qd_dead dead, qd_steps *out, qd_error *err)
{
    const qd_factor *factor = input->factor;
    QD_AUTO(qd_steps_fini) qd_steps steps = { 0 };
    qd_code code = allocate(&steps, input->w.cols, err);
    if (code != QD_OK)
        return code;
    for (size_t t = 0; t < steps.count; t++) {
        steps.column[t] = factor == NULL ? (uint32_t)t : factor->permutation[t];
        steps.group[t] = input->grid == NULL ? 0 : (uint32_t)(steps.column[t] / input->grid->group_size);
        double pivot = factor == NULL ? 1.0 : factor->pivot[t];
        steps.r2[t] = pivot * pivot;
        bool is_dead = factor != NULL && factor->diagonal[t] == 0.0;
        steps.damping = factor == NULL ? 0.0 : factor->lambda;
        steps.live[t] = dead == QD_DEAD_ZERO && is_dead ? 0.0f : 1.0f;
    }
    *out = steps;
    steps = (qd_steps){ 0 };
    return QD_OK;
}

double qd_steps_expected(const qd_layer_input *input, const qd_steps *steps, size_t row, size_t t)
{
    double w = (double)(qd_cmatf_row(input->w, row)[steps->column[t]] * steps->live[t]);
    return qd_grid_step_at(input->grid, row, steps->group[t], w);
}

/* Inlined with a kind known in each loop of qd_steps_rows: one test a row instead of four a value. */
__attribute__((always_inline)) static inline double value_of(const qd_layer_input *input, const qd_steps *steps,
                                                             qd_rows_kind kind, const uint8_t *codes, size_t row,
                                                             size_t t)
{
    const qd_grid *grid = input->grid;
    size_t column = steps->column[t], group = steps->group[t];
    double w = (double)(qd_cmatf_row(input->w, row)[column] * steps->live[t]);
    if (steps->target != NULL && (kind == QD_ROWS_TARGET || kind == QD_ROWS_ERROR))
        w = steps->target[row * steps->count + t];
    if (kind == QD_ROWS_TARGET || kind == QD_ROWS_WEIGHT)
        return w;
    double scale = (double)qd_matf_row(grid->scale.view, row)[group];
    double zero = (double)qd_matf_row(grid->zero.view, row)[group];
    if (kind == QD_ROWS_ERROR || kind == QD_ROWS_CHANGE)
        return w - (qd_grid_level(grid, codes[row * steps->count + column]) - zero) * scale;
    double at = w / scale + zero, reach = qd_rounding_reach(input->rounding) * qd_grid_widest(grid);
    return scale * fmax(reach, fmax(at - qd_grid_highest(grid), qd_grid_lowest(grid) - at));
}

#define FILL(kind) \
    case kind: \
        for (size_t t = 0; t < steps->count; t++) \
            to[t] = value_of(input, steps, kind, codes, rows[i], t); \
        break

void qd_steps_rows(const qd_layer_input *input, const qd_steps *steps, qd_rows_kind kind, const uint8_t *codes,
                   const uint32_t *rows, size_t count, qd_matd out)
{
    for (size_t i = 0; i < count; i++) {
        double *to = qd_matd_row(out, i);
        switch (kind) {
            FILL(QD_ROWS_WEIGHT);
            FILL(QD_ROWS_TARGET);
            FILL(QD_ROWS_ERROR);
            FILL(QD_ROWS_CHANGE);
            FILL(QD_ROWS_REACH);
        }
    }
}
