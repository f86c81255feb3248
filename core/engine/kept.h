/* kept.h: which inputs of a block's groups the calibration streams keep between their statistics and the step over them, and what the streams
 * of a job come to, on disk or in memory.
 * Room: core/engine, private to it. May use: core.
 * Threads: pure functions.
 *
 * An input no wider than D is always kept. A wider one (that of down, F values; that of o, where heads are wider than D) can be made again from the
 * one before it, which costs the layers in between once more: of a Llama block half of all products. Kept or made again, layers come out with the
 * same bytes: what is decided here is time for disk. */
#ifndef QD_ENGINE_KEPT_H
#define QD_ENGINE_KEPT_H

#include "engine/recipe.h"
#include "engine/streams.h"

/* Where the file stays within QD_KEPT_MOST, within limits.memory, so that a job which may use so much can have it in memory as well, and within
 * half of limits.disk, whose other half is for checkpoints. At 16 GiB a file that only disk can hold (1 GB/s) still costs a third of the
 * products that it saves on two cores of 100 GF/s each. */
#define QD_KEPT_MOST (UINT64_C(16) << 30)
qd_keep qd_kept_by(const qd_recipe *recipe, const qd_model *model, uint64_t tokens);

/* The widest input that is kept: D, or that of any layer which sees every token. */
size_t qd_kept_width(const qd_model *model, qd_keep keep);
/* Bytes of the streams: of the scratch file, or of the memory in its place. */
uint64_t qd_kept_bytes(const qd_recipe *recipe, const qd_model *model, uint64_t tokens, qd_keep keep);

/* Hidden states and kept inputs that take no more than this stay in memory: out of a file they cost a fault a page whenever a group goes over them,
 * 134 thousand a block of SmolLM2-135M at 32 x 2048 tokens. */
#define QD_HELD_MOST (UINT64_C(1) << 30)

#endif
