/* transformed.h: a job's transforms at work: the basis of a layer's input, its weights there, and the weights that clients see.
 * Room: core/engine, private to it. May use: core.
 * Threads: one thread calls; the pool does the work.
 * Source: algorithms.md §7, §8.2; quant/transform.h. */
#ifndef QD_ENGINE_TRANSFORMED_H
#define QD_ENGINE_TRANSFORMED_H

#include "engine/recipe.h"

/* The basis that layer `index` is rounded in: of layers with the same input the same, random signs too. NULL = the input's own. */
qd_code qd_basis_create(const qd_recipe *recipe, const qd_model *model, size_t index, qd_hadamard **out, qd_error *err);
/* Codes -> the weights of the layer in its input's own basis: dequantized and turned back. */
qd_code qd_layer_weights(const qd_recipe *recipe, const qd_model *model, size_t index, const qd_grid *grid,
                         const uint8_t *codes, qd_pool *pool, qd_matf out, qd_error *err);

/* Does this algorithm round shaped weights instead of the model's? */
bool qd_transforms_move_target(const qd_transforms *transforms, const qd_algorithm *algorithm);

/* What the transforms know of an input. Zero-initialized = nothing. */
typedef struct qd_input_basis {
    qd_hadamard *basis; /* NULL = the input's own */
    qd_matd_buf
        reference; /* second moments of the float stream, in the basis that weights are shaped in; no rows = not wanted, or not known */
} qd_input_basis;
void qd_input_basis_fini(qd_input_basis *input);
/* Turns `reference`, as it was measured, where the job shapes weights after turning them. */
qd_code qd_input_basis_settle(const qd_recipe *recipe, qd_input_basis *input, qd_pool *pool, qd_error *err);

/* The model's weights of linear `index`, O x I in float32; their own memory, for as long as the layer is at hand. */
qd_code qd_layer_read(const qd_model *model, size_t index, qd_matf_buf *out, qd_error *err);

/* A layer's weights, transformed in the job's order. */
typedef struct qd_transformed {
    qd_matf_buf turned, shaped; /* no rows = as given */
    qd_cmatf w;                 /* in the basis of the codes */
    qd_cmatf v;                 /* what scales are chosen from; w where nothing shapes */
    qd_cmatf rounded;           /* which of the two the algorithm aims at */
    json_t *record;             /* what was done, a member a transform */
} qd_transformed;
void qd_transformed_fini(qd_transformed *transformed);
/* w is borrowed. group_size: of the layer's grid. */
qd_code qd_transform_layer(const qd_recipe *recipe, size_t group_size, const qd_input_basis *input, qd_cmatf w,
                           qd_pool *pool, qd_transformed *out, qd_error *err);

#endif
