/* target.h: what the algorithms that know both streams round instead of w, and what they leave, measured from the second moments.
 * Room: core/quant, private to it. May use: base, linalg.
 * Threads: called from one thread; rows are cut into fixed panels over the pool.
 * Source: algorithms.md §6.3, §6.4, §13.2; theory.md §7. With the moments of mismatch.h and share s, for one row w and any q, d = w - q:
 *   ||X_s w - X~ q||^2 / m = s^2 w M w^T + 2 s (w K) d^T + d H d^T,      X_s = X~ + s (X - X~).
 * Where the layer writes to a residual stream that is off by e (mismatch.h), it is also to repair s e: row i of A is added to w K, and
 *   ||s e + X_s w - X~ q||^2 / m = s^2 (w M w^T + 2 w B_i^T + c_i) + 2 s (w K + A_i) d^T + d H d^T. */
#ifndef QD_QUANT_TARGET_H
#define QD_QUANT_TARGET_H

#include "quant/certify.h"

typedef enum qd_solver {
    QD_SOLVE_LEAST_SQUARES, /* w + s (w K + A) H_lambda^-1: the best real-valued q */
    QD_SOLVE_PATH           /* w + s (w triu K + A) triu(H)^-1: the greedy path without rounding */
} qd_solver;

struct qd_weight_target {
    double share;
    double *rows;  /* O x I, processing order */
    double *cross; /* w K + A, O x I, processing order */
};
/* steps: those of the layer, dead columns zero. path: triu(H) with a diagonal without zeros, for QD_SOLVE_PATH. */
qd_code qd_weight_target_init(const qd_layer_input *input, const qd_steps *steps, qd_solver solver,
                              const qd_cmatd *path, qd_weight_target *out, qd_error *err);
void qd_weight_target_fini(qd_weight_target *target);

/* Fills what certify.h wants to know of the mismatch, with the layer's codes. */
qd_code qd_weight_target_measure(const qd_layer_input *input, const qd_steps *steps, const qd_weight_target *target,
                                 const uint8_t *codes, qd_measure *out, qd_error *err);

/* Split-sample share: how much of the correction fitted on one part of the calibration sequences the other part confirms. */
qd_code qd_weight_target_share(const qd_layer_input *input, double *out, qd_error *err);

#endif
