/* target_panels.h: panels of a layer's rows, with what the target and its measurement do to them.
 * Room: core/quant, private to target.c and target_measure.c. May use: base, linalg.
 * Threads: qd_panels_run spreads panels over the pool, a scratch for each worker; the rest works on one panel. */
#ifndef QD_QUANT_TARGET_PANELS_H
#define QD_QUANT_TARGET_PANELS_H

#include "quant/quadratic.h"
#include "quant/target.h"

enum { QD_PANEL_ROWS = 128 };

/* What a task is told. Each worker has three panels of I columns and one of products. */
typedef struct qd_panels {
    const qd_layer_input *input;
    const qd_steps *steps;
    const qd_weight_target *target;
    qd_solver solver;
    const qd_cmatd *path;  /* QD_SOLVE_PATH: triu(H) */
    const qd_cmatd *cross; /* QD_SOLVE_PATH: triu(K), processing order */
    const uint8_t *codes;
    qd_cmatf narrow[3]; /* matrices in float32 where products are: which, says the file that sets them; else empty */
    double *scratch;
    double *out[9]; /* O each */
} qd_panels;

typedef struct qd_panel {
    size_t start, count;
    qd_matd x, y, z, product;
} qd_panel;
qd_panel qd_panel_at(const qd_panels *p, size_t index, size_t worker);
qd_code qd_panels_run(qd_panels *p, qd_code (*task)(void *, size_t, size_t, qd_error *), qd_error *err);

/* Rows of w, dead columns as they are: X sees them. */
void qd_panel_load(const qd_panels *p, const qd_panel *at, qd_matd out);
/* Original order to processing order, and back. */
void qd_columns_gather(qd_cmatd from, const uint32_t *column, qd_matd to);
void qd_columns_scatter(qd_cmatd from, const uint32_t *column, qd_matd to);
/* x in float32, in memory of as many doubles. */
qd_matf qd_panel_narrow(qd_cmatd x, double *memory);
void qd_panel_multiply(qd_cmatd x, qd_cmatd matrix, qd_matd out);
void qd_panel_add(qd_cmatd from, qd_matd to);
double qd_panel_dot(const double *x, const double *y, size_t count);
/* Of what tasks left in out[k], in the order of rows. */
double qd_panels_sum(const double *values, size_t count);

/* NULL where the layer repairs no residual stream. */
const qd_residual *qd_panels_residual(const qd_panels *p);
/* Rows of O x I moments of the residual that belong to a panel. */
qd_cmatd qd_panel_residual(qd_matd all, const qd_panel *at);

#endif
