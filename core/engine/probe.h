/* probe.h: what this machine makes of a job's own shapes, before the job begins: two layers of its first block on a few tokens.
 * Room: core/engine, private to it. May use: core.
 * Threads: one thread calls; the pool does the work. Changes nothing that a run writes. */
#ifndef QD_ENGINE_PROBE_H
#define QD_ENGINE_PROBE_H

#include "base/pool.h"
#include "engine/pace.h"

/* Of the first layer of block 0 and of that with its widest input: products in the job's arithmetic on all threads at once, and second
 * moments. Sets the priors of walk and moments: seconds over those that the machine is expected to take. Does nothing where it would take more than a hundredth of
 * what the pace has before it. machine: the one that the pace is priced for. */
qd_code qd_probe_layers(const qd_recipe *recipe, const qd_machine *machine, qd_pool *pool, qd_pace *pace,
                        qd_error *err);

#endif
