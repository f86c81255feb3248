/* cost.h: the work of a job counted, before any of it is done: products, searches and bytes, by phase and by layer.
 * Room: core/engine. May use: core.
 * Threads: pure functions.
 * Source: performance.md §6; the engine's own loops: quantize.c, streams.c, evaluate.c, verify.c. Units are counts; what one of each takes is
 * forecast.c's. */
#ifndef QD_ENGINE_COST_H
#define QD_ENGINE_COST_H

#include "engine/recipe.h"

/* Kinds of work that take a time of their own. */
typedef enum qd_work {
    QD_WORK_FORWARD,    /* float32 operations of linear layers and attention */
    QD_WORK_GRAM,       /* of second moments */
    QD_WORK_FACTOR,     /* I^3: orders, dampings tried, factors */
    QD_WORK_TARGET,     /* O I^2: targets, shares, what certificates measure */
    QD_WORK_SWEEP,      /* O I^2: the sweep and its certificate */
    QD_WORK_BEAM,       /* O I^2 times partial roundings */
    QD_WORK_DESCENT,    /* O I^2, where there are rounds of descent: most of it is the first */
    QD_WORK_GRID,       /* weights times scales tried */
    QD_WORK_LAYER,      /* weights: widened, compared, written, checked */
    QD_WORK_WORD,       /* logits looked at: exponentials */
    QD_WORK_TEXT,       /* bytes of text, cut into tokens */
    QD_WORK_CHECKPOINT, /* layers: a file each, made durable */
    QD_WORKS
} qd_work;

typedef struct qd_cost {
    double amount[QD_WORKS];
} qd_cost;
void qd_cost_add(qd_cost *to, const qd_cost *what);

/* What the texts come to. */
typedef struct qd_volume {
    size_t samples, length; /* calibration; 0 = data-free */
    size_t windows, window; /* evaluation; 0 = not evaluated */
    uint64_t text_bytes;    /* of both files */
} qd_volume;

/* One layer with its share of what its group needs; layers that share an input share the cost of its statistics. */
void qd_cost_of_layer(const qd_recipe *recipe, const qd_model *model, const qd_volume *volume, size_t index,
                      qd_cost *out);
/* What the quantizing phase has to do besides layers: texts, weights looked through. */
void qd_cost_of_start(const qd_model *model, const qd_volume *volume, qd_cost *out);
void qd_cost_of_evaluating(const qd_recipe *recipe, const qd_model *model, const qd_volume *volume, qd_cost *out);
void qd_cost_of_exporting(const qd_recipe *recipe, const qd_model *model, qd_cost *out);
void qd_cost_of_verifying(const qd_recipe *recipe, const qd_model *model, const qd_volume *volume, qd_cost *out);

/* Shapes that costs and memory go by, of one block. */
typedef struct qd_block_shape {
    size_t first, count; /* linears */
    size_t groups;
    size_t widest;    /* input of a group */
    size_t attention; /* width of what attention gives */
    size_t weights;
} qd_block_shape;
void qd_block_shape_of(const qd_model *model, size_t block, qd_block_shape *out);

#endif
