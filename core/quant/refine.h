/* refine.h: lowers ||(target - q) C||^2 of codes that a sweep has made: beam search, scales fitted to the codes, coordinate descent.
 * Room: core/quant, private to it, its tests and its benchmark. May use: base, linalg.
 * Threads: called from one thread; rows are cut into fixed panels over the pool. Same bytes for any number of threads.
 * Source: algorithms.md §13.1 (K-best), §13.3 (coordinate descent), §13.4 (refit); theory.md §2 I2, §7 T9: every row is an integer least
 * squares problem in the metric C, whatever the target is. Nothing here raises a row's energy: what does not lower it is taken back. */
#ifndef QD_QUANT_REFINE_H
#define QD_QUANT_REFINE_H

#include "quant/certify.h"

/* What was done to the layer's rows, and the grid that its codes are of: the input's unless scales were fitted. */
typedef struct qd_refined {
    qd_grid grid;
    /* O each, NULL = nothing was asked for: ||(target - q) C||^2 of the sweep's codes on the input's grid, after the beam search, and of
     * the final codes and grid; ||w - q||^2 of those. */
    double *swept, *searched, *energy, *weight_error;
    size_t codes_changed;
    size_t scales_fitted; /* groups of rows whose scale or zero is another */
    size_t rounds;        /* the most that a panel took: it stops when nothing changes */
} qd_refined;
void qd_refined_fini(qd_refined *refined);

/* codes: those of a sweep, O x I in original order; replaced by what is better. Copies the grid even when nothing is asked for. */
qd_code qd_refine_run(const qd_layer_input *input, const qd_steps *steps, uint8_t *codes, qd_refined *out,
                      qd_error *err);

/* Certifies what evidence->refined says, on its grid, which input->fitted then gets. The bounds are those of the sweep on the input's grid. */
qd_code qd_refine_certify(const qd_evidence *evidence, qd_certificate *out, qd_error *err);

#endif
