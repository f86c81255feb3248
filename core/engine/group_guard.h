/* group_guard.h: what a run with "certified" asks of the order and damping that the layers of one input share.
 * Room: core/engine, private to it. May use: core.
 * Threads: values.
 * Source: theory.md §8.3; factor.h (qd_guard). */
#ifndef QD_ENGINE_GROUP_GUARD_H
#define QD_ENGINE_GROUP_GUARD_H

#include "engine/context.h"
#include "engine/transformed.h"
#include "model/arch.h"

/* Zero-initialized = none is asked. */
typedef struct qd_group_guard {
    qd_guard guard;
    double *reach; /* the guard's */
} qd_group_guard;
/* Of all layers of the group, finished ones too: a resumed run chooses as the first one did. first: linear index
 * of the block's first. They are taken as they are rounded: turned and shaped as `input` says. */
qd_code qd_group_guard_init(const qd_context *context, size_t first, size_t group, const qd_input_basis *input,
                            qd_group_guard *out, qd_error *err);
void qd_group_guard_fini(qd_group_guard *guard);
/* NULL when none is asked. */
const qd_guard *qd_group_guard_borrow(const qd_group_guard *guard);

#endif
