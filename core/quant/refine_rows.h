/* refine_rows.h: a panel of rows while it is refined, and the three moves.
 * Room: core/quant, private to refine*.c. May use: base, linalg.
 * Threads: a panel belongs to one task. */
#ifndef QD_QUANT_REFINE_ROWS_H
#define QD_QUANT_REFINE_ROWS_H

#include "quant/refine.h"
#include "quant/refine_kernels.h"

enum {
    QD_REFINE_ROWS = 96,   /* of a panel, at most: products read all of H or C for it */
    QD_REFINE_BLOCK = 128, /* columns at a time */
};
/* Changes that gain less than this share of the row's energy are not made: they are rounding. */
#define QD_REFINE_GAIN 1e-12

/* Everything in processing order; count x I each. */
typedef struct qd_refine_rows {
    const qd_layer_input *input;
    const qd_steps *steps;
    const qd_refine_kernel *kernel;
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
/* Scale and zero of each step of a row. */
void qd_refine_spread_grid(const qd_refine_rows *rows, size_t row, double *scale, double *zero);

/* K-best search of `width` partial roundings from the targets alone; error and gradient are its scratch. out_codes, out_cost: the best of each
 * row. */
size_t qd_beam_scratch(size_t rows, size_t features, size_t width); /* doubles */
void qd_beam_search(const qd_refine_rows *rows, size_t width, double *scratch, uint8_t *out_codes, double *out_cost);

/* Some rows of a panel: those that a round is about. */
typedef struct qd_refine_some {
    size_t count;
    uint32_t row[QD_REFINE_ROWS];
    size_t changed[QD_REFINE_ROWS]; /* what was changed of each */
} qd_refine_some;

/* One sweep of coordinate descent; error and gradient stay true to the codes. Codes that changed are counted. */
size_t qd_descend_scratch(size_t features); /* doubles */
void qd_descend(const qd_refine_rows *rows, qd_refine_some *some, double *scratch);

/* Scale and zero of every group in turn, codes as they are; error and gradient stay true. Groups that changed are counted. */
size_t qd_fit_scratch(size_t features); /* doubles */
void qd_fit_scales(const qd_refine_rows *rows, qd_refine_some *some, double *scratch);

#endif
