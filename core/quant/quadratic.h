/* quadratic.h: quadratic forms of many rows at once, two ways.
 * Room: core/quant, private to it. May use: base, linalg.
 * Threads: pure functions. */
#ifndef QD_QUANT_QUADRATIC_H
#define QD_QUANT_QUADRATIC_H

#include "linalg/mat.h"

enum { QD_QUADRATIC_BLOCK = 256 }; /* columns of a product at a time */

/* out[i] = ||x_i C||^2 for C upper triangular. scratch: x.rows x QD_QUADRATIC_BLOCK. */
void qd_quadratic_factor(qd_cmatd c, qd_cmatd x, qd_matd scratch, double *out);
/* out[i] = x_i (H + shift I) x_i^T for symmetric H, of which the blocks on and above the diagonal are read. */
void qd_quadratic_direct(qd_cmatd h, double shift, qd_cmatd x, qd_matd scratch, double *out);
/* The same with products in float32, summed in float64: twice as fast, for what a record describes and nothing rests on. */
void qd_quadratic_direct_f32(qd_cmatf h, double shift, qd_cmatf x, qd_matf scratch, double *out);

#endif
