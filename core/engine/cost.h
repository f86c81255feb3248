/* cost.h: the work of a job counted, before any of it is done: products, searches and bytes, by leg and by layer.
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
    QD_WORK_DRAW,       /* float32 operations of steps, a few tokens at a time */
    QD_WORK_WORD,       /* logits looked at: exponentials */
    QD_WORK_TEXT,       /* bytes of text, cut into tokens */
    QD_WORK_CHECKPOINT, /* layers: a file each, made durable */
    QD_WORKS
} qd_work;

typedef struct qd_cost {
    double amount[QD_WORKS];
} qd_cost;
void qd_cost_add(qd_cost *to, const qd_cost *what);

/* Legs of a run: what it can tell the seconds of, each of which keeps a pace of its own on a machine. */
typedef enum qd_leg {
    QD_LEG_START,    /* texts, weights looked through, tokens sampled */
    QD_LEG_WALK,     /* streams through the blocks */
    QD_LEG_MOMENTS,  /* second moments and factors; inputs that are made again for them */
    QD_LEG_ROUNDING, /* layers: target, sweep, refinement, certificate, checkpoint */
    QD_LEG_EVALUATING,
    QD_LEG_EXPORTING,
    QD_LEG_VERIFYING,
    QD_LEGS
} qd_leg;
const char *qd_leg_name(size_t leg); /* NULL past the last */

/* What the texts come to. */
typedef struct qd_volume {
    size_t samples, length;            /* calibration; 0 = data-free */
    size_t windows, window;            /* evaluation, of all texts; 0 = not evaluated */
    size_t most_windows;               /* of one text */
    uint64_t text_bytes;               /* of all files */
    uint64_t encoded_bytes;            /* of the most that becomes tokens in one call */
    size_t task_tokens, task_requests; /* zero-shot tasks, once through a model */
    size_t drawn, drawn_length; /* tokens that the source model samples itself, and those of its longest sequence */
    size_t widest_kept;         /* input that the streams keep (kept.h); 0 = the model's own width */
} qd_volume;

/* One layer by legs: its own rounding; of the moments that the layers with its input share, and of the walk that is made behind them, as much as
 * its weights are of theirs. */
void qd_cost_of_layer(const qd_recipe *recipe, const qd_model *model, const qd_volume *volume, size_t index,
                      qd_cost out[QD_LEGS]);
void qd_cost_of_job(const qd_recipe *recipe, const qd_model *model, const qd_volume *volume, qd_cost out[QD_LEGS]);

/* Streams that a job walks: 1 or 2. */
size_t qd_cost_streams(const qd_recipe *recipe);
/* Sets widest_kept, by the tokens of the calibration. */
void qd_cost_settle(const qd_recipe *recipe, const qd_model *model, qd_volume *volume);

/* Shapes that costs and memory go by, of one block. */
typedef struct qd_block_shape {
    size_t first, count; /* linears */
    size_t groups;
    size_t widest;    /* input of a group */
    size_t attention; /* width of what attention gives */
    size_t weights;
    double seen; /* weights that a token meets: of experts only those it is sent to */
} qd_block_shape;
void qd_block_shape_of(const qd_model *model, size_t block, qd_block_shape *out);

#endif
