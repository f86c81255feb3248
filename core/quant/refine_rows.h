/* refine_rows.h: a panel of rows while it is refined, and the three moves.
 * Room: core/quant, private to refine*.c. May use: base, linalg.
 * Threads: a panel belongs to one task. */
#ifndef QD_QUANT_REFINE_ROWS_H
#define QD_QUANT_REFINE_ROWS_H

#include "quant/refine.h"

enum {
    QD_REFINE_ROWS = 32,   /* of a panel */
    QD_REFINE_BLOCK = 128, /* columns at a time */
    QD_REFINE_NODES = 256, /* partial roundings of a batch of the beam search, as far as its rows divide it */
};
/* Changes that gain less than this share of the row's energy are not made: they are rounding. */
#define QD_REFINE_GAIN 1e-12

/* Everything in processing order; count x I each. */
typedef struct qd_refine_rows {
    const qd_layer_input *input;
    const qd_steps *steps;
    qd_grid *grid; /* of the whole layer; only these rows of it are written */
    size_t start, count;
    qd_matd target, error, gradient; /* error = target - q; gradient = error H_lambda */
    uint8_t *codes;                  /* as stored: code - low */
    double *energy;                  /* count: error . gradient */
} qd_refine_rows;

static inline double qd_refine_value(const qd_refine_rows *rows, size_t row, size_t step, uint8_t code)
{
    size_t group = rows->steps->group[step];
    return (qd_grid_level(rows->grid, code) - (double)qd_matf_row(rows->grid->zero.view, rows->start + row)[group]) *
           (double)qd_matf_row(rows->grid->scale.view, rows->start + row)[group];
}
static inline uint8_t qd_refine_nearest(const qd_refine_rows *rows, size_t row, size_t step, double value)
{
    return (uint8_t)(qd_grid_nearest(rows->grid, rows->start + row, rows->steps->column[step], value) -
                     rows->grid->low);
}

/* K-best search of `width` partial roundings from the targets alone. out_codes, out_cost: the best of each row. */
size_t qd_beam_scratch(size_t features, size_t width); /* doubles */
void qd_beam_search(const qd_refine_rows *rows, size_t width, double *scratch, uint8_t *out_codes, double *out_cost);

/* One sweep of coordinate descent; error and gradient stay true to the codes. Codes that changed. */
size_t qd_descend(const qd_refine_rows *rows);

/* Scale and zero of every group in turn, codes as they are; error and gradient stay true. Groups that changed. */
size_t qd_fit_scratch(const qd_layer_input *input); /* doubles */
size_t qd_fit_scales(const qd_refine_rows *rows, double *scratch);

#endif
