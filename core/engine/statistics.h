/* statistics.h: what the layers of a group share: the moments of their input in the streams, and the factor of them.
 * Room: core/engine, private to it. May use: core.
 * Threads: one thread calls; the context's pool does the work. */
#ifndef QD_ENGINE_STATISTICS_H
#define QD_ENGINE_STATISTICS_H

#include "engine/blockwise.h"
#include "engine/layer.h"

/* Do the statistics of this job come in two parts, each of which needs tokens? */
bool qd_statistics_split(const qd_context *context);

/* When no damping helps, or H is not finite, there is no factor and `reason` says why: the layers are then rounded to
 * nearest. So are those of a starved expert, where the job wants it. `shared` has the basis and the fate already. */
qd_code qd_group_statistics(const qd_blockwise *b, size_t group, qd_shared *shared, qd_error *err);
/* Fewer tokens than columns, escalated or impossible damping: never silent. first: the group's first layer. */
qd_code qd_statistics_judge(const qd_blockwise *b, size_t first, const qd_shared *shared, qd_error *err);

#endif
