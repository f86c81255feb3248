/* blockwise.h: one block on its way through the quantizing phase.
 * Room: core/engine, private to it. May use: core.
 * Threads: one thread owns it; the context's pool does the work. */
#ifndef QD_ENGINE_BLOCKWISE_H
#define QD_ENGINE_BLOCKWISE_H

#include "engine/context.h"

/* `block` holds the decided weights, `float_block` the model's. NULL where no stream goes through it: both without data, `float_block` where
 * nothing compares the streams. */
typedef struct qd_blockwise {
    qd_context *context;
    qd_streams *streams; /* NULL = data-free */
    size_t number;       /* of the block */
    qd_block *block, *float_block;
    size_t first, end; /* linear indices of the block's layers */
    qd_meter *meter;
} qd_blockwise;

#endif
