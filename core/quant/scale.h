/* scale.h: the registry of scale rules.
 * Room: core/quant. May use: base, linalg.
 * Threads: rows are constant.
 * Source: algorithms.md §2.2 (minmax), §2.3 (mse: 19 candidates, the first strictly smaller loss; hessian-mse: 80, weighted). */
#ifndef QD_QUANT_SCALE_H
#define QD_QUANT_SCALE_H

#include "quant/grid.h"

typedef struct qd_scale_rule {
    const char *name; /* "minmax", "mse", "hessian-mse" */
    const char *summary;
    const qd_param *params;
    size_t tries; /* scales it compares for a group: what it costs */
    /* One group of `count` weights (contiguous) with optional importance (diag(H)) -> scale and zero, not yet rounded
     * to the scale type by the caller: the rule itself rounds through spec->scale_type where candidates are
     * compared. */
    void (*choose)(const qd_grid_spec *spec, const float *weights, const double *importance, size_t count,
                   float *out_scale, float *out_zero);
    /* Where the choice depends on importance, and so cannot be made again from weights alone: everything it can choose from, by
     * index; false past the end. NULL for the other rules. */
    bool (*candidate)(const qd_grid_spec *spec, const float *weights, size_t count, size_t index, float *out_scale,
                      float *out_zero);
} qd_scale_rule;
const qd_scale_rule *qd_scale_rule_at(size_t index);
const qd_scale_rule *qd_scale_rule_find(const char *name);

#endif
