/* fused_experts.h: experts that lie stacked in one tensor a block, seen as one tensor an expert.
 * Room: core/model, private to it. May use: base, linalg.
 * Threads: part of opening a model; one thread.
 * Source: fixtures.md "All of them", qwen3_moe: transformers 5 keeps `mlp.experts.gate_up_proj` [E, 2 F, D], gate rows
 * first, and `mlp.experts.down_proj` [E, D, F], without .weight, whatever the family; save_original_format=False writes
 * them so. */
#ifndef QD_MODEL_FUSED_EXPERTS_H
#define QD_MODEL_FUSED_EXPERTS_H

#include "model/arch_private.h"
#include "model/shards.h"

/* Every stacked tensor of the set becomes E or 2 E tensors that lie in it, by the names of the decoder's family; of a
 * block with such, `mlp.gate.weight` gets the family's name too. QD_ESHAPE where a shape is not that of the decoder's
 * sizes, QD_EFORMAT where a part is there by itself as well. A set without stacked tensors stays as it is. */
qd_code qd_fused_experts_split(const qd_decoder *decoder, qd_shards *shards, qd_error *err);

#endif
