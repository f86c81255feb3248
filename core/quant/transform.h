/* transform.h: the registry of weight transforms: what is done to a layer's weights before they are rounded.
 * Room: core/quant. May use: base, linalg. One file a transform, one row in transform_table.c.
 * Threads: rows are constant.
 * Source: algorithms.md §7 (MagR), §8.1, §8.2 (Hadamard on the input side). A row does one of two things. `turn`: another basis of the input,
 * W <- W M^T and H <- M H M^T with M orthonormal, so that outputs and their errors stay; the codes are of the turned weights, and what a
 * client computes with is turned back. `shape`: other weights V of which the scales are chosen, and which some algorithms round. */
#ifndef QD_QUANT_TRANSFORM_H
#define QD_QUANT_TRANSFORM_H

#include <stdbool.h>

#include "quant/hadamard.h"
#include "quant/magr.h"
#include "quant/param.h"

enum { QD_TRANSFORM_PARAMS = 4, QD_TRANSFORMS_MAX = 4 };

typedef struct qd_transform {
    const char *name; /* "hadamard", "magr" */
    const char *summary;
    const qd_param *params; /* at most QD_TRANSFORM_PARAMS; values in this order, a choice as its index */
    /* The basis of an input; key: of its random numbers. NULL in rows that shape. */
    qd_code (*turn)(const double *values, size_t features, uint64_t key, qd_hadamard **out, qd_error *err);
    /* V from w and the second moments of the float model's input. NULL in rows that turn. */
    qd_code (*shape)(const double *values, size_t group_size, qd_cmatf w, qd_cmatd hessian, qd_pool *pool, qd_matf out,
                     qd_magr_report *out_report, qd_error *err);
    /* Does every algorithm round w, and take V for scales only? NULL in rows that turn. */
    bool (*keeps_target)(const double *values);
} qd_transform;
const qd_transform *qd_transform_at(size_t index);
const qd_transform *qd_transform_find(const char *name);

/* A row with its values. */
typedef struct qd_transform_use {
    const qd_transform *row;
    double values[QD_TRANSFORM_PARAMS];
} qd_transform_use;
qd_transform_use qd_transform_default(const qd_transform *row);

/* In order. At most one that turns, and one that shapes. */
typedef struct qd_transforms {
    qd_transform_use items[QD_TRANSFORMS_MAX];
    size_t count;
} qd_transforms;
/* NULL where there is none. */
const qd_transform_use *qd_transforms_turning(const qd_transforms *transforms);
const qd_transform_use *qd_transforms_shaping(const qd_transforms *transforms);

#endif
