/* aim.h: what comes before the rounding of a layer: the target, then the grid.
 * Room: core/quant. May use: base, linalg.
 * Threads: called from one thread; rows are cut into fixed panels over the pool.
 * Source: reference-numbers.md §1 "hwscale" (scales of the rows of w*, weighted by diag(H)). */
#ifndef QD_QUANT_AIM_H
#define QD_QUANT_AIM_H

#include "quant/algorithm.h"

/* What the algorithm rounds instead of w; NULL where that is w. The input's grid is not read: it comes after this. QD_ENUMERIC when it is not finite. */
qd_code qd_aim_create(const qd_algorithm *algorithm, const qd_layer_input *input, qd_weight_target **out,
                      qd_error *err);
void qd_aim_destroy(qd_weight_target *target); /* NULL is fine */

/* Is this rule shown the target? Those that weigh by diag(H) are: that weight is right for what is rounded. The others go by the range of
 * the weights themselves. */
bool qd_aim_guides(const qd_scale_rule *rule);

/* The layer's grid: from input->target where there is one and it guides the rule, else from `weights` (O x I: w, or what a transform
 * made of it). diagonal: diag(H) in original order, or NULL. */
qd_code qd_aim_grid(const qd_layer_input *input, const qd_grid_spec *spec, qd_cmatf weights, const double *diagonal,
                    qd_grid *out, qd_error *err);

#endif
